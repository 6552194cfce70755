"""What numba-cuda's simulator lacks: shuffles, and threads that take turns instead of polling.

Each simulated CUDA thread is a coroutine and runs up to its next barrier, where another takes over.
There is a barrier for the block (``syncthreads``) and one for each warp (shuffles, ``syncwarp``).
A barrier that some thread never comes to hangs or is undefined on a device; here it is an error. In
which order the threads run is for a test to choose (`schedule`): a kernel whose result depends on
it has a race.

Shared arrays are found by their line of source, as numba does it, but without reading the source;
they start as NaN or -1.
"""

from __future__ import annotations

import random
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from coroutines import Coroutine
from numba.cuda.simulator import kernel, kernelapi

WARP = 32

Threads = list["Thread"]

ORDERS: dict[str, Callable[[Threads], Threads]] = {
    "forward": lambda threads: threads,
    "backward": lambda threads: threads[::-1],
    "random": lambda threads: random.Random(len(threads)).sample(threads, len(threads)),
}
_order = "forward"


@contextmanager
def schedule(order: str) -> Iterator[None]:
    """Run the threads that may run in this order: one of `ORDERS`."""
    global _order
    before, _order = _order, order
    try:
        yield
    finally:
        _order = before


class Barrier:
    """Where `parties` threads wait for one another."""

    def __init__(self, parties: int) -> None:
        self.parties = parties
        self.waiting: Threads = []


class Block:
    """The threads of a block, of which one runs until it waits or ends."""

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self.barrier = Barrier(len(threads))
        self.warps = [Barrier(len(threads[i : i + WARP])) for i in range(0, len(threads), WARP)]
        # Two sets of slots in turn: whoever writes to a set again has passed the barrier of the
        # other, which every lane reaches after it has read.
        self.slots = [([None] * WARP, [None] * WARP) for _ in self.warps]
        self._ready = deque(ORDERS[_order](threads))

    def run(self) -> None:
        global _current
        try:
            while self._ready:
                _current = self._ready.popleft()
                _current.resume()
                if _current.dead:
                    self.barrier.parties -= 1
                    self._open(self.barrier)
            if not all(t.dead for t in self._threads):
                raise RuntimeError("a barrier waits for lanes that have ended or are elsewhere")
        finally:
            for thread in self._threads:
                if not thread.dead:
                    thread.stop()
            _current = None

    def wait(self, thread: Thread, barrier: Barrier) -> None:
        barrier.waiting.append(thread)
        self._open(barrier)
        thread.pause()

    def _open(self, barrier: Barrier) -> None:
        if barrier.waiting and len(barrier.waiting) == barrier.parties:
            in_order = sorted(barrier.waiting, key=lambda t: t.thread_id)
            self._ready.extend(ORDERS[_order](in_order))
            barrier.waiting = []


class Thread(Coroutine):
    """A thread of a block, with what the simulator asks of one."""

    syncthreads_count = kernel.BlockThread.syncthreads_count
    syncthreads_and = kernel.BlockThread.syncthreads_and
    syncthreads_or = kernel.BlockThread.syncthreads_or

    def __init__(self, manager: Any, block: tuple[int, ...], index: tuple[int, ...]) -> None:
        super().__init__()
        self._manager, self._turn = manager, 0
        self.blockIdx, self.threadIdx = kernel.Dim3(*block), kernel.Dim3(*index)
        size = kernel.Dim3(*manager._block_dim)
        self.thread_id = index[0] + size.x * (index[1] + size.y * index[2])
        self.block: Block
        self.work: Callable[[], None]

    def run(self) -> None:
        try:
            self.work()
        except Exception as error:
            error.args = (f"tid={list(self.threadIdx)} ctaid={list(self.blockIdx)}: {error}",)
            raise

    def syncthreads(self) -> None:
        self.block.wait(self, self.block.barrier)

    def syncwarp(self) -> None:
        self.block.wait(self, self.block.warps[self.thread_id // WARP])

    def shuffle(self, value: Any, source: int) -> Any:
        """The value that lane `source` of the warp holds out."""
        slots = self.block.slots[self.thread_id // WARP][self._turn % 2]
        self._turn += 1
        slots[self.thread_id % WARP] = value
        self.syncwarp()
        return slots[source]


_current: Any = None
"""The thread that runs."""


class Manager(kernel.BlockManager):
    """Runs the threads of one block."""

    def run(self, grid_point: tuple[int, ...], *args: Any) -> None:
        places = sorted(np.ndindex(*self._block_dim), key=lambda place: place[::-1])
        threads = [Thread(self, grid_point, place) for place in places]
        block = Block(threads)
        for thread in threads:
            thread.block = block
            thread.work = lambda: self._f(*args)
        block.run()


def _shared_array(self: Any, shape: Any, dtype: Any, alignment: Any = None) -> Any:
    frame = sys._getframe(1)
    place = frame.f_code.co_filename, frame.f_lineno
    if place not in self._allocations:
        if isinstance(dtype, kernelapi.types.Type):
            dtype = kernelapi.numpy_support.as_dtype(dtype)
        unset = np.nan if np.dtype(dtype).kind == "f" else -1
        self._allocations[place] = np.full(shape, unset, dtype)
    return self._allocations[place]


def _shfl_sync(self: Any, mask: int, value: Any, source: int) -> Any:
    return _current.shuffle(value, source % WARP)


def _shfl_xor_sync(self: Any, mask: int, value: Any, lanes: int) -> Any:
    return _current.shuffle(value, _current.thread_id % WARP ^ lanes)


def _shfl_down_sync(self: Any, mask: int, value: Any, delta: int) -> Any:
    lane = _current.thread_id % WARP
    return _current.shuffle(value, lane + delta if lane + delta < WARP else lane)


def _syncwarp(self: Any, mask: int = 0xFFFFFFFF) -> None:
    _current.syncwarp()


def install() -> None:
    """Put all this into the simulator of this process."""
    module = kernelapi.FakeCUDAModule
    module.shfl_sync = _shfl_sync
    module.shfl_xor_sync = _shfl_xor_sync
    module.shfl_down_sync = _shfl_down_sync
    module.syncwarp = _syncwarp
    # The simulator asks threading for the thread that runs.
    kernelapi.threading = type("threading", (), {"current_thread": staticmethod(lambda: _current)})
    kernelapi.FakeCUDAShared.array = _shared_array
    kernel.BlockManager = Manager
