"""Anderson's mixing (J. ACM 12, 1965): fixed points in fewer steps, from how the last points and their residuals differed."""

import torch
from torch import Tensor

REGULARISATION = 1e-3
"""Added to the squared lengths of the differences, relative to their mean."""


class Mixing:
    """The last points and images [N, d] of N fixed-point iterations, each on its own."""

    def __init__(self, points: Tensor, memory: int) -> None:
        self._point = self._residual = torch.zeros_like(points)
        self._known = torch.zeros_like(points[:, 0], dtype=torch.bool)
        # How the last points and their residuals (image - point) differed; what was not seen yet is 0, and changes nothing.
        self._steps = self._changes = points.new_zeros(len(points), memory, points.shape[1])

    def mixed(self, points: Tensor, images: Tensor, usable: Tensor) -> Tensor:
        """The images [N, d] of those points that by extrapolation from these [N, d] have the least residuals; learns where usable [N].

        images - sum_k c_k (step_k + change_k) with the c for which residuals - sum_k c_k change_k is shortest.
        """
        residuals, learnt = images - points, (usable & self._known)[:, None, None]

        def extended(differences: Tensor, latest: Tensor) -> Tensor:
            return torch.where(learnt, torch.cat([differences[:, 1:], latest[:, None]], dim=1), differences)

        self._steps = extended(self._steps, points - self._point)
        self._changes = extended(self._changes, residuals - self._residual)
        self._point = torch.where(usable[:, None], points, self._point)
        self._residual = torch.where(usable[:, None], residuals, self._residual)
        self._known = self._known | usable
        changes = self._changes.double()
        gram = changes @ changes.mT
        mean = gram.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
        damped = gram + (REGULARISATION * mean + torch.finfo(gram.dtype).tiny) * torch.eye(gram.shape[1]).to(gram)
        shares = torch.linalg.solve(damped, changes @ residuals.double()[:, :, None]).to(points).mT
        mixed: Tensor = images - (shares @ (self._steps + self._changes))[:, 0]
        return mixed
