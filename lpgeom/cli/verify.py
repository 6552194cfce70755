"""Check a saved result against its matrix.

Recompute the cost and every lower bound of a saved result from the matrix, with code that shares
nothing with the solver. Exit code 1 if one does not hold.
"""

from __future__ import annotations

import argparse

from lpgeom.cli.common import MATRIX, UsageError, open_matrix, share
from lpgeom.records import load


def add(command: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    command.add_argument("result", metavar="RESULT", help="what approx --out wrote")
    share(command, *MATRIX)
    share(command, "--quiet", help="print nothing if it holds")


def run(options: argparse.Namespace) -> int:
    """Load and verify."""
    result = load(options.result)
    if result.certificate is None:
        raise UsageError(
            f"{options.result}: has no certificate to check (made with --certify none)"
        )
    options.missing = getattr(result.certificate, "missing", "raise")  # as it was read then
    result.certificate.verify(open_matrix(options)[0])
    if not options.quiet:
        print(result.summary())
        print(result.certificate.table())
        print("verified: the cost and every lower bound were recomputed from the matrix")
    return 0
