"""A stand-in for a GPU, `cuda:0`: it computes what the CPU does, and refuses what a GPU would refuse."""

from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("cuda:0")
INDEXING = (torch.Tensor.__getitem__, torch.Tensor.__setitem__)


class OnGpu(torch.Tensor):
    """A tensor that lies on the GPU."""


def _mixes(func: Any, args: Any) -> bool:
    """A tensor of the CPU may say which entries of one on the GPU are meant, and be copied there; both may be copied back."""
    return func is torch.Tensor.copy_ or (func in INDEXING and isinstance(args[0], OnGpu))


class Gpu(TorchFunctionMode):
    """Within it there is a GPU."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        there = [part for part in tree_flatten((args, kwargs))[0] if isinstance(part, torch.Tensor)]
        placed = any(isinstance(part, OnGpu) for part in there)
        if func == torch.Tensor.device.__get__:
            return DEVICE if placed else torch.device("cpu")
        if func in (torch.Tensor.numpy, torch.Tensor.__array__) and placed:
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first")
        if func is torch.Tensor.cpu:
            placed = False
        elif func is torch.Tensor.to:
            onto = [isinstance(part, OnGpu) for part in (*args[1:], *kwargs.values()) if isinstance(part, torch.Tensor)]
            onto += [torch.device(part) == DEVICE for part in (*args[1:], *kwargs.values()) if isinstance(part, str | torch.device)]
            (placed,) = onto or [placed]
            args, kwargs = tree_map(lambda part: "cpu" if isinstance(part, str | torch.device) else part, (args, kwargs))
        elif kwargs.get("device") is not None:
            placed, kwargs["device"] = torch.device(kwargs["device"]) == DEVICE, "cpu"
        elif placed and not all(isinstance(part, OnGpu) or part.ndim == 0 for part in there) and not _mixes(func, args):
            raise RuntimeError(f"{func.__name__}: expected all tensors to be on the same device, but found cuda:0 and cpu")
        with torch._C.DisableTorchFunctionSubclass():
            made = func(*args, **kwargs)

        def lying(part: Any) -> Any:
            # What is there already stays the same object: a leaf of a graph, say.
            return (
                part.as_subclass(OnGpu if placed else torch.Tensor)
                if isinstance(part, torch.Tensor) and isinstance(part, OnGpu) != placed
                else part
            )

        return tree_map(lying, made)
