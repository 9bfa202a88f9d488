"""Anderson's mixing on linear maps, whose fixed points a solver gives."""

import torch

from onestep.attacks.mixing import Mixing
from onestep.seeds import stream

N, D = 5, 8


def slow_maps() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """x -> A x + b [N] with symmetric A, its eigenvalues in [-0.95, 0.95], and their fixed points."""
    rng = stream(0, "mixing")
    turned = torch.linalg.qr(torch.tensor(rng.standard_normal((N, D, D))))[0]
    A = turned @ torch.diag_embed(torch.tensor(rng.uniform(-0.95, 0.95, (N, D)))) @ turned.mT
    b = torch.tensor(rng.standard_normal((N, D)))
    return A, b, torch.linalg.solve(torch.eye(D).double() - A, b)


def applied(A: torch.Tensor, b: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return (A @ x[:, :, None])[:, :, 0] + b


def test_a_fixed_point_is_found_in_a_few_steps_more_than_there_are_dimensions() -> None:
    A, b, fixed = slow_maps()
    everywhere = torch.ones(N, dtype=torch.bool)

    def errors(memory: int, steps: int) -> torch.Tensor:
        x, mixing = torch.zeros(N, D).double(), Mixing(torch.zeros(N, D).double(), memory)
        for _ in range(steps):
            x = mixing.mixed(x, applied(A, b, x), everywhere)
        return (x - fixed).norm(dim=1) / fixed.norm(dim=1)

    plain = torch.zeros(N, D).double()
    for _ in range(D + 8):
        plain = applied(A, b, plain)
    assert (errors(D, D + 8) < 1e-6).all()
    assert (errors(4, D + 8) < 0.05).all()
    assert ((plain - fixed).norm(dim=1) / fixed.norm(dim=1)).max() > 0.1


def test_without_a_past_it_changes_nothing_and_what_is_not_usable_is_not_learnt() -> None:
    A, b, _ = slow_maps()
    rng = stream(1, "mixing")
    points = torch.tensor(rng.standard_normal((4, N, D)))
    usable = torch.tensor([True, False, True, True, False])
    told, spared = (Mixing(torch.zeros(N, D).double(), 3) for _ in range(2))
    everywhere = torch.ones(N, dtype=torch.bool)
    assert torch.equal(told.mixed(points[0], applied(A, b, points[0]), everywhere), applied(A, b, points[0]))
    spared.mixed(points[0], applied(A, b, points[0]), everywhere)
    told.mixed(points[1], 100 * points[1], usable)
    spared.mixed(points[1], 100 * points[1], everywhere)
    one, other = (mixing.mixed(points[2], applied(A, b, points[2]), everywhere) for mixing in (told, spared))
    assert torch.equal(one[usable], other[usable])
    assert not torch.isclose(one[~usable], other[~usable]).all(1).any()
    assert torch.allclose(one[~usable], forgotten(points, A, b)[~usable])


def forgotten(points: torch.Tensor, A: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """What comes of the first and the third points alone."""
    mixing, everywhere = Mixing(torch.zeros(N, D).double(), 3), torch.ones(N, dtype=torch.bool)
    mixing.mixed(points[0], applied(A, b, points[0]), everywhere)
    return mixing.mixed(points[2], applied(A, b, points[2]), everywhere)


def test_inputs_do_not_see_each_other() -> None:
    A, b, _ = slow_maps()
    points = torch.tensor(stream(2, "mixing").standard_normal((6, N, D)))
    together, alone = Mixing(points[0], 4), Mixing(points[0][:1], 4)
    for x in points:
        images = applied(A, b, x)
        one = together.mixed(x, images, torch.ones(N, dtype=torch.bool))
        other = alone.mixed(x[:1], images[:1], torch.ones(1, dtype=torch.bool))
        torch.testing.assert_close(one[:1], other)
