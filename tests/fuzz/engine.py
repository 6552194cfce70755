"""The loop of one target: atheris where it is installed, blind mutations elsewhere."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import random
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import CodeType, FunctionType, ModuleType
from typing import Any

HANG = 20
"""Seconds for one input."""

LARGEST = 1 << 16
"""Bytes of an input."""

FILES = ("io.readers.read", "io.readers.names", "io.readers.numpy_files",
         "io.readers.safetensors_file", "io.readers.delimited", "io.readers.chunked",
         "io.sources", "io.npy")  # fmt: skip
RECORDS = ("records.files", "io.npy", "records.fields", "records.result", "coresets.streaming")
MODELS = ("nn.stored.recipe", "nn.report.report", "nn.stored.checkpoint", "nn.stored.directory")
GUIDES = {
    **dict.fromkeys(("npy", "npz", "safetensors", "csv", "h5", "parquet", "zarr"), FILES),
    **dict.fromkeys(("result", "factors", "stream"), RECORDS),
    **dict.fromkeys(("recipe", "tensors", "directory"), MODELS),
}
"""Modules of lpgeom whose branches guide the search of a target."""

OTHERS = ("numpy.lib._format_impl", "zipfile", "json.decoder", "ast", "csv")
"""What these use."""

COUNTED = {
    "npy": ("io.readers.numpy_files", "io.npy"),
    "npz": ("io.readers.numpy_files", "io.npy"),
    "safetensors": ("io.readers.safetensors_file",),
    "csv": ("io.readers.delimited",),
    "h5": ("io.readers.chunked", "io.sources"),
    "parquet": ("io.readers.chunked", "io.sources"),
    "zarr": ("io.readers.chunked", "io.sources"),
    "result": ("records.files", "records.fields"),
    "factors": ("records.files", "records.fields"),
    "stream": ("records.files", "records.fields"),
    "recipe": ("nn.stored.recipe",),
    "tensors": ("nn.stored.checkpoint",),
    "directory": ("nn.stored.directory",),
}
"""Modules of which the lines that a corpus reaches are counted."""


class Hang(AssertionError):
    """One input took longer than HANG."""


class Runner:
    """Runs inputs, and keeps what they find."""

    def __init__(self, name: str, target: Callable[[bytes, Path], None], work: Path) -> None:
        self.name, self.target, self.work = name, target, work
        self.executions = 0
        self.slowest = 0.0
        self.found: dict[str, dict[str, Any]] = {}

    def __call__(self, data: bytes) -> None:
        self.executions += 1
        started = time.perf_counter()
        signal.setitimer(signal.ITIMER_REAL, HANG)
        try:
            with TemporaryDirectory(dir=_memory_disk()) as folder:
                inner = Path(folder) / "input"
                inner.mkdir()
                self.target(bytes(data), inner)
        except Exception as error:
            self._keep(data, error)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
        self.slowest = max(self.slowest, time.perf_counter() - started)

    def _keep(self, data: bytes, error: Exception) -> None:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [f"{Path(f.filename).name}:{f.name}" for f in frames if "lpgeom" in f.filename]
        what = re.sub(r"\d+", "0", str(error))[:60] if isinstance(error, AssertionError) else ""
        key = f"{type(error).__name__} {what} {ours[-1] if ours else ''}"
        if key in self.found:
            self.found[key]["times"] += 1
            return
        digest = hashlib.sha256(data).hexdigest()[:12]
        folder = self.work / "findings" / self.name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / digest).write_bytes(data)
        (folder / f"{digest}.txt").write_text("".join(traceback.format_exception(error)))
        self.found[key] = {"input": digest, "times": 1, "error": f"{type(error).__name__}: {error}"}


def _memory_disk() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def _alarm(*_: Any) -> None:
    raise Hang("one input took too long")


def run(name: str, seconds: float, seed: int, work: Path) -> None:
    """Fuzz one target; write its figures to ``work/<name>.json``."""
    atheris: Any
    try:
        import atheris
    except ImportError:
        atheris = None
    for module in (*(f"lpgeom.{guide}" for guide in GUIDES[name]), *OTHERS):
        found = importlib.import_module(module)
        for function in _functions(found) if atheris is not None else ():
            atheris.instrument_func(function)
    from .mutate import blind, mutated
    from .seeds import seeds
    from .targets import TARGETS

    signal.signal(signal.SIGALRM, _alarm)
    runner = Runner(name, TARGETS[name], work)
    corpus = work / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for data in seeds(name):
        (corpus / hashlib.sha256(data).hexdigest()[:40]).write_bytes(data)
    began = time.perf_counter()

    def report() -> None:
        inputs = [path.read_bytes() for path in sorted(corpus.iterdir())]
        took = time.perf_counter() - began
        figures = {
            "engine": "atheris" if atheris is not None else "blind",
            "seed": seed,
            "seconds": round(took, 1),
            "executions": runner.executions,
            "slowest_seconds": round(runner.slowest, 2),
            "corpus": len(inputs),
            "corpus_bytes": sum(map(len, inputs)),
            "findings": list(runner.found.values()),
            "lines": lines(name, TARGETS[name], inputs),
        }
        (work / f"{name}.json").write_text(json.dumps(figures, indent=1))

    if atheris is None:
        rng = random.Random(seed)
        pool = seeds(name)
        while time.perf_counter() < began + seconds:
            runner(mutated(name, rng.choice(pool), rng, blind(rng))[:LARGEST])
        report()
        return

    def custom(data: bytes, most: int, at: int) -> bytes:
        rng = random.Random(at)
        return mutated(name, data, rng, lambda d: atheris.Mutate(d, max(len(d) + 64, 64)))[:most]

    def once(data: bytes) -> None:
        runner(data)
        if time.perf_counter() > began + seconds:
            report()
            sys.stdout.flush()
            os._exit(0)  # an exception would be a crash to libFuzzer

    flags = [
        f"-seed={seed + 1}",
        f"-max_len={LARGEST}",
        f"-timeout={2 * HANG}",
        "-rss_limit_mb=4096",
        f"-artifact_prefix={work}/{name}-",
    ]
    atheris.Setup([sys.argv[0], *flags, str(corpus)], once, custom_mutator=custom)
    atheris.Fuzz()


def _functions(module: ModuleType) -> Iterator[FunctionType]:
    """Functions and methods that are written in a module."""
    for value in list(vars(module).values()):
        inner = list(vars(value).values()) if isinstance(value, type) else [value]
        for function in inner:
            function = getattr(function, "__func__", getattr(function, "fget", function))
            if isinstance(function, FunctionType) and function.__module__ == module.__name__:
                yield function


def lines(name: str, target: Callable[[bytes, Path], None], inputs: list[bytes]) -> dict[str, Any]:
    """Lines of the modules that `COUNTED` names, in functions, and those that the inputs reach."""
    wanted = {str(sys.modules[f"lpgeom.{m}"].__file__): m for m in COUNTED[name]}
    reached: dict[str, set[int]] = {file: set() for file in wanted}

    def local(frame: Any, event: str, _: Any) -> Any:
        reached[frame.f_code.co_filename].add(frame.f_lineno)
        return local

    def trace(frame: Any, event: str, _: Any) -> Any:
        return local if frame.f_code.co_filename in reached else None

    sys.settrace(trace)
    try:
        for data in inputs:
            with TemporaryDirectory(dir=_memory_disk()) as folder, suppress(Exception):
                inner = Path(folder) / "input"
                inner.mkdir()
                target(data, inner)
    finally:
        sys.settrace(None)
    out = {}
    for file, module in wanted.items():
        there = _function_lines(Path(file))
        out[module] = {"lines": len(there), "reached": len(there & reached[file])}
    return out


def _function_lines(path: Path) -> set[int]:
    found: set[int] = set()

    def walk(code: CodeType, inside: bool) -> None:
        if inside:
            first = code.co_firstlineno
            found.update(n for _, _, n in code.co_lines() if n is not None and n > first)
        for const in code.co_consts:
            if isinstance(const, CodeType):
                walk(const, True)

    walk(compile(path.read_text(), str(path), "exec"), False)
    return found
