"""Projected adversarial training of a two-layer network (Algorithm 1 of Wang, Ullah, Mianjy and Arora 2022).

An epoch attacks every training image with the present weights, and goes through the attacked images once by SGD on the summed logistic
loss of minibatches, W <- W - lr sum_j grad l(y_j f(x_j)). The weights are kept in the ball max_s ||w_s - w_s0|| <= V: neurons beyond it
are brought back to its surface, behind every step as the paper's Section 5.2 says, or behind every epoch as its Algorithm 1 does.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from onestep.errors import Mistake
from onestep.networks.two_layer import TwoLayer

Attack = Callable[[TwoLayer], Tensor]
"""The training images as a network's attacker would have them, [n, d]."""
Projected = Literal["step", "epoch"]
Stop = Literal["no gain", "epochs"]
"""The share of attacked training images on the right side has not risen for as many epochs as `patience` says; no epoch is left."""


@dataclass(frozen=True)
class Trained:
    """What a training ends with: the weights with the largest robust training accuracy."""

    inside: TwoLayer  # in the ball
    unprojected: TwoLayer  # as they were before the projection behind their last step or epoch
    robust: float  # the share of attacked training images that `inside` has right
    epochs: int  # behind which it had them
    stop: Stop


def project(weights: Tensor, start: Tensor, radius: float) -> Tensor:
    """W with every neuron farther than the radius from where it started brought back to that distance, [m, d]."""
    moved = weights - start
    distance = moved.norm(dim=1, keepdim=True)
    if not bool((distance > radius).any()):
        return weights
    return torch.addcmul(start, moved, (radius / distance.clamp(min=torch.finfo(distance.dtype).tiny)).clamp(max=1))


def train(
    start: TwoLayer,
    y: Tensor,
    attack: Attack,
    order: Callable[[int], Tensor],
    *,
    radius: float,
    lr: float,
    batch: int,
    epochs: int,
    patience: int,
    projected: Projected = "step",
) -> Trained:
    """Trains with labels y [n] = +-1 in the ball of that radius V; `order`: the images in the order of each epoch."""
    net, attacked = start, attack(start)
    best, waited = Trained(start, start, -1.0, 0, "epochs"), 0
    for epoch in range(1, epochs + 1):
        weights = stepped = net.weights
        images = order(epoch - 1)
        for first in range(0, len(images), batch):
            part = images[first : first + batch]
            x, labels = attacked[part], y[part]
            u = x @ weights.T
            active = (u > 0) * net.output
            margins = labels * ((active * u).sum(1) + net.output_bias)
            active *= (lr * labels * torch.sigmoid(-margins))[:, None]
            stepped = torch.addmm(weights, active.T, x)
            weights = project(stepped, start.weights, radius) if projected == "step" else stepped
        net = replace(net, weights=project(weights, start.weights, radius))
        if not bool(net.weights.isfinite().all()):
            raise Mistake(f"the training diverged at a learning rate of {lr:g}; take a smaller one")
        attacked = attack(net)
        robust = float((net.value(attacked) * y > 0).double().mean())
        if robust > best.robust:
            best, waited = Trained(net, replace(net, weights=stepped), robust, epoch, "epochs"), 0
        else:
            waited += 1
        if waited == patience:
            return replace(best, stop="no gain")
    return best
