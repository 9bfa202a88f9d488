"""Points of the sphere for the tests, drawn without the package."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def random_inputs(generators: Sequence[np.random.Generator], inputs: int, dim: int) -> Tensor:
    """Uniform points on the sphere of radius sqrt(d), [B, I, d]: normal vectors, scaled."""
    x = torch.from_numpy(np.stack([generator.standard_normal((inputs, dim)) for generator in generators]))
    return x.mul_(math.sqrt(dim) / x.norm(dim=-1, keepdim=True))
