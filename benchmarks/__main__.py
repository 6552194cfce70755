"""``python -m benchmarks NAME [--quick] [--json FILE]``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from types import ModuleType

from lpgeom.datasets import MissingData

from . import (
    accuracy,
    breakdown,
    certificates,
    compare,
    components,
    contaminated,
    coresets,
    curve,
    demo,
    ellipsoids,
    entries,
    estimator,
    glue,
    gpu,
    mvee,
    nn,
    outliers,
    outofcore,
    pictures,
    quantized,
    report,
    robustness,
    scaling,
    subspace,
    words,
)

BENCHMARKS = {
    "accuracy": accuracy,
    "subspace": subspace,
    "breakdown": breakdown,
    "certificates": certificates,
    "contaminated": contaminated,
    "coresets": coresets,
    "compare": compare,
    "components": components,
    "curve": curve,
    "ellipsoids": ellipsoids,
    "entries": entries,
    "estimator": estimator,
    "glue": glue,
    "gpu": gpu,
    "mvee": mvee,
    "nn": nn,
    "outliers": outliers,
    "outofcore": outofcore,
    "robustness": robustness,
    "scaling": scaling,
    "pictures": pictures,
    "quantized": quantized,
    "words": words,
}


def first_line(module: ModuleType) -> str:
    """The first line of a module's docstring, in which argparse would take a % for its own."""
    return (module.__doc__ or "").splitlines()[0].replace("%", "%%")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="name", required=True, metavar="NAME")
    commands.add_parser("demo", help="the command line on a real word embedding (make demo)")
    for name, module in BENCHMARKS.items():
        command = commands.add_parser(name, help=first_line(module))
        command.add_argument("--quick", action="store_true", help="small seeded input")
        command.add_argument(
            "--json",
            metavar="FILE",
            help=f"default: results/{name}.json; a run with other options writes only with this",
        )
        module.add_arguments(command)
    options = parser.parse_args(argv)
    if options.name == "demo":
        return demo.main()
    try:
        body = BENCHMARKS[options.name].run(options)
    except MissingData as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    # The results kept with the project are those of whole runs.
    usual = {**vars(parser.parse_args([options.name])), "json": options.json}
    default = report.RESULTS / f"{options.name}.json" if vars(options) == usual else None
    written = report.write(options.name, body, options.json or default)
    if written is not None:
        print(f"\nwritten to {written}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
