"""What holds for every network of a ball at once: f(x; W) = sum_s a_s relu(<w_s, x>) / sqrt(m), max_s ||w_s - w_s0|| <= V.

In the ball the pre-activation of neuron s at x is any number within V ||x|| of <w_s0, x>, each neuron's on its own. So f(x; .) is
largest, and smallest, with every pre-activation at one end of its range: a closed form, exact up to rounding.
"""

import torch
from torch import Tensor

GROWTH = 1.5
"""While some network of the ball keeps its sign, a point so many times farther away is looked at,"""
LOOKS = 16
"""this often at most;"""
HALVINGS = 20
"""then the interval in which the last of them changes it is halved so often."""


def extremes(u: Tensor, signs: Tensor, reach: Tensor | float) -> tuple[Tensor, Tensor]:
    """The smallest and the largest f(x; W) [n] of the ball; u = W_0 x [n, m], a [m], reach = V ||x||, [n, 1] or one number."""
    output = signs / len(signs) ** 0.5
    low, high = ((u + side * signs * reach).relu_() @ output for side in (-1, 1))
    return low, high


def changeable(u: Tensor, reach: Tensor | float) -> Tensor:
    """How many neurons are active at x in some networks of the ball and not in others, [n]; u and reach as above."""
    count: Tensor = (u.abs() <= reach).sum(-1)
    return count


def certain_flip(W0: Tensor, signs: Tensor, x: Tensor, p: Tensor, label: Tensor, radius: float, guess: Tensor) -> Tensor:
    """The smallest t found, [n], at which every network of the ball has label * f(x + t p; W) < 0; not a number where none was found.

    W_0 [m, d]; images x, directions p [n, d], labels +-1 [n]; radius V; guess [n]: where to look first. Every t that is returned has
    been looked at: whatever lies between x and there, at x + t p no network of the ball has that label.
    """
    u, v = x @ W0.T, p @ W0.T
    xx, xp, pp = (x * x).sum(1), (x * p).sum(1), (p * p).sum(1)

    def flipped(t: Tensor) -> Tensor:
        reach = radius * (xx + 2 * t * xp + t**2 * pp).sqrt()
        low, high = extremes(u + t[:, None] * v, signs, reach[:, None])
        return torch.where(label > 0, high, -low) < 0

    inside, t, found = torch.zeros_like(guess), guess.clone(), flipped(guess)
    for _ in range(LOOKS):
        if bool(found.all()):
            break
        inside, t = torch.where(found, inside, t), torch.where(found, t, GROWTH * t)
        found = flipped(t)
    for _ in range(HALVINGS):
        middle = (inside + t) / 2
        good = flipped(middle)
        inside, t = torch.where(good, inside, middle), torch.where(good & found, middle, t)
    return torch.where(found, t, torch.nan)
