"""What happens in a ball around an input: how far the images of its points move, and how much the gradient changes.

Searches for a supremum: whatever they find is a lower bound on it.
"""

import numpy as np
import torch
from torch import Tensor

from onestep.networks.random_relu import RandomNetwork


def on_sphere(x: Tensor, radius: Tensor, direction: Tensor) -> Tensor:
    """x + R u: x [B, 1, m], R [B, 1], unit vectors u [B, S, m]."""
    return x + radius[..., None] * direction


def gradient_terms(net: RandomNetwork, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """GD-DECOMP: the terms [B, I, L, m] of grad f(x) - grad f(y), and the shares [B, I, L] of each layer's neurons that differ.

    The term of layer j goes down from the output with the masks of x, picks the neurons of layer j whose masks differ, and goes on
    down with the masks of y:  W_(L+1) (prod_(i>j) D_i(x) W_i) (D_j(x) - D_j(y)) W_j (prod_(i<j) D_i(y) W_i).
    """
    masks = [[(z > 0).to(z.dtype) for z in net.forward(point)[0]] for point in (x, y)]
    through = net.output[:, None].expand(len(x), max(x.shape[1], y.shape[1]), -1)
    terms: list[Tensor] = []
    changed = []
    for weights, at_x, at_y in zip(reversed(net.layers), *(reversed(part) for part in masks), strict=True):
        terms = [*(term * at_y for term in terms), through * (at_x - at_y)]
        rows = torch.stack([through * at_x, *terms], 2)
        rows = weights.transposed_times(rows.flatten(1, 2)).unflatten(1, rows.shape[1:3])
        through, *terms = rows.unbind(2)
        changed.append((at_x != at_y).double().mean(-1))
    return torch.stack(terms[::-1], 2), torch.stack(changed[::-1], 2)


SOFTNESS = (0.2, 0.02)
"""The width of the soft masks at the first and the last step of `worst_gradient_change`, in units of a layer's root mean square."""
STRIDE = (0.5, 0.05)
"""The length of its first and last step on the unit sphere."""


def worst_gradient_change(net: RandomNetwork, x: Tensor, gradient: Tensor, radius: Tensor, starts: Tensor, steps: int) -> Tensor:
    """Unit vectors u [B, 1, m], the best found for ||grad f(x + R u) - grad f(x)||, by ascent from the directions `starts` [B, S, m].

    The gradient is piecewise constant, so the ascent climbs on a smooth surrogate: the gradient formula with masks
    sigmoid(preactivation / width) in place of 0 and 1, softer at first, then nearly hard. Of all points that it visits the one with
    the largest change of the true gradient counts. Matrices must be held: the ascent differentiates through them.
    """
    with torch.no_grad():
        scales = [z.square().mean(-1, keepdim=True).sqrt().clamp(min=1e-300) for z in net.forward(x)[0]]
    direction, best, kept = starts, torch.full(starts.shape[:2], -1.0, dtype=x.dtype), starts
    for softness, stride in zip(np.geomspace(*SOFTNESS, steps), np.geomspace(*STRIDE, steps), strict=True):
        y = on_sphere(x, radius, direction).requires_grad_()
        preactivations, _ = net.forward(y)
        soft = hard = net.output[:, None].expand(*y.shape[:2], -1)
        for weights, z, scale in zip(reversed(net.layers), reversed(preactivations), reversed(scales), strict=True):
            soft = weights.transposed_times(soft * torch.sigmoid(z / (softness * scale)))
            hard = weights.transposed_times(hard * (z.detach() > 0))
        change = (hard.detach() - gradient).norm(dim=-1)
        better = change > best
        best, kept = torch.where(better, change, best), torch.where(better[..., None], direction, kept)
        (ascent,) = torch.autograd.grad((soft - gradient).square().sum(), y)
        ascent = ascent - (ascent * direction).sum(-1, keepdim=True) * direction
        direction = torch.nn.functional.normalize(
            direction + stride * torch.nn.functional.normalize(ascent, dim=-1, eps=1e-300), dim=-1, eps=1e-300
        )
    first = best.argmax(1)[:, None, None].expand(-1, 1, x.shape[-1])
    return kept.gather(1, first).detach()


def image_shifts(net: RandomNetwork, x: Tensor, y: Tensor) -> Tensor:
    """||f~_i(x) - f~_i(y)||, how far the pre-activations of each layer i = 1 .. L move, [B, I, L]."""
    return torch.stack([(at_y - at_x).norm(dim=-1) for at_x, at_y in zip(net.forward(x)[0], net.forward(y)[0], strict=True)], -1)


def widest_images(net: RandomNetwork, x: Tensor, radius: Tensor, start: Tensor, steps: int) -> Tensor:
    """The largest ||f~_i(x) - f~_i(x + R u)|| found for each layer i, [B, L], each with a direction of its own.

    Conditional gradient: with y = x + R u the next u points along the gradient of ||f~_i(x) - f~_i(y)||^2, as a power iteration does for a
    matrix. Matrices must be held.
    """
    with torch.no_grad():
        at_x, _ = net.forward(x)
    direction = start.expand(-1, net.depth, -1)
    best = torch.zeros(len(x), net.depth, dtype=x.dtype)
    for _ in range(steps):
        y = on_sphere(x, radius, direction).requires_grad_()
        squares, hidden = [], y
        for weights, here in zip(net.layers, at_x, strict=True):
            z = weights.times(hidden)
            squares.append((z[:, 0] - here[:, 0]).square().sum(-1))
            hidden = z[:, 1:].relu()  # the rows of the layers behind
        shifts = torch.stack(squares, 1)
        best = torch.maximum(best, shifts.detach().sqrt())
        (ascent,) = torch.autograd.grad(shifts.sum(), y)
        direction = torch.nn.functional.normalize(ascent, dim=-1, eps=1e-300)
    return best
