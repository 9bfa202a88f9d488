"""What never forming the matrices saves: time and memory of matrix-free networks beside dense ones, measured in one run.

A sample is one network and one input: the network is drawn, its value and gradient taken, and the first root along the gradient found,
by the same search for every kind of network. The dense networks are those that a user of torch would write: weights drawn by torch in
single precision, kept whole, and multiplied.

Each row is measured in a process of its own, one thread, so that its peak of memory is its own; all of them keep freed memory for
the next array, as every command of this project does. Times and memory are what one machine gave once: unlike all other records of
this project they are not the same bytes in another run, and they mean something only where nothing else was at work.
"""

import itertools
import math
import multiprocessing
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch
from torch import Tensor

from onestep import memory, records, sampling
from onestep.attacks.ray import Roots
from onestep.attacks.single_step import first_sign_change
from onestep.errors import Mistake
from onestep.networks.gaussian import Frame
from onestep.networks.random_relu import DenseMatrix, RandomNetwork, Shape, never_formed, numbers_held
from onestep.provenance import certificate
from onestep.seeds import stream

COLUMNS = {
    "part": "networks: one network and one input at a time, against depth and width; batches: the same for several networks at a time;"
    " first-layer: the first layer's share alone; choice: as `singlestep sample` works, which kind it chooses",
    **{name: sampling.COLUMNS[name] for name in ("depth", "width", "input_dim")},
    "kind": "matrix-free: no matrix is formed; dense-torch: held, drawn by torch; dense: held, drawn as the experiments do;"
    " auto: each matrix as the experiments choose it",
    "dtype": "precision of weights and values",
    "networks": "networks worked on at a time",
    "inputs": "inputs of each network",
    "unformed": "how many of the network's matrices are never formed",
    "chosen": "whether that is what the experiments choose for such networks and inputs",
    "weights_bytes": "what the weights of these networks take where they are held, or would take",
    "status": "measured, or too large: the weights are more than the memory that was granted, and nothing was measured",
    "repetitions": "how often it was measured, after one run to warm up; 0 where it was not",
    "seconds": "wall seconds a sample: the median repetition over networks x inputs",
    "fastest_seconds": "wall seconds a sample of the fastest repetition",
    "process_seconds": "processor seconds a sample, the median repetition",
    "evaluations": "of a network along a ray, the mean; null for the first layer alone",
    "idle_bytes": "peak memory of the process with its libraries, after one tiny network of this kind",
    "peak_bytes": "peak memory of the process after the first run on this cell",
}

CAP = 20.0
"""Steps are searched below this value, the published one."""
CHOICE_INPUTS = (1, 5)
"""Inputs of a network in the part `choice`: the more there are, the more questions each matrix is asked."""
_BATCH_NUMBERS = 2**25
"""Batches that would keep more numbers than this are left out."""
_FEWEST, _MOST = 3, 100  # repetitions

KindOfNetwork = Literal["matrix-free", "dense-torch", "dense", "auto"]


@dataclass(frozen=True)
class Cell:
    """One row of the records before it is measured."""

    part: Literal["networks", "batches", "first-layer", "choice"]
    depth: int
    width: int
    input_dim: int
    kind: KindOfNetwork
    dtype: Literal["float32", "float64"] = "float32"
    networks: int = 1
    inputs: int = 1

    @property
    def shape(self) -> Shape:
        """The networks' shape."""
        return Shape(self.input_dim, (self.width,) * self.depth)

    @property
    def weights_bytes(self) -> int:
        """What the networks' weights take."""
        size = {"float32": 4, "float64": 8}[self.dtype]
        return size * self.networks * sum(rows * columns for rows, columns, _ in self.shape.matrices)

    @property
    def numbers(self) -> int:
        """About how many numbers one of the networks keeps."""
        return numbers_held(self.shape, self.inputs, "dense" if self.kind == "dense-torch" else self.kind)

    @property
    def unformed(self) -> int:
        """How many of a network's matrices are never formed."""
        return sum(never_formed(self.shape, self.inputs, "dense" if self.kind == "dense-torch" else self.kind))

    @property
    def chosen(self) -> bool:
        """Whether the experiments would choose so, too."""
        return self.unformed == sum(never_formed(self.shape, self.inputs))


# ---------------------------------------------------------------- what is measured


