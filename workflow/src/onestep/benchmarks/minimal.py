"""The smallest distances found here, beside Foolbox's attacks on the same random residual networks and images, in one run and one thread.

Every distance is measured afresh from the point that an attack returns, and counts only if the sign has changed there and the point is
inside the box. Foolbox is asked for here alone: no experiment needs it.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from onestep import records
from onestep.attacks.minimal import EFFORTS, smallest
from onestep.attacks.projection import NORMS
from onestep.errors import Mistake
from onestep.networks.residual import ARCHITECTURES, ImageNetwork
from onestep.provenance import certificate
from onestep.seeds import stream
from onestep.statistics.intervals import Array, as_columns, percentile_interval, resampling_weights

ARCHITECTURE = "resnet"
BOX = (0.0, 1.0)
RIVALS: dict[str, dict[str, tuple[str, dict[str, int]]]] = {
    "l1": {"EAD": ("EADAttack", {"binary_search_steps": 6, "steps": 100}), "FMN": ("L1FMNAttack", {"steps": 300})},
    "l2": {
        "DDN": ("DDNAttack", {"steps": 100}),
        "Carlini-Wagner": ("L2CarliniWagnerAttack", {"binary_search_steps": 6, "steps": 100}),
        "DeepFool": ("L2DeepFoolAttack", {"steps": 50}),
    },
    "linf": {"FMN": ("LInfFMNAttack", {"steps": 100}), "DeepFool": ("LinfDeepFoolAttack", {"steps": 50})},
}
"""Foolbox's class and what it is told, by norm and name. Not its FMN in l2, whose projection does nothing."""
COLUMNS = {
    "side": "side of the images, of 3 channels",
    "norm": "l1, l2 or linf",
    "method": "fast, thorough: the two efforts of this program; else an attack of Foolbox",
    "network": "index of the network",
    "input": "index of the image",
    "distance": "from the image to the point found; null where none was found",
    "gradients": "gradients of f that this image needed; an attack of Foolbox asks for those of all images of a network together",
    "seconds": "time of the attack, over the images of a network that were attacked together",
}

Attack = Callable[[Tensor], tuple[Tensor, list[int]]]
"""Images [N, d] -> points [N, d] and how many gradients each of them took."""


