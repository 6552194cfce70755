"""The command line: ``lpgeom approx`` and ``lpgeom verify``.

Exit codes: 0 done; 1 a certificate that does not hold; 2 wrong usage or input, told in one line on
standard error, with nothing written; 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from lpgeom._version import __version__
from lpgeom.readers import SUFFIXES, read_matrix, read_vector
from lpgeom.results import CertificateError, SubspaceResult, norm_ratio
from lpgeom.validation import check_k, check_matrix, check_p

EXIT_DOES_NOT_HOLD = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it
EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE

_CERTIFY: dict[str, bool | str] = {"fast": True, "tight": "tight", "none": False}


class UsageError(ValueError):
    """A combination of options that cannot be carried out."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line on `argv` (default: the process's) and return its exit code."""
    try:
        options = _parser().parse_args(argv)
        with _plain_warnings():
            return int(options.run(options))
    except KeyboardInterrupt:
        print("lpgeom: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away. Keep the interpreter from flushing to it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except CertificateError as error:
        _say_error(f"the certificate does not hold: {error}")
        return EXIT_DOES_NOT_HOLD
    except MemoryError as error:
        _say_error(f"not enough memory ({error or 'no details'})")
        return EXIT_BAD_INPUT
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _say_error(f"{where}{error.strerror or error}")
        return EXIT_BAD_INPUT
    except (ValueError, TypeError) as error:
        _say_error(str(error))
        return EXIT_BAD_INPUT


def _say_error(message: str) -> None:
    print(f"lpgeom: error: {' '.join(message.split())}", file=sys.stderr)


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Warnings as one line each, without the source line that raised them."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        print(f"lpgeom: warning: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


# ---------------------------------------------------------------- arguments


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        _say_error(f"{message} (see {self.prog} --help)")
        raise SystemExit(EXIT_BAD_INPUT)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="lpgeom",
        description="Low-rank subspaces in l_p norms, with a verified certificate of how far from "
        "optimal they can be.",
    )
    parser.add_argument("--version", action="version", version=f"lpgeom {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_approx(commands)
    _add_verify(commands)
    return parser


def _add_matrix(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", metavar="FILE", help=f"the matrix: {', '.join(SUFFIXES)}")
    command.add_argument("--tensor", metavar="NAME", help="array to read, if FILE has several")


def _add_approx(commands: Any) -> None:
    command = commands.add_parser(
        "approx",
        help="approximate the rows of a matrix by a rank-k subspace",
        description="Find a k-dimensional subspace with a small sum of p-th powers of the rows' "
        "distances to it, prove a lower bound for every such subspace, and print both, with the "
        "SVD's subspace beside them. Costs are p-th powers; a ratio is of norms.",
    )
    _add_matrix(command)
    command.add_argument("-k", type=int, nargs="+", required=True, help="rank, one or several")
    command.add_argument("-p", type=float, default=1.0, help="exponent >= 1, or inf (default: 1)")
    command.add_argument(
        "--certify",
        choices=tuple(_CERTIFY),
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


def _add_verify(commands: Any) -> None:
    command = commands.add_parser(
        "verify",
        help="check a saved result against its matrix",
        description="Recompute the cost and every lower bound of a saved result from the matrix, "
        "with code that shares nothing with the solver. Exit code 1 if one does not hold.",
    )
    command.add_argument("result", metavar="RESULT", help="what approx --out wrote")
    _add_matrix(command)
    command.add_argument("--quiet", action="store_true", help="print nothing if it holds")
    command.set_defaults(run=_verify)


# ---------------------------------------------------------------- approx


def _approx(options: argparse.Namespace) -> int:
    outputs = _plan_outputs(options)
    check_p(options.p, infinite=True)
    A = check_matrix(read_matrix(options.file, options.tensor))
    for k in options.k:  # every rank before the first one's work
        check_k(k, A.shape[1])
    row_weights = read_vector(options.row_weights) if options.row_weights is not None else None

    from lpgeom import approx_subspace  # compiled kernels: not needed for --help

    results = []
    for k in options.k:
        result = approx_subspace(
            A,
            k,
            options.p,
            row_weights=row_weights,
            certify=_CERTIFY[options.certify],
            seed=options.seed,
            progress=sys.stderr.isatty() and not options.quiet,
        )
        results.append(result)
        if outputs is not None:
            result.save(outputs[k])
        if not options.json and not options.quiet:
            if len(results) == 1:
                name = options.file + (f" [{options.tensor}]" if options.tensor else "")
                print(f"{name}: {A.shape[0]} x {A.shape[1]} {A.dtype}, p = {options.p:g}")
                print(TABLE_HEAD)
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
        _check_writable(path, options)
    return outputs


def _check_writable(path: Path, options: argparse.Namespace) -> None:
    folder = path.parent
    if not folder.is_dir():
        raise UsageError(f"--out {path}: there is no directory {folder}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"--out {path}: the directory {folder} is not writable")
    if not path.exists():
        return
    if path.is_dir():
        raise UsageError(f"--out {path}: is a directory")
    sources = [name for name in (options.file, options.row_weights) if name is not None]
    if any(os.path.exists(name) and os.path.samefile(path, name) for name in sources):
        raise UsageError(f"--out {path}: is an input file")
    if not options.force:
        raise UsageError(f"--out {path}: the file exists (--force replaces it)")


def to_json(value: Any) -> str:
    """Strict JSON: NaN and the infinities, which JSON has no word for, become null."""
    return json.dumps(_finite(value), indent=2, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, list):
        return [_finite(v) for v in value]
    return value


TABLE_HEAD = (
    f"{'k':>5}  {'subspace':<18}{'cost':>13}{'lower bound':>13}{'cost/bound':>12}"
    f"{'ratio':>10}{'guarantee':>11}{'seconds':>9}{'passes':>8}"
)


def table_lines(r: SubspaceResult) -> str:
    """A result as a line of the table, and the SVD's subspace of the same rank below it.

    The lower bound holds for every subspace of that rank, so it gives the SVD a ratio as well.
    """
    own = (f"{r.guarantee:.4g}", f"{r.seconds:.2f}", f"{r.n_passes:.1f}")
    svd_ratio = norm_ratio(r.svd_cost, r.lower_bound, r.p)
    return "\n".join(
        (
            _line(str(r.k), r.method, r.cost, r.ratio, r, own),
            _line("", "SVD", r.svd_cost, svd_ratio, r, ("-", "-", "-")),
        )
    )


def _line(
    k: str, name: str, cost: float, ratio: float, r: SubspaceResult, tail: tuple[str, str, str]
) -> str:
    certified = r.certificate is not None
    bound = f"{r.lower_bound:.6g}" if certified else "-"
    of_costs = ratio if math.isinf(r.p) else ratio**r.p
    over, of_norms = (f"{of_costs:.5f}", f"{ratio:.5f}") if certified else ("-", "-")
    guarantee, seconds, passes = tail
    return (
        f"{k:>5}  {name:<18}{cost:>13.6g}{bound:>13}{over:>12}"
        f"{of_norms:>10}{guarantee:>11}{seconds:>9}{passes:>8}"
    )


# ---------------------------------------------------------------- verify


def _verify(options: argparse.Namespace) -> int:
    result = SubspaceResult.load(options.result)
    if result.certificate is None:
        raise UsageError(
            f"{options.result}: has no certificate to check (made with --certify none)"
        )
    A = read_matrix(options.file, options.tensor)
    result.certificate.verify(A)
    if not options.quiet:
        print(result.summary())
        print(result.certificate.table())
        print("verified: the cost and every lower bound were recomputed from the matrix")
    return 0
