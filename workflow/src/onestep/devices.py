"""The device that a process computes on, chosen at run time: of several GPUs one that no other job of this person's holds."""

import fcntl
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from onestep.errors import Mistake


def chosen_device(name: str) -> str:
    """The device to compute on: `cpu`; `cuda:N` as asked; for `cuda` a GPU, leased; for `auto` the same, or `cpu` where there is none."""
    asked = re.fullmatch(r"auto|cpu|cuda(?::(\d+))?", name)
    if asked is None:
        raise Mistake(f"--device {name}: no such device; use auto, cpu, cuda or cuda:N")
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "cpu" or (name == "auto" and count == 0):
        return "cpu"
    wanted = range(count) if asked[1] is None else [int(asked[1])]
    if not wanted or wanted[-1] >= count:
        raise Mistake(f"--device {name}: torch sees {count} GPUs here; use --device auto or cpu")
    # cuDNN would round the factors of single precision to TF32's 10 bits.
    torch.backends.cudnn.allow_tf32 = False
    return f"cuda:{_leased(wanted)}"


def _leased(indices: Sequence[int]) -> int:
    """One of the GPUs with these indices, until this process ends: the first that no other job holds, or one to share with others.

    Nobody waits: a job that was stopped would stop all others, and whoever runs more jobs than there are GPUs wants them shared.
    """
    import torch

    from onestep.provenance import writable_folder

    folder = Path(tempfile.gettempdir()) / f"onestep-{os.getuid()}"
    writable_folder(folder)
    for index in indices:
        # Named by the GPU itself: Slurm shows each process some of a machine's, by CUDA_VISIBLE_DEVICES, and each counts its own from 0.
        if _held(folder / f"gpu-{torch.cuda.get_device_properties(index).uuid}"):
            return index
    shared = indices[os.getpid() % len(indices)]
    print(f"other jobs hold all GPUs asked for: sharing cuda:{shared}", file=sys.stderr, flush=True)
    return shared


def _held(file: Path) -> bool:
    """Whether this process could lock the file. The file stays open: the kernel releases it with the process, after a kill -9 too."""
    descriptor = os.open(file, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    return True
