"""Gaussian matrices that are touched only through products, and are never formed.

W is m x n with independent N(0, s^2) entries. A program that only ever asks for W x and W'y, and chooses each question from the answers
before it, cannot tell W from the following. Keep orthonormal bases Q of all right questions and P of all left ones, with their images
Y = W Q and Z = W'P. Given these,

    W = (what Q and P fix) + (I - PP') W~ (I - QQ'),      W~ a fresh matrix of N(0, s^2), independent of all that was answered:

the orthogonal decomposition splits W into parts that are independent because a Gaussian matrix is invariant under rotations on either
side, and a question may depend on the past only through what is already known. So the image of a new direction q, orthogonal to Q, is

    W q = P (Z'q) + (I - PP') s g,      g fresh N(0, I_m):

its component along each left question p is the one that W'p has fixed, and the rest is new. A right question x = Q c + r q has the
answer Y c + r W q; left questions are the same with the sides exchanged, and a block of questions is the same with r an orthonormal
block q. All answers have exactly the joint law of one dense W, and they are those of one matrix: a question asked again gets the same
answer, and <y, W x> = <W'y, x>, up to rounding. With a right and b left questions memory is (m + n)(a + b) in place of m n.

A `Frame` does the same for the space that W acts on. Nothing in R^n matters but the inner products of the directions met so far, so
vectors are kept in coordinates of an orthonormal frame of these. A fresh g in R^n has independent N(0, 1) coordinates on the e axes
explored so far; what is left of it lies in the orthogonal complement, has length chi_{n - e}, and its direction may be called the next
axis, because nothing has been asked about that complement yet: the law of all that is asked is invariant under its rotations.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

DEPENDENT = {torch.float64: 1e-11, torch.float32: 1e-5}
"""A question whose part outside the span of the earlier ones is smaller than this, relative to it, counts as lying inside."""
BLOCK_CONDITION = 0.1
"""Questions asked together whose new parts are nearer to each other than this (a pivot of their Gram matrix) are asked one by one."""


class Frame:
    """Coordinates of R^dim on the axes explored so far, `size` at most; the first `pinned` axes are explored from the start."""

    def __init__(self, dim: int, size: int, pinned: int = 0) -> None:
        self.dim, self.size = dim, min(dim, size)
        self._explored = dim if self.size == dim else pinned

    def gaussian(self, generators: Sequence[np.random.Generator], dtype: torch.dtype) -> Tensor:
        """A fresh N(0, I) in R^dim from each generator, [B, size]; it opens one more axis."""
        vectors, explored = np.zeros((len(generators), self.size)), self._explored
        if explored == self.size < self.dim:
            raise ValueError(f"a frame of {self.size} axes cannot hold one direction more")
        for vector, generator in zip(vectors, generators, strict=True):
            vector[:explored] = generator.standard_normal(explored)
            if explored < self.dim:
                vector[explored] = math.sqrt(generator.chisquare(self.dim - explored))
        self._explored = min(explored + 1, self.dim)
        return torch.from_numpy(vectors).to(dtype)


def _lengths(rows: Tensor) -> NDArray[Any]:
    """Lengths [B, r, 1] of rows [B, r, n]."""
    return np.asarray(torch.linalg.vector_norm(rows, dim=-1, keepdim=True))


class _Side:
    """The directions asked from one side, orthonormal rows [B, a, n], and their images [B, a, m]; a row of zeros stands for none."""

    def __init__(self, directions: Tensor, images: Tensor) -> None:
        self._directions, self._images, self.count = directions, images, directions.shape[1]

    @property
    def directions(self) -> Tensor:
        return self._directions[:, : self.count]

    @property
    def images(self) -> Tensor:
        return self._images[:, : self.count]

    def room(self, questions: int) -> tuple[Tensor, Tensor]:
        """Where so many more directions and their images will lie, [B, r, n] and [B, r, m]: to be written there before `count` grows."""
        count = self.count + questions
        if count > self._directions.shape[1]:
            self._directions, self._images = (self._roomier(part, max(4, 2 * count)) for part in (self._directions, self._images))
        return self._directions[:, self.count : count], self._images[:, self.count : count]

    def _roomier(self, part: Tensor, capacity: int) -> Tensor:
        larger = part.new_empty(len(part), capacity, part.shape[-1])
        if self.count:
            larger[:, : self.count] = part[:, : self.count]
        return larger

    def only(self, matrices: Tensor) -> "_Side":
        """The directions asked of some of the matrices."""
        return _Side(self.directions[matrices], self.images[matrices])


class GaussianMatrix:
    """B independent m x n matrices of N(0, deviation^2), each drawn from its own generator as it is asked.

    With a frame, vectors of R^n are its coordinates.
    """

    def __init__(
        self,
        generators: Sequence[np.random.Generator],
        rows: int,
        columns: int,
        deviation: float,
        dtype: torch.dtype = torch.float64,
        frame: Frame | None = None,
    ) -> None:
        self._generators, self._frame, self.deviation = list(generators), frame, deviation
        # In single precision torch draws normal numbers twice as fast as NumPy, in double precision four times as slowly. Its numbers,
        # unlike NumPy's, may differ in the last bit between processors of other vector units.
        single = dtype == torch.float32
        self._fast = [torch.Generator().manual_seed(int(one.integers(2**63))) for one in generators] if single else []
        sizes = (columns if frame is None else frame.size, rows)
        asked, answered = (torch.empty(len(generators), 0, size, dtype=dtype) for size in sizes)
        self._right, self._left = _Side(asked, answered), _Side(answered, asked)

    def times(self, x: Tensor) -> Tensor:
        """W x for r questions to each matrix: [B, r, n] to [B, r, m]."""
        return self._ask(x, self._right, self._left)

    def transposed_times(self, y: Tensor) -> Tensor:
        """W'y for r questions to each matrix: [B, r, m] to [B, r, n]."""
        return self._ask(y, self._left, self._right)

    def only(self, matrices: Tensor) -> "GaussianMatrix":
        """Some of the matrices, with all that is known of them; ask them or the whole from then on, not both."""
        kept = GaussianMatrix.__new__(GaussianMatrix)
        kept._fast = [self._fast[index] for index in matrices.tolist()] if self._fast else []
        kept._generators, kept._frame, kept.deviation = (
            [self._generators[index] for index in matrices.tolist()],
            self._frame,
            self.deviation,
        )
        kept._right, kept._left = self._right.only(matrices), self._left.only(matrices)
        return kept

    def _ask(self, questions: Tensor, here: _Side, there: _Side) -> Tensor:
        """The answers [B, r, m] to r questions [B, r, n] to each matrix; `here` is the side that asks, `there` the other one."""
        asked, transposed = here.directions, here.directions.mT
        known, rest, length = torch.bmm(questions, transposed), questions, _lengths(questions)
        enough = DEPENDENT[questions.dtype] * length
        # Gram-Schmidt, as often as a pass takes away more than half of what is left: of a nearly dependent question one pass leaves
        # mostly what rounding made of it, and a basis that is a little less orthogonal for each such question is soon none at all.
        part, falls = known, here.count > 0
        while falls:
            rest = torch.baddbmm(rest, part, asked, alpha=-1) if rest is questions else rest.baddbmm_(part, asked, alpha=-1)
            before, length = length, _lengths(rest)
            falls = bool(((length < 0.5 * before) & (length > enough)).any())
            if falls:
                part = torch.bmm(rest, transposed)
                known = known + part
        # A question of zeros or of not-a-numbers (from a dead or broken network) must not enter the basis.
        new = (length > enough) & (length < math.inf)
        all_new = bool(new.all())
        if not new.any():
            answers = torch.bmm(known, here.images)
        else:
            count = questions.shape[1]
            directions, images = here.room(count)
            parts = torch.from_numpy(length)
            if count > 1:
                block = self._orthonormal(rest / parts) if all_new else None
                if block is None:
                    return torch.cat([self._ask(question[:, None], here, there) for question in questions.unbind(1)], 1)
                directions.copy_(block[0])
                parts = parts * block[1]
                # Making the questions orthogonal to each other has made them a little less so to the earlier ones.
                part = torch.bmm(directions, transposed)
                directions.baddbmm_(part, asked, alpha=-1)
                known = torch.baddbmm(known, parts, part)
            elif all_new:
                torch.div(rest, parts, out=directions)
            else:
                directions[:], parts = (torch.where(torch.from_numpy(new), one, 0.0) for one in (rest / parts, parts))
            self._draw(images, new[:, 0, 0].nonzero()[0].tolist(), there)
            self._fix(images, directions, there)
            here.count += count
            answers = torch.bmm(torch.cat([known, parts], -1), here.images)
        # Not a number in, not a number out.
        return answers if all_new or np.isfinite(length).all() else torch.where(torch.from_numpy(length).isfinite(), answers, torch.nan)

    @staticmethod
    def _orthonormal(rows: Tensor) -> tuple[Tensor, Tensor] | None:
        """Unit rows [B, r, n] as L q: orthonormal q [B, r, n] and L [B, r, r], by Cholesky twice; none if the rows nearly depend."""
        L = torch.eye(rows.shape[1], dtype=rows.dtype)
        for _ in range(2):
            # Long sums of single precision products are good to 1e-5 only.
            precise = rows.double()
            factor, failed = torch.linalg.cholesky_ex(precise @ precise.mT)
            factor = factor.to(rows.dtype)
            if bool(failed.any()) or float(factor.diagonal(dim1=-2, dim2=-1).min()) < BLOCK_CONDITION:
                return None
            rows = torch.linalg.solve_triangular(factor, rows, upper=False)
            L = L @ factor
        return rows, L

    def _draw(self, fresh: Tensor, asking: list[int], there: _Side) -> None:
        """Sets fresh [B, r, m] to s g for each question of the matrices that ask, in the space of the answers; to 0 for the others."""
        if len(asking) < len(fresh):
            fresh.zero_()
        if there is self._right and self._frame is not None:
            generators = [self._generators[index] for index in asking]
            for question in fresh.unbind(1):
                question[asking] = self.deviation * self._frame.gaussian(generators, fresh.dtype)
        elif self._fast:
            for index in asking:
                fresh[index].normal_(0, self.deviation, generator=self._fast[index])
        else:
            numbers = fresh.numpy()
            for index in asking:
                self._generators[index].standard_normal(out=numbers[index])
            fresh.mul_(self.deviation)

    @staticmethod
    def _fix(fresh: Tensor, directions: Tensor, there: _Side) -> None:
        """Makes of s g [B, r, m], for new directions q [B, r, n], the image P (Z'q) + (I - PP') s g; 0 stays 0 where both are."""
        if there.count:
            others = there.directions
            fixed = torch.bmm(directions, there.images.mT).baddbmm_(fresh, others.mT, alpha=-1)
            fresh.baddbmm_(fixed, others)
