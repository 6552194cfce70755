"""What numba-cuda's simulator lacks: shuffles, and threads that wait without polling.

Each simulated CUDA thread is a Python thread, and one runs at a time. They wait at barriers: one
for the block (``syncthreads``), one for each warp (shuffles, ``syncwarp``). A shuffle that some
lanes of the warp leave out hangs or is undefined on a device; here it is an error. Shared arrays
are found by their line of source, as numba does it, but without reading the source.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

import numpy as np
from numba.cuda.simulator import kernel, kernelapi

WARP = 32


class Aborted(RuntimeError):
    """Another thread of the block failed."""


class Barrier:
    """For a number of threads.

    A thread that ends no longer counts, unless the barrier is strict: then a thread that ends while
    others wait, or have yet to, is an error.
    """

    def __init__(self, parties: int, *, strict: bool = False) -> None:
        self._condition = threading.Condition()
        self._strict = strict
        self._parties = self._running = parties
        self._waiting = 0
        self._turn = 0
        self._broken = self._missed = False

    def wait(self) -> None:
        with self._condition:
            turn = self._turn
            self._waiting += 1
            self._missed |= self._strict and self._running < self._parties
            self._release()
            while self._turn == turn and not self._broken and not self._missed:
                self._condition.wait()
            if self._missed:
                raise RuntimeError("a lane of the warp ended before a shuffle of the others")
            if self._turn == turn:
                raise Aborted

    def leave(self) -> None:
        with self._condition:
            self._running -= 1
            self._missed |= self._strict and self._waiting > 0
            self._release()

    def abort(self) -> None:
        with self._condition:
            self._broken = True
            self._condition.notify_all()

    def _release(self) -> None:
        if self._missed:
            self._condition.notify_all()
        elif self._waiting and self._waiting == self._running:
            self._waiting = 0
            self._turn += 1
            self._condition.notify_all()


class Warp:
    """The lanes of a warp: a barrier, and what they hold out to one another.

    Two sets of slots in turn: whoever writes to a set again has passed the barrier of the other,
    which every lane reaches after it has read.
    """

    def __init__(self, lanes: int) -> None:
        self.barrier = Barrier(lanes, strict=True)
        self.slots: list[list[Any]] = [[None] * WARP, [None] * WARP]


class Block:
    def __init__(self, size: int) -> None:
        self.barrier = Barrier(size)
        self.warps = [Warp(min(WARP, size - lo)) for lo in range(0, size, WARP)]

    def abort(self) -> None:
        self.barrier.abort()
        for warp in self.warps:
            warp.barrier.abort()


class Thread(kernel.BlockThread):
    """A CUDA thread that waits at barriers."""

    block: Block
    turn = 0

    @property
    def warp(self) -> Warp:
        return self.block.warps[self.thread_id // WARP]

    def run(self) -> None:
        super().run()
        if self.exception is not None:
            self.block.abort()
        self.block.barrier.leave()
        self.warp.barrier.leave()

    def syncthreads(self) -> None:
        self.block.barrier.wait()

    def shuffle(self, value: Any, source: int) -> Any:
        """The value that lane `source` of the warp holds out."""
        slots = self.warp.slots[self.turn % 2]
        self.turn += 1
        slots[self.thread_id % WARP] = value
        self.warp.barrier.wait()
        return slots[source]


class Manager(kernel.BlockManager):
    """Runs the threads of one block."""

    def run(self, grid_point: tuple[int, ...], *args: Any) -> None:
        threads = []
        block = Block(int(np.prod(self._block_dim)))
        for block_point in np.ndindex(*self._block_dim):
            thread = Thread(lambda: self._f(*args), self, grid_point, block_point, self._debug)
            thread.block = block
            threads.append(thread)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        failed = [t.exception for t in threads if t.exception is not None]
        # Not the threads that were only told to stop.
        for error, trace in sorted(failed, key=lambda f: isinstance(f[0], Aborted)):
            raise error.with_traceback(trace)


def _shared_array(self: Any, shape: Any, dtype: Any, alignment: Any = None) -> Any:
    frame = sys._getframe(1)
    place = frame.f_code.co_filename, frame.f_lineno
    found = self._allocations.get(place)
    if found is None:
        if isinstance(dtype, kernelapi.types.Type):
            dtype = kernelapi.numpy_support.as_dtype(dtype)
        found = self._allocations.setdefault(place, np.full(shape, -1, dtype))
    return found


def _thread() -> Any:
    return threading.current_thread()


def _shfl_sync(self: Any, mask: int, value: Any, source: int) -> Any:
    return _thread().shuffle(value, source % WARP)


def _shfl_xor_sync(self: Any, mask: int, value: Any, lanes: int) -> Any:
    return _thread().shuffle(value, _thread().thread_id % WARP ^ lanes)


def _shfl_down_sync(self: Any, mask: int, value: Any, delta: int) -> Any:
    lane = _thread().thread_id % WARP
    return _thread().shuffle(value, lane + delta if lane + delta < WARP else lane)


def _syncwarp(self: Any, mask: int = 0xFFFFFFFF) -> None:
    _thread().warp.barrier.wait()


def install() -> None:
    """Put all this into the simulator of this process."""
    module = kernelapi.FakeCUDAModule
    module.shfl_sync = _shfl_sync
    module.shfl_xor_sync = _shfl_xor_sync
    module.shfl_down_sync = _shfl_down_sync
    module.syncwarp = _syncwarp
    kernelapi.FakeCUDAShared.array = _shared_array
    kernel.BlockManager = Manager