def dense_networks(shape: Shape, networks: int, generator: torch.Generator) -> RandomNetwork:
    """Networks as a user of torch would write them: weights in single precision, drawn by torch."""
    layers = [
        DenseMatrix(torch.randn(networks, rows, columns, generator=generator).mul_(deviation), deviation)
        for rows, columns, deviation in shape.matrices
    ]
    last = shape.widths[-1]
    signs = torch.randint(0, 2, (networks, last), generator=generator, dtype=torch.float32).mul_(2).sub_(1)
    return RandomNetwork(shape, layers, signs.div_(math.sqrt(last)), Frame(shape.dim, shape.dim))


def sampled(cell: Cell, seed: int, repetition: int, generator: torch.Generator) -> tuple[RandomNetwork, Tensor]:
    """The networks of one repetition and their inputs [B, I, m]; `generator` is the one that torch's own draws come from."""
    shape = cell.shape
    if cell.kind == "dense-torch":
        nets = dense_networks(shape, cell.networks, generator)
        x = torch.randn(cell.networks, cell.inputs, shape.dim, generator=generator)
        return nets, x.mul_(math.sqrt(shape.dim) / x.norm(dim=-1, keepdim=True))
    dtype = {"float32": torch.float32, "float64": torch.float64}[cell.dtype]
    name = ("benchmarks", cell.part, cell.depth, cell.width, cell.input_dim, repetition)
    weights, points = ([stream(seed, *name, what, i) for i in range(cell.networks)] for what in ("network", "inputs"))
    nets = RandomNetwork.sample(weights, shape, kind=cell.kind, inputs=cell.inputs, room=2 * cell.inputs, dtype=dtype)
    return nets, nets.inputs(points, cell.inputs)


def follow(nets: RandomNetwork, x: Tensor) -> Roots:
    """Value and gradient at x [B, I, m], and the first root along the gradient: exact for one hidden layer, a certified march else."""
    origin = nets.forward(x)
    gradient = nets.gradient(origin[0])
    return first_sign_change(nets, x, origin, gradient, gradient.square().sum(-1), CAP)


def first_layer(nets: RandomNetwork, x: Tensor) -> None:
    """What a sample asks of the first layer: its products with the input, with the gradient's other side, and with the gradient."""
    (first,) = nets.layers
    first.times(nets.gradient([first.times(x)]))


@torch.inference_mode()
def measure(cell: Cell, seed: int, seconds: float) -> dict[str, float]:
    """Works on a cell in this process for this many seconds, and three times at least, after a tiny one and one run to warm up."""
    generator = torch.Generator().manual_seed(int(stream(seed, "benchmarks", *map(str, asdict(cell).values())).integers(2**63)))
    tiny = Cell(cell.part, cell.depth, 16, 16, cell.kind, cell.dtype)
    evaluations: list[float] = []

    def once(what: Cell, repetition: int) -> None:
        nets, x = sampled(what, seed, repetition, generator)
        if what.part == "first-layer":
            first_layer(nets, x)
            evaluations.append(math.nan)
        else:
            evaluations.append(float(follow(nets, x).evaluations.double().mean()))

    once(tiny, 0)
    idle = _peak_bytes()
    once(cell, 0)
    peak = _peak_bytes()
    evaluations.clear()
    wall: list[float] = []
    process: list[float] = []
    started = time.perf_counter()
    while len(wall) < _FEWEST or (time.perf_counter() - started < seconds and len(wall) < _MOST):
        before = time.perf_counter(), time.process_time()
        once(cell, 1 + len(wall))
        wall.append(time.perf_counter() - before[0])
        process.append(time.process_time() - before[1])
    samples = cell.networks * cell.inputs
    return {
        "repetitions": len(wall),
        "seconds": statistics.median(wall) / samples,
        "fastest_seconds": min(wall) / samples,
        "process_seconds": statistics.median(process) / samples,
        "evaluations": statistics.fmean(evaluations),
        "idle_bytes": idle,
        "peak_bytes": peak,
    }


