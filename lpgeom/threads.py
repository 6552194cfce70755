"""How many threads the numerics may use: ``LPGEOM_NUM_THREADS``, read when work starts.

The passes over A run in one pool at a time (BLAS); compiled kernels are serial loops between
the BLAS calls, so pools never multiply. Without the variable the BLAS keeps its own setting
(``OMP_NUM_THREADS``, ``OPENBLAS_NUM_THREADS``, ``MKL_NUM_THREADS`` or all cores).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

VARIABLE = "LPGEOM_NUM_THREADS"


def requested_threads() -> int | None:
    """The value of ``LPGEOM_NUM_THREADS``, None when it is not set.

    Raises
    ------
    ValueError
        If it is set to something other than a positive integer.
    """
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"{VARIABLE} must be a positive integer, got {text!r}")
    return int(text)


@contextmanager
def limited() -> Iterator[None]:
    """Hold the BLAS pools at ``LPGEOM_NUM_THREADS`` while the body runs; no-op when not set."""
    n = requested_threads()
    if n is None:
        yield
        return
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=n):
        yield
