"""Gaussian matrices that are touched only through products, and are never formed.

W is m x n with independent N(0, s^2) entries. A program that only ever asks for W x and W'y, and chooses each question from the answers
before it, cannot tell W from the following. Keep orthonormal bases Q of all right questions and P of all left ones, with their images
Y = W Q and Z = W'P. Given these,

    W = (what Q and P fix) + (I - PP') W~ (I - QQ'),      W~ a fresh matrix of N(0, s^2), independent of all that was answered:

the orthogonal decomposition splits W into parts that are independent because a Gaussian matrix is invariant under rotations on either
side, and a question may depend on the past only through what is already known. So the image of a new direction q, orthogonal to Q, is

    W q = P (Z'q) + (I - PP') s g,      g fresh N(0, I_m):

its component along each left question p is the one that W'p has fixed, and the rest is new. A right question x = Q c + r q has the
answer Y c + r W q; left questions are the same with the sides exchanged. All answers have exactly the joint law of one dense W, and
they are those of one matrix: a question asked again gets the same answer, and <y, W x> = <W'y, x>, up to rounding. With a right and b
left questions memory is (m + n)(a + b) in place of m n.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

DEPENDENT = 1e-11
"""A question whose part outside the span of the earlier ones is smaller than this, relative to it, counts as lying inside."""


class _Side:
    """The directions asked from one side, orthonormal columns [B, n, a], and their images [B, m, a]; a zero column stands for none."""

    def __init__(self, directions: Tensor, images: Tensor) -> None:
        self._directions, self._images, self._count = directions, images, 0

    @property
    def directions(self) -> Tensor:
        return self._directions[..., : self._count]

    @property
    def images(self) -> Tensor:
        return self._images[..., : self._count]

    def append(self, direction: Tensor, image: Tensor) -> None:
        """One more direction [B, n] with its image [B, m]."""
        if self._count == self._directions.shape[-1]:
            room = max(8, self._count)
            self._directions, self._images = (
                torch.cat([part, part.new_zeros(*part.shape[:-1], room)], -1) for part in (self._directions, self._images)
            )
        self._directions[..., self._count], self._images[..., self._count] = direction, image
        self._count += 1

    def only(self, matrices: Tensor) -> "_Side":
        """The directions asked of some of the matrices."""
        kept = _Side(self.directions[matrices], self.images[matrices])
        kept._count = self._count
        return kept


class GaussianMatrix:
    """B independent m x n matrices of N(0, deviation^2), each drawn from its own generator as it is asked."""

    def __init__(self, generators: Sequence[np.random.Generator], rows: int, columns: int, deviation: float) -> None:
        empty = {size: torch.zeros(len(generators), size, 0, dtype=torch.float64) for size in {rows, columns}}
        self._generators, self.deviation = list(generators), deviation
        self._right, self._left = _Side(empty[columns], empty[rows]), _Side(empty[rows], empty[columns])

    def times(self, x: Tensor) -> Tensor:
        """W x for r questions to each matrix: [B, n, r] to [B, m, r]."""
        return torch.stack([self._ask(question, self._right, self._left) for question in x.unbind(-1)], -1)

    def transposed_times(self, y: Tensor) -> Tensor:
        """W'y for r questions to each matrix: [B, m, r] to [B, n, r]."""
        return torch.stack([self._ask(question, self._left, self._right) for question in y.unbind(-1)], -1)

    def only(self, matrices: Tensor) -> "GaussianMatrix":
        """Some of the matrices, with all that is known of them; ask them or the whole from then on, not both."""
        kept = GaussianMatrix.__new__(GaussianMatrix)
        kept._generators, kept.deviation = [self._generators[index] for index in matrices.tolist()], self.deviation
        kept._right, kept._left = self._right.only(matrices), self._left.only(matrices)
        return kept

    def _ask(self, question: Tensor, here: _Side, there: _Side) -> Tensor:
        """The answers [B, m] to one question [B, n] to each matrix; `here` is the side that asks, `there` the other one."""
        known = torch.zeros(len(question), here.directions.shape[-1], dtype=question.dtype)
        rest = question
        # Twice: one pass of Gram-Schmidt leaves what rounding makes of a nearly dependent question.
        for _ in range(2):
            part = (rest[:, None] @ here.directions).squeeze(1)
            rest = rest - (here.directions @ part[..., None]).squeeze(-1)
            known = known + part
        length = rest.norm(dim=-1)
        # A question of zeros or of not-a-numbers (from a dead or broken network) must not enter the basis.
        new = length > DEPENDENT * question.norm(dim=-1)
        direction = torch.where(new[:, None], rest / length[:, None], 0.0)
        fresh = torch.zeros(len(question), here.images.shape[1], dtype=question.dtype)
        for index in new.nonzero().squeeze(-1).tolist():
            fresh[index] = torch.from_numpy(self._generators[index].standard_normal(fresh.shape[-1])).mul_(self.deviation)
        image = self._image(direction, fresh, there)
        answer = (here.images @ known[..., None]).squeeze(-1) + torch.where(new, length, 0.0)[:, None] * image
        here.append(direction, image)
        # Not a number in, not a number out.
        return answer + 0 * question.sum(-1, keepdim=True)

    @staticmethod
    def _image(direction: Tensor, fresh: Tensor, there: _Side) -> Tensor:
        """P (Z'q) + (I - PP') s g for new directions q [B, n] and s g [B, m]; 0 where both are."""
        fixed = (direction[:, None] @ there.images - fresh[:, None] @ there.directions).squeeze(1)
        return fresh + (there.directions @ fixed[..., None]).squeeze(-1)
