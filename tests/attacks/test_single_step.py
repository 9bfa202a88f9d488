"""The first sign change along a direction, as the experiments ask for it: its conventions. The search: test_ray and test_march."""

import math

import pytest
import torch

from onestep.attacks.ray import DEAD, SWITCHED
from onestep.attacks.single_step import first_sign_change, signs
from onestep.networks.random_relu import RandomNetwork, Shape
from onestep.seeds import stream

CAP = 20.0


def networks(depth: int, count: int = 4, inputs: int = 3, activation: str = "relu", width: int = 40) -> tuple[RandomNetwork, torch.Tensor]:
    shape = Shape(10, (width,) * depth, activation=activation)
    nets = RandomNetwork.sample([stream(0, "single", depth, i) for i in range(count)], shape, kind="dense")
    return nets, nets.inputs([stream(0, "single x", depth, i) for i in range(count)], inputs)


def steps(nets: RandomNetwork, x: torch.Tensor, level: torch.Tensor | None = None):
    origin = nets.forward(x)
    gradient = nets.gradient(origin[0])
    return origin[1], gradient, first_sign_change(nets, x, origin, gradient, gradient.square().sum(-1), CAP, level)


@pytest.mark.parametrize(("depth", "activation"), [(1, "relu"), (3, "relu"), (1, "tanh")])
def test_the_value_is_zero_there_and_has_another_sign_behind(depth: int, activation: str) -> None:
    nets, x = networks(depth, count=10, activation=activation)
    value, gradient, roots = steps(nets, x)
    found = roots.status == SWITCHED
    assert found.float().mean() > 0.5
    oriented = signs(value)[..., None] * gradient
    t = torch.where(found, roots.t, 0.0)[..., None]
    at, behind = (nets.forward(x - t * factor * oriented)[1] for factor in (1.0, 1.0001))
    torch.testing.assert_close(at[found], torch.zeros_like(at[found]), rtol=0, atol=1e-9)
    assert (signs(value) * behind < 0)[found].all()


def test_a_level_is_reached_at_its_negative() -> None:
    nets, x = networks(2)
    level = nets.forward(x)[1].abs() / 2
    value, gradient, roots = steps(nets, x, level)
    found = roots.status == SWITCHED
    moved = nets.forward(x - torch.where(found, roots.t, 0.0)[..., None] * signs(value)[..., None] * gradient)[1]
    torch.testing.assert_close((signs(value) * moved)[found], -level[found], rtol=1e-9, atol=1e-12)


def test_one_direction_serves_all_inputs_of_a_network() -> None:
    nets, x = networks(1)
    origin = nets.forward(x)
    direction = nets.layers[0].transposed_times(nets.output[:, None, :])  # [B, 1, d]
    slope = torch.ones_like(origin[1])
    together = first_sign_change(nets, x, origin, direction, slope, CAP)
    for i in range(x.shape[1]):
        one = x[:, i : i + 1]
        alone = first_sign_change(nets, one, nets.forward(one), direction, slope[:, i : i + 1], CAP)
        torch.testing.assert_close(together.t[:, i], alone.t[:, 0], rtol=1e-12, atol=0, equal_nan=True)


def test_where_the_value_is_zero_there_is_no_sign_to_change() -> None:
    """Two neurons that are off at x: dead, although the direction given would wake one of them up."""
    nets, _ = networks(1, count=1, width=2)
    nets.layers[0].weights[:] = -torch.eye(2, 10).double()[None]
    x = torch.ones(1, 1, 10).double()
    origin = nets.forward(x)
    roots = first_sign_change(nets, x, origin, torch.ones_like(x), torch.zeros(1, 1).double(), CAP)
    assert int(roots.status) == DEAD
    assert math.isnan(float(roots.t))


def test_a_network_that_is_not_a_number_is_an_error() -> None:
    for depth, layer in ((1, 0), (3, 1)):
        nets, x = networks(depth)
        nets.layers[layer].weights[0, 0, 0] = math.nan
        with pytest.raises(ValueError, match="not a finite number"):
            steps(nets, x)
