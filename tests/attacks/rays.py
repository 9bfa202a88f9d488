"""Rays to search for the tests: hand-made ones, those of random networks, and a march that must end."""

from dataclasses import dataclass, field, replace

import torch
from sphere import random_inputs

from onestep.attacks.ray import Roots, first_roots
from onestep.networks.activations import Activation
from onestep.networks.random_relu import NetworkRay, RandomNetwork, Shape
from onestep.seeds import stream

CAP = 20.0


@dataclass
class Patient:
    """A ray that loses its patience, so that a march that goes nowhere fails in place of never ending."""

    ray: NetworkRay
    patience: int = 4000
    asked: list[int] = field(default_factory=lambda: [0])

    @property
    def maps(self):
        return self.ray.maps

    @property
    def activation(self) -> Activation:
        return self.ray.activation

    @property
    def origin(self):
        return self.ray.origin

    @property
    def output(self):
        return self.ray.output

    def at(self, t):
        self.asked[0] += 1
        assert self.asked[0] <= self.patience, f"the march does not end: it evaluated the rays {self.patience} times"
        return self.ray.at(t)

    def only(self, networks, inputs):
        return Patient(self.ray.only(networks, inputs), self.patience, self.asked)


def ray_from(start, slope, hidden, output, maps) -> NetworkRay:
    """A ray from its parts; what it is at t = 0 follows from them."""
    ray = NetworkRay(([start], output.new_zeros(start.shape[:2])), slope, hidden, output, maps)
    return replace(ray, origin=ray.at(output.new_zeros(start.shape[:2])))


def march(ray: NetworkRay, sign: torch.Tensor, cap: float = CAP, *, rigorous: bool = False) -> Roots:
    return first_roots(Patient(ray), sign, cap, rigorous=rigorous)


def downhill(name: str, depth: int, width: int, dim: int, networks: int, inputs: int):
    """Random networks, inputs, signs of their values and the directions along which their sizes fall fastest."""
    streams = [stream(0, name, depth, width, dim, "network", i) for i in range(networks)]
    nets = RandomNetwork.sample(streams, Shape(dim, (width,) * depth), kind="dense")
    x = random_inputs([stream(0, name, depth, width, dim, "inputs", i) for i in range(networks)], inputs, dim)
    value, gradient = nets.value_and_gradient(x)
    sign = torch.where(value < 0, -1.0, 1.0).double()
    return nets, x, sign, -sign[..., None] * gradient
