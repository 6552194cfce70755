"""Approximate the rows of a matrix by a rank-k subspace, or its entries by factors.

Find a k-dimensional subspace with a small sum of p-th powers of the rows' distances to it, prove a
lower bound for every such subspace, and print both, with the SVD's subspace beside them. With
--objective entries: rank-k factors with a small sum of p-th powers of entries of the difference.
Costs are p-th powers; a ratio is of norms.
"""

from __future__ import annotations

import argparse
import math
import sys
from functools import partial

from lpgeom.cli.common import CERTIFY, MATRIX, UsageError, check_output, open_matrix, share
from lpgeom.io.readers import read_vector
from lpgeom.io.strict_json import to_json
from lpgeom.io.validation import check_k, check_p, check_rows
from lpgeom.records.factors import FactorResult
from lpgeom.records.subspace import SubspaceResult, norm_ratio


def add(command: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    share(command, *MATRIX, "-k", "-p", "--objective")
    command.add_argument(
        "--missing",
        choices=("raise", "ignore"),
        default="raise",
        help="with --objective entries, 'ignore' takes NaN, and in a table an empty field, NA or "
        "null, for a missing entry (default: raise)",
    )
    share(
        command, "--certify",
        help="lower bounds to compute: fast ones, also the slower radial ones, or none "
        "(default: fast)",
    )  # fmt: skip
    command.add_argument(
        "--row-weights", metavar="FILE", help="one weight >= 0 for each row; any format FILE has"
    )
    share(command, "--seed")
    command.add_argument(
        "--out",
        metavar="OUT.npz",
        help="save the result, certificate included; with several ranks, '{k}' in the name stands "
        "for the rank. An existing file is kept unless --force is given",
    )
    share(command, "--force", help="let --out replace a file")
    share(
        command, "--json",
        help="print JSON instead of a table: an object, or a list if there are several ranks; "
        "infinite numbers are null",
    )  # fmt: skip
    share(command, "--quiet", help="no table and no progress bar (JSON is printed)")


def run(options: argparse.Namespace) -> int:
    """Solve, print, save."""
    outputs = _outputs(options)
    entries = options.objective == "entries"
    if options.missing == "ignore" and not entries:
        raise UsageError("--missing goes with --objective entries")
    check_p(options.p, infinite=not entries)
    A = check_rows(open_matrix(options)[0])
    for k in options.k:  # every rank before the first one's work
        check_k(k, A.shape[1])
    row_weights = read_vector(options.row_weights) if options.row_weights is not None else None

    from lpgeom import approx_factors, approx_subspace  # compiled kernels: not needed for --help

    solve = partial(approx_factors, missing=options.missing) if entries else approx_subspace
    results: list[SubspaceResult | FactorResult] = []
    for k in options.k:
        result = solve(
            A, k, options.p, row_weights=row_weights, certify=CERTIFY[options.certify],
            seed=options.seed, progress=sys.stderr.isatty() and not options.quiet,
        )  # fmt: skip
        results.append(result)
        if options.out is not None:
            result.save(outputs[k])
        if not options.json and not options.quiet:
            if len(results) == 1:
                name = options.file + (f" [{options.tensor}]" if options.tensor else "")
                what = f"p = {options.p:g}{', entries' if entries else ''}"
                print(f"{name}: {A.shape[0]} x {A.shape[1]} {A.dtype}, {what}")
                print(table_head(options.objective))
            print(table_lines(result), flush=True)
    if options.json:
        print(to_json([r.to_dict() for r in results] if len(results) > 1 else results[0].to_dict()))
    return 0


def _outputs(options: argparse.Namespace) -> dict[int, str]:
    """Rank -> file, after everything that would make writing fail was looked at."""
    if options.out is None:
        if options.force:
            raise UsageError("--force goes with --out")
        return {}
    if len(set(options.k)) > 1 and "{k}" not in options.out:
        raise UsageError(f"--out {options.out}: several ranks need '{{k}}' in the name")
    outputs = {k: options.out.replace("{k}", str(k)) for k in options.k}
    for name in outputs.values():
        check_output("--out", name, (".npz",), options, "a saved result is an .npz file")
    return outputs


LINE = "{:>5}  {:<{width}}{:>13}{:>13}{:>12}{:>10}{:>11}{:>9}{:>8}"
"""A line of the table."""

WIDTHS = {"rows": 18, "entries": 28}
"""Width of the column that says where a result comes from, by objective."""


def table_head(objective: str) -> str:
    """The names of the table's columns."""
    costs = ("cost", "lower bound", "cost/bound", "ratio", "guarantee")
    return LINE.format("k", "subspace", *costs, "seconds", "passes", width=WIDTHS[objective])


def table_lines(r: SubspaceResult | FactorResult) -> str:
    """A result as a line of the table, and the SVD's subspace of the same rank below it.

    The lower bound holds for every subspace of that rank, so it gives the SVD a ratio as well.
    """

    def line(k: str, name: str, cost: float, ratio: float, *own: str) -> str:
        of_costs = ratio if math.isinf(r.p) else ratio**r.p
        proved = (f"{r.lower_bound:.6g}", f"{of_costs:.5f}", f"{ratio:.5f}")
        known = proved if r.certificate is not None else ("-", "-", "-")
        return LINE.format(k, name, f"{cost:.6g}", *known, *own, width=WIDTHS[r.objective])

    passes = f"{r.n_passes:.1f}" if isinstance(r, SubspaceResult) else "-"
    own = (f"{r.guarantee:.4g}", f"{r.seconds:.2f}", passes)
    svd_ratio = norm_ratio(r.svd_cost, r.lower_bound, r.p)
    ours = line(str(r.k), r.method, r.cost, r.ratio, *own)
    return f"{ours}\n{line('', 'SVD', r.svd_cost, svd_ratio, '-', '-', '-')}"
