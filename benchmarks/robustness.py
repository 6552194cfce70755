"""Forgeries that no check accepts, genuine certificates that every one does, bounds beside optima.

Runs in parts: each call goes on where the last one stopped, until ``--seconds`` are over.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from tqdm import tqdm

from . import machine, report

PARTS = {"genuine": (20_000, 250), "bounds": (100_000, 1000), "forgeries": (100_000, 1000)}
"""How many of each, and how many at a time."""

QUICK = 100
"""A quick run has this share of them: one in so many."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    for name, (count, _) in PARTS.items():
        parser.add_argument(f"--{name}", type=int, default=count)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=780.0, help="of this call")
    parser.add_argument("--fresh", action="store_true", help="forget what earlier calls did")


def run(options: argparse.Namespace) -> dict[str, Any]:
    whole = not options.quick and all(getattr(options, x) == n for x, (n, _) in PARTS.items())
    path = report.RESULTS / "robustness.json" if whole else None
    path = Path(options.json) if options.json else path
    share = QUICK if options.quick else 1
    sizes = {name: -(-getattr(options, name) // share) for name in PARTS}
    asked = {"quick": options.quick, "seed": options.seed, "sizes": sizes}
    body: dict[str, Any] = {**asked, "commits": {}, "done": {}, "seconds": {}, "found": {}}
    if path and path.is_file() and not options.fresh:
        before = json.loads(path.read_text())
        if {name: before.get(name) for name in asked} == asked:
            body = {name: before[name] for name in body}
    until = time.monotonic() + options.seconds
    for name in PARTS:
        _go_on(name, sizes[name], options, body, until, path)
    print(report.table(("what", "done", "of", "seconds", "wrong"), _lines(body)))
    return body


def _go_on(
    name: str, size: int, options: argparse.Namespace, body: dict[str, Any], until: float, path: Any
) -> None:
    """One of `PARTS`, as far as there is time."""
    part = import_module(f"tests.fuzz.{name}").run
    step = min(PARTS[name][1], size)
    done = body["done"].get(name, 0)
    commit = machine.describe()["commit"]
    with tqdm(total=size, initial=done, desc=name) as shown:
        while done < size and time.monotonic() < until:
            began = time.monotonic()
            found = part(min(step, size - done), options.seed + 1000 * (done // step))
            done += min(step, size - done)
            body["found"][name] = merged(body["found"].get(name), found)
            body["done"][name] = done
            body["seconds"][name] = body["seconds"].get(name, 0.0) + time.monotonic() - began
            here = body["commits"].setdefault(name, [])
            here.extend({commit} - set(here))
            report.write("robustness", body, path)
            shown.update(min(step, size - shown.n))


def merged(a: Any, b: Any) -> Any:
    """Counts added, lists joined, and of what is called largest the larger."""
    if a is None:
        return b
    if isinstance(a, dict):
        return {
            key: _larger(a.get(key), b.get(key)) if key == "largest" else _either(a, b, key)
            for key in {**a, **b}
        }
    return a + b


def _either(a: dict[str, Any], b: dict[str, Any], key: str) -> Any:
    return merged(a[key], b[key]) if key in a and key in b else a.get(key, b.get(key))


def _larger(a: float | None, b: float | None) -> float:
    """None is what JSON has of an infinity."""
    return max(math.inf if x is None else x for x in (a, b))


def wrong(found: dict[str, Any]) -> int:
    """Forgeries that passed, genuine certificates refused, or bounds above an optimum."""
    for name in ("refused", "above"):
        if name in found:
            return len(found[name])
    return sum(int(family["passed"]) for family in found.values())


def _lines(body: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [
        (name, body["done"][name], body["sizes"][name], body["seconds"][name], wrong(found))
        for name, found in body["found"].items()
    ]
