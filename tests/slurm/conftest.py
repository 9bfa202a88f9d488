"""A real Slurm on one node: Debian's slurm-wlm and munge, run by root without systemd, without accounting, with one pretended GPU."""

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

# srun inside a job sees no SLURM_CONF (Snakemake's plugin takes Slurm's variables away), so that only this folder will do.
CONFIGURATION = Path("/etc/slurm")
LOCK = Path("/tmp/onestep-slurm.lock")
OURS = "# Written by onestep's tests, which take it away again.\n"
PROGRAMS = ["munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "sinfo"]


class Slurm:
    """What a test asks of the running Slurm."""

    def states(self) -> dict[int, str]:
        """Every job that was ever submitted, and how it is."""
        listed = subprocess.check_output(["squeue", "--states=all", "--noheader", "--format=%i %T"], text=True)
        return {int(number): state for number, state in (line.split() for line in listed.splitlines())}

    def asked(self, job: int) -> str:
        """What Slurm knows of a job."""
        return subprocess.check_output(["scontrol", "show", "job", str(job)], text=True)


def _port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _configuration(folder: Path) -> str:
    """slurm.conf: this machine as a node, with a little more on paper than it has, so that any two jobs fit."""
    node = socket.gethostname().split(".")[0]
    cores = max(2, os.cpu_count() or 2)
    # Memory: not by cgroups, which need systemd, but by looking every second what a job has.
    return f"""{OURS}
ClusterName=onestep
SlurmctldHost={node}(127.0.0.1)
SlurmctldPort={_port()}
SlurmdPort={_port()}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
EnforcePartLimits=ALL
MinJobAge=3600
ReturnToService=2
KillWait=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill,UsePss
MpiDefault=none
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName={node} NodeAddr=127.0.0.1 CPUs={cores} RealMemory=32000 Gres=gpu:1 State=UNKNOWN
PartitionName=normal Nodes={node} Default=YES MaxTime=INFINITE State=UP
PartitionName=accelerated Nodes={node} MaxTime=INFINITE State=UP
"""


@contextmanager
def _running(folder: Path, program: str, *options: str) -> Iterator[None]:
    """A daemon in the foreground, ended with what it started."""
    with (folder / f"{program}.log").open("wb") as log:
        process = subprocess.Popen([program, *options], stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait(folder: Path, what: str, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not ready():
        if time.monotonic() > deadline:
            logs = "\n".join(f"{log.name}:\n{log.read_text()[-2000:]}" for log in folder.glob("*.log"))
            pytest.fail(f"{what} is not there after a minute\n{logs}")
        time.sleep(0.2)


def _idle() -> bool:
    done = subprocess.run(["sinfo", "--noheader", "--format=%T"], capture_output=True, text=True)
    return done.returncode == 0 and set(done.stdout.split()) == {"idle"}


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    if missing := [program for program in PROGRAMS if shutil.which(program) is None]:
        pytest.skip(f"no Slurm here ({', '.join(missing)} not found): as root, apt-get install slurm-wlm munge")
    if os.geteuid() != 0:
        pytest.skip("Slurm's daemons are started as root, and this is not root")
    with ExitStack() as stack:
        # Another checkout's tests may be at it: there is one /etc/slurm.
        stack.enter_context(lock := LOCK.open("w"))
        fcntl.flock(lock, fcntl.LOCK_EX)
        files = {name: CONFIGURATION / name for name in ("slurm.conf", "gres.conf")}
        if theirs := [file for file in files.values() if file.exists() and not file.read_text().startswith(OURS)]:
            pytest.skip(f"{theirs[0]} is in use: this machine belongs to a cluster")
        folder = tmp_path_factory.mktemp("slurm")
        for name in ("state", "spool"):
            (folder / name).mkdir()
        (folder / "munge.key").write_bytes(os.urandom(128))
        (folder / "munge.key").chmod(0o600)
        for file in files.values():
            stack.callback(file.unlink, missing_ok=True)
        files["slurm.conf"].write_text(_configuration(folder))
        files["gres.conf"].write_text(f"{OURS}NodeName={socket.gethostname().split('.')[0]} Name=gpu File=/dev/null\n")
        # --force: the folder is nobody's but root's, which munge warns of.
        own = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "log", "seed")]
        stack.enter_context(_running(folder, "munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *own))
        _wait(folder, "munged", (folder / "munge.socket").exists)
        stack.enter_context(_running(folder, "slurmctld", "-D", "-c"))
        stack.enter_context(_running(folder, "slurmd", "-D"))
        _wait(folder, "Slurm", _idle)
        yield Slurm()
        # What a failed test left running goes first: the daemons' end would not end it.
        subprocess.run(["scancel", "--user=root"], check=False)
        _wait(folder, "The end of the last Slurm job", lambda: not subprocess.check_output(["squeue", "--noheader"]))
