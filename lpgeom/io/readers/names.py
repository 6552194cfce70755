"""Which array of a file is meant, and the errors of files that cannot be read."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class ReadError(ValueError):
    """A file that cannot be read as what was asked for; one line."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))


@contextmanager
def reading(
    path: str | os.PathLike[str], what: str = "", *errors: type[Exception]
) -> Iterator[None]:
    """What is raised of a file, or of damage under whatever type, as a `ReadError`."""
    try:
        yield
    except ReadError:
        raise
    except OSError as error:
        raise ReadError(f"{path}: {error.strerror or error}") from error
    except errors as error:
        said = str(error) or type(error).__name__
        raise ReadError(f"{path}: {what} ({said})" if what else f"{path}: {said}") from error
    except MemoryError as error:
        raise ReadError(f"{path}: does not fit into memory") from error


def choose(path: str | os.PathLike[str], names: Iterable[str], tensor: str | None) -> str:
    """The wanted name, or the only one; otherwise an error that lists what there is."""
    names = sorted(name for name in names if isinstance(name, str))
    if not names:
        raise ReadError(f"{path}: holds no arrays")
    if tensor is None:
        if len(names) == 1:
            return names[0]
        raise ReadError(
            f"{path}: holds {len(names)} arrays, choose one with --tensor: {few(names)}"
        )
    if tensor in names:
        return tensor
    near = difflib.get_close_matches(tensor, names, n=3, cutoff=0.5)
    near += [name for name in names if tensor in name and name not in near][:3]
    hint = f"near matches: {', '.join(near)}; " if near else ""
    raise ReadError(f"{path}: no array named {tensor!r}; {hint}there are: {few(names)}")


def few(names: list[str], most: int = 20) -> str:
    """Names for a message, not too many."""
    more = f", ... ({len(names) - most} more)" if len(names) > most else ""
    return ", ".join(names[:most]) + more
