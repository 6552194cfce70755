"""The command line: ``lpgeom approx``, ``verify``, ``compare``, ``compress`` and ``data``.

Exit codes: 0 done; 1 a certificate that does not hold; 2 wrong usage or input, told in one line on
standard error, with nothing written; 130 interrupted.

May import every room. Begin with `main`; each command is a file, which says what it does in its
first lines, and `common` has the options that several have.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from lpgeom._version import __version__
from lpgeom.cli import approx, compare, compress, data, verify
from lpgeom.cli.approx import table_lines
from lpgeom.io.strict_json import to_json
from lpgeom.records.subspace import CertificateError

__all__ = ["main", "table_lines", "to_json"]

EXIT_DOES_NOT_HOLD = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it
EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE


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
    except (ValueError, TypeError, ImportError) as error:
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
    for command in (approx, verify, compare, compress, data):
        summary, _, description = (command.__doc__ or "").partition("\n\n")
        sub = commands.add_parser(
            command.__name__.rpartition(".")[2],
            help=summary[:1].lower() + summary[1:].rstrip("."),
            description=description,
        )
        command.add(sub)
        sub.set_defaults(run=command.run)
    return parser
