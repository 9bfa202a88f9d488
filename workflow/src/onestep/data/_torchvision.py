"""torchvision's data sets, also beside a torch that its compiled operators do not fit."""

import torch

try:
    from torchvision import datasets
except RuntimeError:
    # The index's torchvision is linked to CUDA. Beside a CPU-only torch its operators cannot be loaded, and the import stops at
    # the first one it describes. With the two schemas known it goes through; the operators themselves are not needed here.
    _schemas = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]  # the schemas last as long as this object
    _schemas.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
    _schemas.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
    from torchvision import datasets

__all__ = ["datasets"]
