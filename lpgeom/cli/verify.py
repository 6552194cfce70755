"""``lpgeom verify``."""

from __future__ import annotations

import argparse
from typing import Any

from lpgeom.cli.common import UsageError, open_matrix, share
from lpgeom.records import load


def add(commands: Any) -> None:
    """The command's arguments."""
    command = commands.add_parser(
        "verify",
        help="check a saved result against its matrix",
        description="Recompute the cost and every lower bound of a saved result from the matrix, "
        "with code that shares nothing with the solver. Exit code 1 if one does not hold.",
    )
    command.add_argument("result", metavar="RESULT", help="what approx --out wrote")
    share(command, "file", "--tensor")
    share(command, "--quiet", help="print nothing if it holds")
    command.set_defaults(run=_verify)


def _verify(options: argparse.Namespace) -> int:
    result = load(options.result)
    if result.certificate is None:
        raise UsageError(
            f"{options.result}: has no certificate to check (made with --certify none)"
        )
    result.certificate.verify(open_matrix(options)[0])
    if not options.quiet:
        print(result.summary())
        print(result.certificate.table())
        print("verified: the cost and every lower bound were recomputed from the matrix")
    return 0
