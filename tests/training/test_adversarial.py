"""Projected adversarial training against torch's autograd and optimiser, and its limits."""

import pytest
import torch

from onestep.attacks import pgd
from onestep.errors import Mistake
from onestep.networks.two_layer import TwoLayer
from onestep.training import adversarial
from onestep.training.adversarial import Trained, project

N, D, M = 64, 6, 50


def data() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    y = torch.where(torch.arange(N) % 2 == 0, 1.0, -1.0).double()
    x = torch.randn(N, D, generator=generator, dtype=torch.float64) + 0.8 * y[:, None]
    return x / x.norm(dim=1, keepdim=True), y


def start(seed: int = 0) -> TwoLayer:
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(M, D, generator=generator, dtype=torch.float64)
    return TwoLayer(weights, torch.where(torch.rand(M, generator=generator) < 0.5, -1.0, 1.0).double(), output_bias=0.1)


def trained(budget: float = 0.1, **changes) -> Trained:
    x, y = data()
    options = {"radius": 1.0, "lr": 0.5, "batch": 8, "epochs": 6, "patience": 6} | changes
    return adversarial.train(
        start(),
        y,
        lambda net: pgd.l2(net.gradient, x, y, budget, 5),
        lambda epoch: torch.randperm(N, generator=torch.Generator().manual_seed(epoch)),
        **options,
    )


def farthest(net: TwoLayer) -> float:
    return float((net.weights - start().weights).norm(dim=1).max())


def test_an_epoch_in_a_wide_ball_is_sgd_of_torch_on_the_summed_loss_of_the_attacked_images() -> None:
    x, y = data()
    net = start()
    attacked = pgd.l2(net.gradient, x, y, 0.1, 5)
    weights = net.weights.clone().requires_grad_()
    sgd = torch.optim.SGD([weights], lr=0.5)
    for part in torch.randperm(N, generator=torch.Generator().manual_seed(0)).split(8):
        value = (attacked[part] @ weights.T).relu() @ net.signs / M**0.5 + 0.1
        sgd.zero_grad()
        torch.nn.functional.softplus(-y[part] * value).sum().backward()
        sgd.step()
    assert torch.allclose(trained(radius=100.0, epochs=1).inside.weights, weights.detach(), atol=1e-12)


def test_a_projection_brings_back_the_neurons_outside_and_leaves_the_others() -> None:
    w = start().weights
    moved = w + torch.linspace(0, 2, M, dtype=torch.float64)[:, None] * torch.nn.functional.normalize(w, dim=1)
    back = project(moved, w, 1.0)
    distances = (back - w).norm(dim=1)
    assert torch.allclose(distances, torch.linspace(0, 2, M, dtype=torch.float64).clamp(max=1), atol=1e-12)
    inside = (moved - w).norm(dim=1) < 1
    assert torch.allclose(back[inside], moved[inside], atol=1e-15)


@pytest.mark.parametrize("projected", ["step", "epoch"])
def test_the_weights_end_in_the_ball_whenever_they_are_projected(projected: adversarial.Projected) -> None:
    found = trained(radius=0.2, projected=projected)
    assert farthest(found.inside) <= 0.2 * (1 + 1e-12)
    assert farthest(found.unprojected) > 0.2


def test_behind_every_step_or_behind_every_epoch_are_two_trainings() -> None:
    assert not torch.allclose(trained(radius=0.2).inside.weights, trained(radius=0.2, projected="epoch").inside.weights)


def test_training_makes_more_attacked_images_right_than_the_start_has() -> None:
    x, y = data()
    attacked = pgd.l2(start().gradient, x, y, 0.1, 5)
    assert trained().robust > float((start().value(attacked) * y > 0).double().mean()) + 0.2


def test_it_stops_when_the_robust_accuracy_has_not_risen_for_so_many_epochs_and_keeps_the_best_weights() -> None:
    x, y = data()
    found = trained(patience=2, epochs=50)
    assert found.stop == "no gain"
    again = float((found.inside.value(pgd.l2(found.inside.gradient, x, y, 0.1, 5)) * y > 0).double().mean())
    assert again == found.robust
    longest = trained(epochs=found.epochs, patience=50)
    assert longest.stop == "epochs"
    assert torch.equal(longest.inside.weights, found.inside.weights)


def test_the_gradient_alone_is_the_one_that_comes_with_the_value() -> None:
    x, _ = data()
    for net in (start(), TwoLayer(start().weights, start().signs, 0.3, biased=True)):
        points = x.clone().requires_grad_()
        value = (points @ net.weights.T).relu() @ net.signs / M**0.5 + net.output_bias
        value.sum().backward()
        expected = points.grad
        assert expected is not None
        expected[:, : int(net.biased)] = 0
        assert torch.allclose(net.gradient(x), expected, atol=1e-12)
        assert torch.allclose(net(x)[1], expected, atol=1e-12)
        assert torch.allclose(net(x)[0], value.detach(), atol=1e-12)


def test_in_a_ball_of_radius_zero_nothing_moves() -> None:
    assert torch.equal(trained(radius=0.0).inside.weights, start().weights)


def test_a_budget_of_zero_is_plain_training() -> None:
    x, y = data()
    plain = adversarial.train(
        start(),
        y,
        lambda net: x,
        lambda epoch: torch.randperm(N, generator=torch.Generator().manual_seed(epoch)),
        radius=1.0,
        lr=0.5,
        batch=8,
        epochs=6,
        patience=6,
    )
    assert torch.equal(trained(budget=0.0).inside.weights, plain.inside.weights)


def test_a_learning_rate_at_which_the_weights_overflow_is_told_in_a_line() -> None:
    with pytest.raises(Mistake, match="diverged at a learning rate"):
        trained(lr=1.7e308, batch=N, radius=float("inf"))
