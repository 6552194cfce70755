"""Whether a file is the one that is meant."""

from __future__ import annotations

import hashlib
import os


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Checksum of a file, read in blocks."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_sha256(
    path: str | os.PathLike[str], expected: str, hint: str, error: type[Exception]
) -> None:
    """Raise the error, with the hint, unless a file has this checksum."""
    found = sha256_of(path)
    if found != expected:
        raise error(f"{path} has sha256 {found}, expected {expected}: {hint}")
