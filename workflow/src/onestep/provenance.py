"""Birth certificates: what an artifact was made from, by which code, with which command; and whole-or-nothing writing."""

import ast
import contextlib
import glob
import hashlib
import json
import os
import platform
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from onestep.errors import Mistake

PACKAGE = Path(__file__).resolve().parent
LIBRARIES = ("torch", "torchvision", "numpy", "scipy", "pandas", "pyarrow", "matplotlib", "seaborn", "scikit-learn", "typst")
_STARTED = time.perf_counter()


# ---------------------------------------------------------------- code digests


def _file_of(module: str) -> Path | None:
    """The file of a module of this package, or None where there is no such module (a name inside a module, say)."""
    path = PACKAGE.joinpath(*module.split(".")[1:])
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def _imports(module: str, file: Path, tree: ast.Module) -> Iterator[str]:
    """Names that `module` imports from this package, wherever in the file; some are modules, some names inside modules."""
    package = module.split(".") if file.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            yield source
            yield from (f"{source}.{alias.name}" for alias in node.names)


class _WithoutDocstrings(ast.NodeTransformer):
    """Drops strings that stand alone: docstrings of modules, classes and functions, and those below constants."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if text else node


@cache
def _module(module: str, file: Path) -> tuple[str, frozenset[str]]:
    """A module's syntax tree as text, and the names it imports from this package."""
    try:
        tree = ast.parse(file.read_text())
    except SyntaxError as error:
        raise Mistake(f"{file}:{error.lineno}: {error.msg}; mend the module, nothing can run with it") from None
    imported = frozenset(name for name in _imports(module, file, tree) if name.startswith("onestep"))
    return ast.dump(_WithoutDocstrings().visit(tree)), imported


def closure(*modules: str) -> dict[str, Path]:
    """The named modules and every module of this package that they import, directly or not, with the packages around them."""
    found: dict[str, Path] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        file = _file_of(name)
        if name in found or file is None:
            continue
        found[name] = file
        waiting.extend(_module(name, file)[1])
        if "." in name:
            waiting.append(name.rpartition(".")[0])
    return found


def code_digest(*modules: str) -> str:
    """Digest of the syntax trees of the modules' import closure: comments, docstrings and layout do not count."""
    for module in modules:
        if _file_of(module) is None:
            raise Mistake(f"code digest: there is no module {module!r} in {PACKAGE}; name an existing one")
    texts = [f"{name}\n{_module(name, file)[0]}" for name, file in sorted(closure(*modules).items())]
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]


def pins_digest(lock: Path) -> str:
    """Digest of the versions that a lock pins: comments, layout and order do not count."""
    try:
        lines = {line.partition("#")[0].strip() for line in lock.read_text().splitlines()}
    except OSError as error:
        raise Mistake(f"{lock}: cannot be read ({error.strerror}); it says which versions results are made with") from None
    return hashlib.sha256("\n".join(sorted(lines - {""})).encode()).hexdigest()[:16]


# ---------------------------------------------------------------- certificates


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, shortened; of records and arrays that of their data alone (their certificates change, they do not)."""
    if not path.is_file():
        raise Mistake(f"{path}: no such file; run the rule that makes it")
    if path.suffix == ".parquet":
        return data_digest(path)
    content = path.read_bytes()
    if path.suffix == ".safetensors":
        body = 8 + int.from_bytes(content[:8], "little")
        tensors = {name: entry for name, entry in json.loads(content[8:body]).items() if name != "__metadata__"}
        content = json.dumps(tensors, sort_keys=True).encode() + content[body:]
    return hashlib.sha256(content).hexdigest()[:16]


def data_digest(path: Path) -> str:
    """Digest of a record file's column names, types and values, and of nothing else in it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    digest = hashlib.sha256()
    table = pq.read_table(path).combine_chunks()
    for name in table.column_names:
        column = table.column(name)
        digest.update(f"{name}:{column.type};".encode())
        batch = pa.record_batch([column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)], names=[name])
        digest.update(batch.serialize())
    return digest.hexdigest()[:16]


