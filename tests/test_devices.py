"""Which device a process computes on. No test has a GPU: torch says that there are some, and of which it is then asked nothing else."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from onestep.devices import chosen_device
from onestep.errors import Mistake

# A job: it is shown some GPUs, says which one it takes, and works until its input ends. Its torch is nothing but what it says of GPUs.
JOB = """
import sys
from types import SimpleNamespace
uuids = sys.argv[2:]
cuda = SimpleNamespace(
    is_available=lambda: bool(uuids),
    device_count=lambda: len(uuids),
    get_device_properties=lambda index: SimpleNamespace(uuid=uuids[index]),
)
sys.modules["torch"] = SimpleNamespace(cuda=cuda, backends=SimpleNamespace(cudnn=SimpleNamespace()))
from onestep.devices import chosen_device
print(chosen_device(sys.argv[1]), flush=True)
sys.stdin.read()
"""


class Machine:
    """Jobs that share a temporary folder, as those of one person on one machine do."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TMPDIR", str(folder))
        self.jobs: list[subprocess.Popen[str]] = []

    def start(self, device: str, *gpus: str) -> tuple[subprocess.Popen[str], str]:
        """Starts a job that is shown these GPUs; returns it and the device that it took."""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        job = subprocess.Popen([sys.executable, "-c", JOB, device, *gpus], text=True, **pipes)
        self.jobs.append(job)
        assert job.stdout is not None
        return job, job.stdout.readline().strip()

    def takes(self, device: str, *gpus: str) -> str:
        """The device that such a job takes; it goes on working."""
        return self.start(device, *gpus)[1]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    machine = Machine(tmp_path, monkeypatch)
    yield machine
    for job in machine.jobs:
        job.kill()
        job.communicate()


def test_jobs_beside_each_other_take_different_gpus(machine: Machine) -> None:
    assert [machine.takes(device, "a", "b", "c") for device in ("auto", "cuda", "auto")] == ["cuda:0", "cuda:1", "cuda:2"]


def test_a_gpu_is_free_again_when_its_job_has_ended_or_was_killed(machine: Machine) -> None:
    ended, killed, _ = (machine.start("auto", "a", "b", "c")[0] for _ in range(3))
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert machine.takes("auto", "a", "b", "c") == "cuda:1"
    ended.communicate("")
    assert machine.takes("auto", "a", "b", "c") == "cuda:0"


def test_a_gpu_is_known_by_itself_whatever_its_index_among_those_that_a_job_is_shown(machine: Machine) -> None:
    assert machine.takes("auto", "b") == "cuda:0"  # CUDA_VISIBLE_DEVICES=1
    assert machine.takes("auto", "a", "b") == "cuda:0"
    assert machine.takes("auto", "a", "b", "c") == "cuda:2"


def test_a_gpu_that_is_asked_for_by_its_index_is_taken_and_those_that_may_choose_leave_it_alone(machine: Machine) -> None:
    assert machine.takes("cuda:0", "a", "b") == "cuda:0"
    assert machine.takes("auto", "a", "b") == "cuda:1"
    assert machine.takes("cuda:1", "a", "b") == "cuda:1"


def test_more_jobs_than_gpus_share_and_say_so(machine: Machine) -> None:
    for _ in range(2):
        machine.takes("auto", "a", "b")
    job, device = machine.start("auto", "a", "b")
    assert device in ("cuda:0", "cuda:1")
    assert job.communicate("")[1] == f"other jobs hold all GPUs asked for: sharing {device}\n"


def test_where_there_is_no_gpu_auto_is_the_cpu_and_nothing_is_leased(machine: Machine, tmp_path: Path) -> None:
    assert machine.takes("auto") == "cpu"
    assert machine.takes("cpu", "a") == "cpu"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:7"])
@pytest.mark.parametrize("count", [0, 1])
def test_a_gpu_that_is_not_there_is_a_mistake(name: str, count: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid=f"gpu {index}"))
    if count and name != "cuda:7":
        assert chosen_device(name) == "cuda:0"
    else:
        with pytest.raises(Mistake, match=rf"--device {name}: torch sees {count} GPUs here; use --device auto or cpu"):
            chosen_device(name)


def test_a_folder_for_leases_that_is_somebody_elses_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/dev/null")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(Mistake, match=r"/dev/null/onestep-\d+/: cannot be written to"):
        chosen_device("cuda")
