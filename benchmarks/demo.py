"""``make demo``: the command line on a real word embedding."""

from __future__ import annotations

import sys

from lpgeom import datasets as data
from lpgeom.cli import main as lpgeom


def main() -> int:
    """Find and check the weights, say what is run, run it."""
    try:
        path = data.minilm_path()
    except data.MissingData as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    arguments = ["approx", str(path), "--tensor", data.TENSOR, "-k", "96", "192", "288", "-p", "1"]
    print(f"$ lpgeom approx .../{path.name} {' '.join(arguments[2:])}\n", flush=True)
    return lpgeom(arguments)