class _Logits(torch.nn.Module):
    """Both logits of a network, and how often they were differentiated at the images."""

    def __init__(self, net: ImageNetwork) -> None:
        super().__init__()
        self.net, self.gradients = net, 0

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N, 2] at x [N, d]."""
        if x.requires_grad:
            x.register_hook(self._count)  # type: ignore[no-untyped-call]
        return self.net.logits(x)

    def _count(self, gradient: Tensor) -> None:
        self.gradients += 1


def _foolbox() -> Any:
    try:
        import foolbox
    except ImportError as error:
        raise Mistake(
            f"the benchmark of smallest distances needs Foolbox ({error}); install the locked one: pip install foolbox==3.3.4"
        ) from None
    return foolbox


def _attacks(foolbox: Any, net: ImageNetwork, norm: str) -> dict[str, Attack]:
    """Ours and the rivals, by name."""

    def ours(effort: str) -> Attack:
        def attack(x: Tensor) -> tuple[Tensor, list[int]]:
            found = smallest(net, x, NORMS[norm], box=BOX, effort=effort)
            return found.points, found.gradients.tolist()

        return attack

    def rival(name: str, options: dict[str, int]) -> Attack:
        def attack(x: Tensor) -> tuple[Tensor, list[int]]:
            logits = _Logits(net).eval()
            labels = logits(x).argmax(1)
            wrapped = foolbox.PyTorchModel(logits, bounds=BOX, device="cpu")
            _, points, _ = getattr(foolbox.attacks, name)(**options)(wrapped, x, foolbox.criteria.Misclassification(labels), epsilons=None)
            return points.detach(), [logits.gradients] * len(x)

        return attack

    return {effort: ours(effort) for effort in EFFORTS} | {name: rival(*asked) for name, asked in RIVALS[norm].items()}


def distances(net: ImageNetwork, x: Tensor, points: Tensor, norm: str) -> Tensor:
    """From images x [N, d] to points [N, d], not-a-number where the sign has not changed or a point is outside the box."""
    with torch.no_grad():
        changed = (net.value(x) > 0) != (net.value(points) > 0)
    inside = ((points >= BOX[0]) & (points <= BOX[1])).all(1)
    found: Tensor = torch.linalg.vector_norm(points.double() - x.double(), NORMS[norm], dim=1)
    return torch.where(changed & inside, found, torch.nan)


def measure(sides: Sequence[int], networks: int, inputs: int, seed: int) -> pd.DataFrame:
    """One row for each side, network, norm, method and image."""
    foolbox, rows = _foolbox(), []
    torch.set_num_threads(1)
    for side in sides:
        for network in range(networks):
            generator = stream(seed, "benchmarks", "minimal", "network", side, network)
            net = ImageNetwork.sample(generator, ARCHITECTURES[ARCHITECTURE], side, dtype=torch.float32)
            drawn = [stream(seed, "benchmarks", "minimal", "input", side, network, index).random(3 * side**2) for index in range(inputs)]
            x = torch.tensor(np.stack(drawn), dtype=torch.float32)
            net(x)  # the first time takes longer
            for norm in NORMS:
                for method, attack in _attacks(foolbox, net, norm).items():
                    begun = time.perf_counter()
                    points, gradients = attack(x)
                    seconds = (time.perf_counter() - begun) / inputs
                    for index, found in enumerate(zip(distances(net, x, points, norm).tolist(), gradients, strict=True)):
                        rows.append((side, norm, method, network, index, *found, seconds))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def summary(found: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Both efforts of each side and norm beside the best rival of each image, and beside the strongest single one.

    That is the rival whose distances are the smallest multiple of the best rival's, by the median; a failure is an infinite distance.
    """
    rows = []
    for side, norm in dict.fromkeys(zip(found["side"], found["norm"], strict=True)):
        cell = found[(found["side"] == side) & (found["norm"] == norm)]
        by_method = {str(method): own for method, own in cell.groupby("method")}
        # [networks, inputs] each
        distance = {method: own.pivot(index="network", columns="input", values="distance").to_numpy() for method, own in by_method.items()}
        rivals = {name: distance[name] for name in RIVALS[norm]}
        best = np.fmin.reduce(list(rivals.values()))
        strongest = min(rivals, key=lambda name: float(np.median(_ratio(rivals[name], best))))
        for effort in EFFORTS:
            ratio = _ratio(distance[effort], best)
            weights = resampling_weights(len(ratio), seed, "benchmarks", "minimal", side, norm).astype(int)
            medians = np.array([np.median(np.repeat(ratio, times, axis=0)) for times in weights])
            row = {"side": side, "norm": norm, "effort": effort, "networks": len(ratio), "samples": ratio.size}
            row |= as_columns("ratio", (float(medians[0]), percentile_interval(medians[1:]))) | {"largest": ratio.max()}
            row |= {"failed": np.isnan(distance[effort]).sum(), "rival": strongest}
            row |= {"rivals_failed": ", ".join(f"{name} {np.isnan(own).sum()}" for name, own in rivals.items())}
            # Gradients by the mean; times by the median, which what else the machine did meanwhile hardly moves.
            for quantity, better, middle in (("gradients", "fewer", "mean"), ("seconds", "faster", "median")):
                ours, theirs = (float(by_method[method][quantity].agg(middle)) for method in (effort, strongest))
                row |= {quantity: ours, f"rival_{quantity}": theirs, better: theirs / ours}
            rows.append(row)
    return pd.DataFrame(rows)


def _ratio(distance: Array, best: Array) -> Array:
    """Distances over those of the best rival, both not-a-number where they failed: infinite, or 0 where only all rivals have."""
    found = np.where(np.isnan(best), np.inf, best)
    return np.where(np.isnan(distance), np.inf, distance / found)


def run(sides: Sequence[int], networks: int, inputs: int, seed: int, out: Path, table: Path) -> None:
    """Measures, and writes the records and the table."""
    frame = measure(sides, networks, inputs, seed)
    born = certificate(
        parameters={"sides": list(sides), "networks": networks, "inputs": inputs, "seed": seed}, modules=[__name__], seed=seed
    )
    records.write(out, frame, COLUMNS, born)
    records.write_table(table, summary(frame, seed), born)
