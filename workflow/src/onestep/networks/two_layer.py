"""A two-layer ReLU network with given weights: f(x) = sum_s a_s relu(<w_s, x>) / sqrt(m) + c.

A hidden bias is one more input that is always 1: then the first coordinate of every x is 1, and it is not an input to a gradient.
"""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class TwoLayer:
    """One network."""

    weights: Tensor  # W [m, d], with a hidden bias [m, 1 + d]
    signs: Tensor  # a [m]
    output_bias: float = 0.0  # c
    biased: bool = False

    @property
    def output(self) -> Tensor:
        """a / sqrt(m), [m]."""
        output: Tensor = self.signs / len(self.signs) ** 0.5
        return output

    def value(self, x: Tensor) -> Tensor:
        """f [n] at x [n, d]."""
        value: Tensor = (x @ self.weights.T).relu_() @ self.output + self.output_bias
        return value

    def gradient(self, x: Tensor) -> Tensor:
        """The gradient alone [n, d], in as little memory as it takes."""
        gradient: Tensor = (x @ self.weights.T).gt_(0).mul_(self.output) @ self.weights
        if self.biased:
            gradient[:, 0] = 0
        return gradient

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """f [n] and its gradient [n, d] at x [n, d]; the gradient's first coordinate is 0 where the network has a hidden bias."""
        u = x @ self.weights.T
        active = (u > 0) * self.output
        value, gradient = (active * u).sum(-1) + self.output_bias, active @ self.weights
        if self.biased:
            gradient[:, 0] = 0
        return value, gradient
