"""``lpgeom approx``."""

from __future__ import annotations

import argparse
import math
import sys
from functools import partial
from pathlib import Path
from typing import Any

from lpgeom.cli.common import UsageError, add_matrix, check_writable, open_matrix
from lpgeom.io.readers import read_vector
from lpgeom.io.strict_json import to_json
from lpgeom.io.validation import check_k, check_p, check_rows
from lpgeom.records.factors import FactorResult
from lpgeom.records.subspace import SubspaceResult, norm_ratio

CERTIFY: dict[str, bool | str] = {"fast": True, "tight": "tight", "none": False}


def add(commands: Any) -> None:
    """The command's arguments."""
    command = commands.add_parser(
        "approx",
        help="approximate the rows of a matrix by a rank-k subspace, or its entries by factors",
        description="Find a k-dimensional subspace with a small sum of p-th powers of the rows' "
        "distances to it, prove a lower bound for every such subspace, and print both, with the "
        "SVD's subspace beside them. With --objective entries: rank-k factors with a small sum of "
        "p-th powers of entries of the difference. Costs are p-th powers; a ratio is of norms.",
    )
    add_matrix(command)
    command.add_argument("-k", type=int, nargs="+", required=True, help="rank, one or several")
    command.add_argument("-p", type=float, default=1.0, help="exponent >= 1, or inf (default: 1)")
    command.add_argument(
        "--objective",
        choices=("rows", "entries"),
        default="rows",
        help="sum over rows of distance^p, or over entries of |difference|^p (default: rows)",
    )
    command.add_argument(
        "--missing",
        choices=("raise", "ignore"),
        default="raise",
        help="with --objective entries, 'ignore' takes NaN for a missing entry (default: raise)",
    )
    command.add_argument(
        "--certify",
        choices=tuple(CERTIFY),
        default="fast",
        help="lower bounds to compute: fast ones, also the slower radial ones, or none "
        "(default: fast)",
    )
    command.add_argument(
        "--row-weights", metavar="FILE", help="one weight >= 0 for each row; any format FILE has"
    )
    command.add_argument("--seed", type=int, default=0, help="seed of all randomness (default: 0)")
    command.add_argument(
        "--out",
        metavar="OUT.npz",
        help="save the result, certificate included; with several ranks, '{k}' in the name stands "
        "for the rank. An existing file is kept unless --force is given",
    )
    command.add_argument("--force", action="store_true", help="let --out replace a file")
    command.add_argument(
        "--json",
        action="store_true",
        help="print JSON instead of a table: an object, or a list if there are several ranks; "
        "infinite numbers are null",
    )
    command.add_argument(
        "--quiet", action="store_true", help="no table and no progress bar (JSON is printed)"
    )
    command.set_defaults(run=_approx)


def _approx(options: argparse.Namespace) -> int:
    outputs = _plan_outputs(options)
    entries = options.objective == "entries"
    if options.missing == "ignore" and not entries:
        raise UsageError("--missing goes with --objective entries")
    check_p(options.p, infinite=not entries)
    A = check_rows(open_matrix(options))
    for k in options.k:  # every rank before the first one's work
        check_k(k, A.shape[1])
    row_weights = read_vector(options.row_weights) if options.row_weights is not None else None

    from lpgeom import approx_factors, approx_subspace  # compiled kernels: not needed for --help

    solve = partial(approx_factors, missing=options.missing) if entries else approx_subspace
    results: list[SubspaceResult | FactorResult] = []
    for k in options.k:
        result = solve(
            A,
            k,
            options.p,
            row_weights=row_weights,
            certify=CERTIFY[options.certify],
            seed=options.seed,
            progress=sys.stderr.isatty() and not options.quiet,
        )
        results.append(result)
        if outputs is not None:
            result.save(outputs[k])
        if not options.json and not options.quiet:
            if len(results) == 1:
                name = options.file + (f" [{options.tensor}]" if options.tensor else "")
                print(
                    f"{name}: {A.shape[0]} x {A.shape[1]} {A.dtype}, p = {options.p:g}"
                    + (", entries" if entries else "")
                )
                print(table_head(options.objective))
            print(table_lines(result), flush=True)
    if options.json:
        print(to_json([r.to_dict() for r in results] if len(results) > 1 else results[0].to_dict()))
    return 0


def _plan_outputs(options: argparse.Namespace) -> dict[int, Path] | None:
    """Rank -> file, after everything that would make writing fail was looked at."""
    if options.out is None:
        if options.force:
            raise UsageError("--force goes with --out")
        return None
    if not options.out.endswith(".npz"):
        raise UsageError(f"--out {options.out}: a saved result is an .npz file")
    if len(set(options.k)) > 1 and "{k}" not in options.out:
        raise UsageError(f"--out {options.out}: several ranks need '{{k}}' in the name")
    outputs = {k: Path(options.out.replace("{k}", str(k))) for k in options.k}
    for path in outputs.values():
        check_writable(path, options)
    return outputs


WIDTHS = {"rows": 18, "entries": 28}
"""Of the column that says where a result comes from, by objective."""


def table_head(objective: str = "rows") -> str:
    """The names of the table's columns."""
    return (
        f"{'k':>5}  {'subspace':<{WIDTHS[objective]}}{'cost':>13}{'lower bound':>13}"
        f"{'cost/bound':>12}{'ratio':>10}{'guarantee':>11}{'seconds':>9}{'passes':>8}"
    )


def table_lines(r: SubspaceResult | FactorResult) -> str:
    """A result as a line of the table, and the SVD's subspace of the same rank below it.

    The lower bound holds for every subspace of that rank, so it gives the SVD a ratio as well.
    """
    passes = f"{r.n_passes:.1f}" if isinstance(r, SubspaceResult) else "-"
    own = (f"{r.guarantee:.4g}", f"{r.seconds:.2f}", passes)
    svd_ratio = norm_ratio(r.svd_cost, r.lower_bound, r.p)
    return "\n".join(
        (
            _line(str(r.k), r.method, r.cost, r.ratio, r, own),
            _line("", "SVD", r.svd_cost, svd_ratio, r, ("-", "-", "-")),
        )
    )


def _line(
    k: str,
    name: str,
    cost: float,
    ratio: float,
    r: SubspaceResult | FactorResult,
    tail: tuple[str, str, str],
) -> str:
    certified = r.certificate is not None
    bound = f"{r.lower_bound:.6g}" if certified else "-"
    of_costs = ratio if math.isinf(r.p) else ratio**r.p
    over, of_norms = (f"{of_costs:.5f}", f"{ratio:.5f}") if certified else ("-", "-")
    guarantee, seconds, passes = tail
    return (
        f"{k:>5}  {name:<{WIDTHS[r.objective]}}{cost:>13.6g}{bound:>13}{over:>12}"
        f"{of_norms:>10}{guarantee:>11}{seconds:>9}{passes:>8}"
    )
