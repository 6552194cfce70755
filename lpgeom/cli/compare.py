"""Compare with heuristics, all under one certificate.

Run approx and the methods one would otherwise use, and judge all of them by the cost
sum_i ||a_i - a_i V V^T||^p and by one proved lower bound: 'ratio' says how far from optimal (in
norms) each result can be. With --objective entries: methods for rank-k factors, and the cost
sum_ij |A - left right|_ij^p.
"""

from __future__ import annotations

import argparse
import math
import sys
from importlib.util import find_spec
from typing import Any

from lpgeom.cli.common import CERTIFY, MATRIX, UsageError, check_output, open_matrix, share
from lpgeom.io.atomic import write_atomically
from lpgeom.io.readers import read_matrix
from lpgeom.io.strict_json import to_json
from lpgeom.io.validation import check_k, check_matrix, check_p

SHOWN = (
    "k", "method", "seed", "cost", "ratio", "cost_over_svd", "cost_over_best", "angle_deg",
    "seconds", "passes",
)  # fmt: skip
TABLES = (".csv", ".json")
PICTURES = (".png", ".svg", ".pdf")


def add(command: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    share(command, *MATRIX, "-k", "-p", "--objective")
    command.add_argument(
        "--methods",
        nargs="+",
        metavar="NAME",
        help="'lpgeom' and names of lpgeom.heuristics, or of lpgeom.heuristics.entrywise (default: "
        "all that are not too slow for the size)",
    )
    command.add_argument("--seeds", type=int, nargs="+", default=[0], help="default: 0")
    command.add_argument(
        "--truth", metavar="FILE", help="basis of a known subspace, one column for each dimension"
    )
    share(command, "--certify", help="as in approx (default: fast)")
    command.add_argument("--out", metavar="OUT", help="write the whole table: .csv or .json")
    command.add_argument(
        "--plot", metavar="OUT", help="write a picture of cost against rank: .png, .svg or .pdf"
    )
    share(command, "--force", "--quiet")


def run(options: argparse.Namespace) -> int:
    """Compare, print, write."""
    if options.out is not None:
        check_output("--out", options.out, TABLES, options)
    if options.plot is not None:
        check_output("--plot", options.plot, PICTURES, options)
    check_p(options.p, infinite=options.objective == "rows")
    if options.plot is not None and find_spec("matplotlib") is None:  # before the work
        raise UsageError("--plot needs matplotlib: pip install 'lpgeom[plot]'")
    truth = None if options.truth is None else read_matrix(options.truth)
    A, known = open_matrix(options)
    A, truth = check_matrix(A), known if truth is None else truth
    for k in options.k:
        check_k(k, A.shape[1])

    from lpgeom import compare  # compiled kernels: not needed for --help

    table = compare(
        A, options.k, options.p, options.methods, options.seeds, objective=options.objective,
        truth=truth, certify=CERTIFY[options.certify],
        progress=sys.stderr.isatty() and not options.quiet,
    )  # fmt: skip
    if options.out is not None:
        write_atomically(options.out, lambda file: file.write(_encoded(table, options.out)))
    if options.plot is not None:
        from lpgeom import plots

        plots.save(plots.plot_compare(table), options.plot)
    if not options.quiet:
        print(_report(table, options, A.shape, truth is not None))
    return 0


def _encoded(table: Any, path: str) -> bytes:
    from lpgeom.io import tables

    if path.endswith(".csv"):
        return tables.to_csv(table).encode()
    # JSON has no number for p = inf; results write it so, too.
    p = "inf" if math.isinf(table.attrs["p"]) else table.attrs["p"]
    body = {**table.attrs, "p": p, "rows": tables.records(table)}
    return (to_json(body) + "\n").encode()


def _report(table: Any, options: argparse.Namespace, shape: tuple[int, int], truth: bool) -> str:
    from lpgeom.io.tables import Table, aligned, records

    rows = records(table)
    hidden = {"angle_deg"} if not truth else set()
    hidden |= {"passes"} if options.objective == "entries" else set()
    names = [name for name in SHOWN if name not in hidden]
    lines = [f"{options.file}: {shape[0]} x {shape[1]}, p = {options.p:g}, {options.objective}"]
    lines.append(aligned(Table({name: [row[name] for row in rows] for name in names})))
    nothing = "no subspace" if options.objective == "rows" else "nothing of that rank"
    for rank, bound in table.attrs["bounds"].items():
        lines.append(
            f"rank {rank}: {nothing} costs less than {bound['value']:.6g} "
            f"({bound['name']}, {bound['certainty']})"
        )
    for row in rows:
        if row["cost"] != row["cost"]:
            lines.append(f"rank {row['k']}: {row['method']} failed: {row['note']}")
    if table.attrs["left_out"]:
        lines.append(f"left out (run if named): {', '.join(table.attrs['left_out'])}")
    return "\n".join(lines)
