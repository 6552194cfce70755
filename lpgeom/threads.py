"""How many threads the numerics use, and the one place where work is spread over them.

There is one pool at a time. A pass over A runs on Python threads, one block of rows each, with
the BLAS held at one thread inside (compiled kernels release the GIL and are serial); the small
d x d work between passes is left to the BLAS's own threads. The number of threads is the BLAS's
own setting (``OMP_NUM_THREADS``, ``OPENBLAS_NUM_THREADS``, ``MKL_NUM_THREADS``, a surrounding
``threadpool_limits``, or all cores), or ``LPGEOM_NUM_THREADS``, read when work starts.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

VARIABLE = "LPGEOM_NUM_THREADS"
MOST_WORKERS = 8
"""Workers of one pass: each holds a few blocks and a (d, d) sum, so more threads than these go to
the BLAS calls inside."""

SERIAL_SIZE = 2e5
"""Passes over fewer entries than this run in the calling thread alone."""

SMALL_PROBLEM, SMALL_WIDTH = 1 << 20, 512
"""Up to this many entries of A, and this many columns, everything runs on one thread."""

T = TypeVar("T")


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


@cache
def _blas() -> Any:
    """The BLAS libraries that NumPy and SciPy have loaded."""
    import numpy  # noqa: F401  the libraries must be loaded before they are looked for
    import scipy.linalg.blas  # noqa: F401
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


class _Limits:
    """What callers want the BLAS held at; the least of it is what holds.

    The setting belongs to the process: callers in several threads must not restore it in the wrong
    order. The first one in keeps what it was, the last one out restores that.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted: dict[object, int] = {}
        self._held = 0
        self._limiter: Any = None

    @contextmanager
    def __call__(self, n: int) -> Iterator[None]:
        caller = object()
        try:  # Ctrl-C may come at any place from here on
            with self._lock:
                if not self._wanted:
                    self._limiter = _blas().limit(limits=n)
                    self._held = n
                self._wanted[caller] = n
                self._set()
            yield
        finally:
            with self._lock:
                self._wanted.pop(caller, None)
                if self._wanted:
                    self._set()
                elif self._limiter is not None:
                    self._limiter.restore_original_limits()
                    self._limiter = None

    def _set(self) -> None:
        least = min(self._wanted.values())
        if least != self._held:
            for library in _blas().lib_controllers:
                library.set_num_threads(least)
            self._held = least

    def forget(self) -> None:
        """In a forked child: the callers are other threads of the parent, which are not here."""
        self._lock = threading.Lock()
        self._wanted = {}
        if self._limiter is not None:
            self._limiter.restore_original_limits()
            self._limiter = None


_hold = _Limits()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_hold.forget)


@contextmanager
def limited() -> Iterator[None]:
    """Hold the BLAS pools at ``LPGEOM_NUM_THREADS`` while the body runs; no-op when not set."""
    n = requested_threads()
    if n is None:
        yield
        return
    with _hold(n):
        yield


@contextmanager
def serial_blas() -> Iterator[None]:
    """One BLAS thread while the body runs.

    Small factorisations gain little from more, and lose much on a busy machine, where each of
    their many short parallel stretches waits for a thread that is not running.
    """
    with _hold(1):
        yield


@contextmanager
def sized(n: int, d: int) -> Iterator[None]:
    """Threads for a problem of that size: one if it is small, whatever is allowed otherwise."""
    if n * d <= SMALL_PROBLEM and d <= SMALL_WIDTH:
        with serial_blas():
            yield
    else:
        yield


def blas_threads() -> int:
    """Threads that the BLAS is allowed now."""
    counts = [library.num_threads for library in _blas().lib_controllers]
    return max([int(c) for c in counts if c], default=1)


def spread(work: Callable[[int, int, Callable[[], bool]], T], size: float) -> list[T]:
    """``[work(i, workers, stopped) for i in range(workers)]``, side by side.

    `size` is the number of entries a pass touches: small passes run in the calling thread alone.
    `stopped` tells a worker that another one failed, or that Ctrl-C was pressed: it should return.
    The first exception is raised here once every worker has ended.
    """
    threads = blas_threads()
    workers = min(threads, MOST_WORKERS) if size > SERIAL_SIZE else 1
    if workers <= 1:
        return [work(0, 1, lambda: False)]
    stop = threading.Event()
    results: list[Any] = [None] * workers
    errors: list[BaseException] = []

    def run(i: int) -> None:
        try:
            results[i] = work(i, workers, stop.is_set)
        except BaseException as error:
            errors.append(error)
            stop.set()

    others = [threading.Thread(target=run, args=(i,), daemon=True) for i in range(1, workers)]
    with _hold(max(1, threads // workers)):
        try:
            for thread in others:
                thread.start()
            run(0)
            for thread in others:
                thread.join()
        except BaseException:  # Ctrl-C while waiting
            stop.set()
            for thread in others:  # each ends with its block: none runs on in results given up
                if thread.ident is not None:
                    thread.join()
            raise
    if errors:
        raise errors[0]
    return results
