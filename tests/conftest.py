"""What all tests share."""

import torch

from .checkout import smoke as smoke

torch.set_num_threads(1)
