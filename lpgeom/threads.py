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
from contextlib import AbstractContextManager, contextmanager, nullcontext
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

RELEASE = "clear_controlling_thread"
"""What threadpoolctl calls it since 3.8 to let other threads set the limit of a process."""

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


class _Held:
    """What callers want some libraries held at: the least of it holds.

    The first one in keeps what was allowed, the last one out restores that, whatever their order.
    """

    def __init__(self, of_the_thread: bool) -> None:
        self.of_the_thread = of_the_thread
        self.wanted: dict[object, int] = {}
        self._least = 0
        self._before: list[tuple[Any, int]] = []

    def enter(self, caller: object, n: int) -> None:
        if not self.wanted:
            self._before = self.settings()
        self.wanted[caller] = n
        self._set()

    def leave(self, caller: object) -> None:
        self.wanted.pop(caller, None)
        self._set()

    def settings(self) -> list[tuple[Any, int]]:
        """The libraries, and the threads that each is allowed where nobody holds it."""
        if self.wanted:
            return self._before
        found = [
            lib for lib in _blas().lib_controllers if _of_the_thread(lib) == self.of_the_thread
        ]
        return [(library, int(n)) for library in found if (n := library.num_threads)]

    def _set(self) -> None:
        least = min(self.wanted.values(), default=0)
        if least != self._least or not least:
            self._least = least  # before the rest, which Ctrl-C may cut short
            for library, before in self._before:
                _allow(library, least or before)
        if not least:
            self._before = []


class _Mine(threading.local):
    """What the callers in one thread want."""

    def __init__(self) -> None:
        self.held = _Held(of_the_thread=True)


class _Limits:
    """Holds the BLAS for callers in any thread.

    The setting of most libraries belongs to the process, and is one for all callers; that of some
    belongs to the calling thread (`_of_the_thread`).
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.all = _Held(of_the_thread=False)
        self.mine = _Mine()

    @contextmanager
    def __call__(self, n: int) -> Iterator[None]:
        caller = object()
        try:  # Ctrl-C may come at any place from here on
            self.mine.held.enter(caller, n)
            with self.lock:
                self.all.enter(caller, n)
            yield
        finally:
            try:
                self._leave(caller)
            except KeyboardInterrupt:  # it may have come before all was given back
                self._leave(caller)
                raise

    def _leave(self, caller: object) -> None:
        with self.lock:
            self.all.leave(caller)
        self.mine.held.leave(caller)

    def allowed(self) -> int:
        """Threads that this thread's work may use, whatever other threads hold the BLAS at."""
        mine = self.mine.held
        if mine.wanted:
            return min(mine.wanted.values())
        with self.lock:
            return max((n for _, n in self.all.settings() + mine.settings()), default=1)

    def forget(self) -> None:
        """In a forked child: the callers are other threads of the parent, which are not here."""
        self.lock, self.mine = threading.Lock(), _Mine()
        self.all.wanted.clear()
        self.all.leave(None)


def _of_the_thread(library: Any) -> bool:
    """Whether a limit is the calling thread's own.

    So it is since threadpoolctl 3.8 with MKL, and with an OpenBLAS over OpenMP.
    """
    from threadpoolctl import OpenBLASController as OpenBLAS

    openmp = isinstance(library, OpenBLAS) and library.threading_layer == "openmp"
    return hasattr(OpenBLAS, RELEASE) and (openmp or library.internal_api == "mkl")


def _allow(library: Any, n: int) -> None:
    """Allow it n threads, whoever asks.

    Since threadpoolctl 3.8 the thread that has set a limit of the process keeps it, and what others
    set is dropped without a word. Here they wait for one another at `_Limits`: the right is taken,
    and given back.
    """
    release = getattr(library, RELEASE, lambda **_: None)
    release(force=True)
    library.set_num_threads(n)
    release(force=True)


_hold = _Limits()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_hold.forget)


def limited() -> AbstractContextManager[None]:
    """Hold the BLAS pools at ``LPGEOM_NUM_THREADS`` while the body runs; no-op when not set."""
    n = requested_threads()
    return nullcontext() if n is None else _hold(n)


def serial_blas() -> AbstractContextManager[None]:
    """One BLAS thread while the body runs.

    Small factorisations gain little from more, and lose much on a busy machine, where each of
    their many short parallel stretches waits for a thread that is not running.
    """
    return _hold(1)


def sized(n: int, d: int) -> AbstractContextManager[None]:
    """Threads for a problem of that size: one if it is small, whatever is allowed otherwise."""
    small = n * d <= SMALL_PROBLEM and d <= SMALL_WIDTH
    return serial_blas() if small else nullcontext()


def blas_threads() -> int:
    """Threads that the BLAS is allowed now, other threads' callers left aside."""
    return _hold.allowed()


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
            with _hold(max(1, threads // workers)):
                results[i] = work(i, workers, stop.is_set)
        except BaseException as error:
            errors.append(error)
            stop.set()

    others = [threading.Thread(target=run, args=(i,), daemon=True) for i in range(1, workers)]
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