def _peak_bytes() -> int:
    """The most memory that this process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


# ---------------------------------------------------------------- a process for each cell


def _report(sender: Connection, cell: Cell, seed: int, seconds: float) -> None:
    torch.set_num_threads(1)
    memory.keep_freed()
    try:
        sender.send(measure(cell, seed, seconds))
    except (MemoryError, RuntimeError) as error:
        sender.send(error)


def alone(cell: Cell, seed: int, seconds: float) -> dict[str, float]:
    """`measure` in a process of its own."""
    # Processes are forked off a server that has imported this module and done nothing else: no import is paid for twice, and
    # what this process has held does not count.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", __name__])
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_report, args=(sender, cell, seed, seconds))
    child.start()
    sender.close()
    try:
        found: dict[str, float] | Exception = receiver.recv()
    except EOFError:
        found = MemoryError("the process was killed")
    child.join()
    if isinstance(found, Exception):
        raise found
    return found


# ---------------------------------------------------------------- the grid


def cells(
    depths: Sequence[int],
    widths: Sequence[int],
    input_dims: Sequence[int],
    batch: int,
    layer_width: int,
    layer_dims: Sequence[int],
    choice_depths: Sequence[int],
    choice_widths: Sequence[int],
    choice_dims: Sequence[int],
) -> list[Cell]:
    """Every row of the records, matrix-free and dense beside each other."""
    kinds: tuple[KindOfNetwork, ...] = ("matrix-free", "dense-torch")
    places = list(itertools.product(depths, widths, input_dims))
    grid = [Cell("networks", *place, kind) for place in places for kind in kinds]
    batches = [Cell("batches", *place, kind, networks=batch) for place in places for kind in kinds]
    layers = [Cell("first-layer", 1, layer_width, dim, kind) for dim in layer_dims for kind in kinds]
    choices: list[Cell] = []
    for depth, width, dim, inputs in itertools.product(choice_depths, choice_widths, choice_dims, CHOICE_INPUTS):
        plans: dict[int, Cell] = {}
        for kind in ("matrix-free", "dense", "auto"):
            networks = sampling.block_size(numbers_held(Shape(dim, (width,) * depth), inputs, kind))
            cell = Cell("choice", depth, width, dim, kind, "float64", networks, inputs)
            # What is chosen is mostly one of the pure kinds, and need not be measured again.
            plans.setdefault(cell.unformed, cell)
        choices += plans.values()
    return [*grid, *(cell for cell in batches if batch * cell.numbers <= _BATCH_NUMBERS), *layers, *choices]


def machine() -> dict[str, Any]:
    """What the times were taken on."""
    try:
        names = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    except OSError:
        names = []
    return {
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "processors": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "load_average": os.getloadavg()[0],
    }


def run(
    depths: Sequence[int],
    widths: Sequence[int],
    input_dims: Sequence[int],
    batch: int,
    layer_width: int,
    layer_dims: Sequence[int],
    choice_depths: Sequence[int],
    choice_widths: Sequence[int],
    choice_dims: Sequence[int],
    memory_gb: float,
    seconds: float,
    seed: int,
    out: Path,
) -> None:
    """Measures every cell of the grids whose weights take at most `memory_gb` (or nothing: never formed), one after the other."""
    parameters = {key: value for key, value in locals().items() if key != "out"}
    rows, worked_on, last_word = [], machine(), time.perf_counter()
    if memory_gb * 1e9 > 0.7 * worked_on["memory_bytes"]:
        raise Mistake(
            f"--memory-gb {memory_gb:g}: this machine has {worked_on['memory_bytes'] / 1e9:.0f} GB, of which at most 0.7 can be weights;"
            " ask for less"
        )
    grid = cells(depths, widths, input_dims, batch, layer_width, layer_dims, choice_depths, choice_widths, choice_dims)
    for number, cell in enumerate(grid):
        if time.perf_counter() - last_word > 5:
            last_word = time.perf_counter()
            print(f"{number} of {len(grid)} measured; next: L = {cell.depth}, k = {cell.width}, {cell.kind}", file=sys.stderr, flush=True)
        row = asdict(cell) | {"unformed": cell.unformed, "chosen": cell.chosen, "weights_bytes": cell.weights_bytes}
        fits = cell.unformed == cell.depth or cell.weights_bytes <= memory_gb * 1e9
        found = alone(cell, seed, seconds) if fits else {"repetitions": 0}
        rows.append(row | {"status": "measured" if fits else "too large"} | found)
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    born = certificate(parameters=parameters, modules=[__name__], seed=seed)
    records.write(out, frame, COLUMNS, born | {"measured_on": worked_on})
