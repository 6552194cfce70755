"""Write a data set to a file, or list them.

Write one of the data sets that the comparison uses to an .npy file. Nothing is downloaded: they are
generated, or lie inside installed packages. The other commands take data:NAME in place of a file.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import numpy as np

from lpgeom import datasets
from lpgeom.cli.common import UsageError, check_output, open_dataset, share
from lpgeom.io.atomic import write_atomically
from lpgeom.io.validation import check_seed


def add(command: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    command.add_argument("name", metavar="NAME", nargs="?", help="which one")
    command.add_argument("--list", action="store_true", help="say what there is")
    share(command, "--seed", help="of the generated ones (default: 0)")
    command.add_argument("--out", metavar="OUT.npy", help="where to write the matrix")
    command.add_argument(
        "--truth", metavar="OUT.npy", help="where to write the basis of the true subspace"
    )
    share(command, "--force")
    command.set_defaults(file=None)  # no input


def run(options: argparse.Namespace) -> int:
    """List, or load and write."""
    if options.list:
        for name in datasets.names():
            print(f"{name:<28}{datasets.describe(name)}")
        return 0
    if options.name is None or options.out is None:
        raise UsageError("name a data set and --out OUT.npy, or use --list")
    truth, options.truth = options.truth, None  # an output here, an input elsewhere
    outputs = [("--out", options.out), *([("--truth", truth)] if truth is not None else [])]
    for option, path in outputs:
        check_output(option, path, (".npy",), options)
    if truth is not None and Path(truth).resolve() == Path(options.out).resolve():
        raise UsageError(f"--truth {truth}: is the file of --out too")
    data = open_dataset(options.name, check_seed(options.seed))
    if truth is not None and data.truth is None:
        raise UsageError(f"{options.name} has no true subspace to write")
    for (_, path), array in zip(outputs, (data.A, data.truth), strict=False):
        if array is not None:
            write_atomically(path, partial(np.save, arr=array))
    n, d = data.A.shape
    print(f"{options.out}: {data.name}, {n} x {d} {data.A.dtype}")
    return 0