@cache
def git_state() -> dict[str, Any]:
    """The commit of the checkout this package runs from and whether its tree was dirty; nulls outside a checkout."""

    def git(*arguments: str) -> str | None:
        done = subprocess.run(["git", "-C", str(PACKAGE), *arguments], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else None

    try:
        commit = git("rev-parse", "HEAD")
        return {"commit": commit, "dirty": None if commit is None else bool(git("status", "--porcelain"))}
    except FileNotFoundError:
        return {"commit": None, "dirty": None}


@cache
def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that touch numbers or pictures."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def certificate(
    *, parameters: Mapping[str, Any], modules: Iterable[str], inputs: Iterable[Path] = (), seed: int | None = None, device: str = "cpu"
) -> dict[str, Any]:
    """An artifact's birth certificate; `wall_seconds` counts from the import of this module."""
    return {
        "command": shlex.join(["onestep", *sys.argv[1:]]),
        "parameters": dict(parameters),
        "seed": seed,
        "inputs": {str(path): file_digest(path) for path in inputs},
        "code": code_digest(*modules),
        "git": git_state(),
        "versions": versions(),
        "machine": platform.node(),
        "device": device,
        "wall_seconds": round(time.perf_counter() - _STARTED, 3),
        "peak_megabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def beside(path: Path) -> Path:
    """Where the certificate of a figure, table, page or PDF lies: a small file beside it."""
    return path.with_name(path.name + ".json")


def read_certificate(path: Path) -> dict[str, Any]:
    """The birth certificate of any artifact of this project."""
    if not path.is_file():
        raise Mistake(f"{path}: no such file; name an artifact under results/")
    found: str | bytes | None = None
    if path.suffix == ".parquet":
        import pyarrow.parquet

        try:
            found = (pyarrow.parquet.read_schema(path).metadata or {}).get(b"provenance")
        except pyarrow.ArrowInvalid:
            raise Mistake(f"{path}: not a Parquet file; make it again") from None
    elif path.suffix == ".safetensors":
        with path.open("rb") as stream:
            header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
        found = header.get("__metadata__", {}).get("provenance")
    elif beside(path).is_file():
        found = beside(path).read_text()
    elif path.suffix == ".json":
        with contextlib.suppress(ValueError, AttributeError, TypeError):
            found = json.dumps(json.loads(path.read_text())["provenance"]) if "provenance" in json.loads(path.read_text()) else None
    if found is None:
        raise Mistake(f"{path}: it carries no birth certificate and there is none beside it; only this project's artifacts have one")
    certificate: dict[str, Any] = json.loads(found)
    return certificate


# ---------------------------------------------------------------- whole or not at all


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yields a temporary name beside `path`, renamed to it when all went well and removed when not.

    What a killed process has left there of the same file is removed, too: nobody else writes it at the same time.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f".{glob.escape(path.stem)}.[0-9]*{glob.escape(path.suffix)}"):
            left.unlink(missing_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise Mistake(f"{path}: cannot be written ({error.strerror or error}); free the place or choose another --out") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def writable_folder(path: Path, name: str = "") -> None:
    """Makes a folder and checks that files can be made in it; `name`: what a person knows it by, if not by its path."""
    probe = path / f".{os.getpid()}"
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise Mistake(
            f"{name}{path}/: cannot be written to ({error.strerror or error}); free the place or change its permissions"
        ) from None


def write_text(path: Path, text: str) -> None:
    """Writes a text file whole or not at all."""
    with whole(path) as temporary:
        temporary.write_text(text)


def write_certificate(path: Path, born: Mapping[str, Any]) -> None:
    """Writes the certificate that lies beside an artifact."""
    write_text(beside(path), json.dumps(born, indent=2) + "\n")
