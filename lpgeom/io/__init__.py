"""What users have, as arrays; files in and out.

Imports nothing else of lpgeom. Begin with `readers` (a path becomes rows) and `validation` (an
array becomes one that algorithms may trust); `npy`, `atomic` and `checksum` are the file helpers.
"""

from __future__ import annotations

from typing import Any

__all__ = ["ReadError", "read_matrix", "read_vector"]


def __getattr__(name: str) -> Any:
    # Imported on use: the records read files with this room's helpers, and load no reader.
    if name in __all__:
        from lpgeom.io import readers

        return getattr(readers, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
