"""Copies in the worst order a device may choose: each as late as what waits for it allows.

Host memory that is given back is handed out again at once, as CuPy's pinned pool does.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest

import lpgeom
from lpgeom.rows import device
from lpgeom.rows.cuda import CudaRows
from tests.strict_device import DeviceArray, StrictModule, strict_device


class Stream:
    """Work that is queued, and done when somebody waits for it; the current one does it at once."""

    made: list[Stream] = []  # noqa: RUF012

    def __init__(self, *, non_blocking: bool = False) -> None:
        self.queue: list[Callable[[], None]] = []
        Stream.made.append(self)

    def later(self, work: Callable[[], None]) -> None:
        self.queue.append(work)

    def synchronize(self) -> None:
        while self.queue:
            self.queue.pop(0)()

    def wait_event(self, event: Event) -> None:
        self.later(event.synchronize)


class Current(Stream):
    def later(self, work: Callable[[], None]) -> None:
        work()


class Event:
    """Recorded on a stream: done once that stream is done with what was queued before."""

    def __init__(self, *, disable_timing: bool) -> None:
        assert disable_timing
        self.stream: Stream | None = None
        self.mark: Any = None

    def record(self, stream: Stream) -> None:
        self.stream, self.mark = stream, lambda: None
        stream.later(self.mark)

    def synchronize(self) -> None:
        while self.stream is not None and self.mark in self.stream.queue:
            self.stream.queue.pop(0)()


pool: dict[int, list[Any]] = {}


def alloc_pinned_memory(size: int) -> Any:
    """Memory of a pool, which has it back with the last reference to it."""
    free = pool.setdefault(size, [])
    memory = free.pop() if free else bytearray(size)
    kind: Any = type("Pinned", (ctypes.c_char * size,), {"__del__": lambda _: free.append(memory)})
    return kind.from_buffer(memory)


def set_later(self: DeviceArray, array: Any, stream: Stream | None = None) -> None:
    assert stream is not None
    there = self.view(np.ndarray)
    # The address alone: what is there is read when the copy is made, and nobody waits for it.
    pointer, shape, dtype = array.ctypes.data, array.shape, array.dtype
    stream.later(lambda: there.__setitem__(..., read(pointer, shape, dtype)))


def read(pointer: int, shape: tuple[int, ...], dtype: Any) -> Any:
    size = int(np.prod(shape)) * dtype.itemsize
    return np.frombuffer((ctypes.c_char * size).from_address(pointer), dtype).reshape(shape)


@contextmanager
def late_device(free: int) -> Iterator[None]:
    """`strict_device` with streams."""
    Stream.made.clear()
    current = Current()
    cuda = SimpleNamespace(
        Stream=Stream,
        Event=Event,
        get_current_stream=lambda: current,
        alloc_pinned_memory=alloc_pinned_memory,
    )
    with (
        strict_device(free=free),
        mock.patch.object(StrictModule, "cuda", cuda, create=True),
        mock.patch.object(DeviceArray, "set", set_later),
    ):
        yield
        assert not any(stream.queue for stream in Stream.made)


def matrix(n: int = 500, d: int = 10) -> Any:
    return np.random.default_rng(0).standard_normal((n, d)) * np.linspace(3.0, 0.3, d)


@pytest.mark.parametrize("dtype", ["f8", "f4", "i4", ">f8", "longdouble"])
def test_streamed_rows(dtype: str) -> None:
    A = (8 * matrix()).astype(dtype)
    expected = lpgeom.approx_subspace(A, 3, 1.5)
    with late_device(free=170_000):
        assert not device.layout(500, 10, A.dtype.itemsize, 170_000, there=False).resident
        found = lpgeom.approx_subspace(A, 3, 1.5, backend="cuda")
        assert len(Stream.made) > 10
    assert found.cost == pytest.approx(expected.cost, rel=1e-9)
    assert found.lower_bound == pytest.approx(expected.lower_bound, rel=1e-9)


def test_rows_that_are_sent() -> None:
    A = matrix()
    with late_device(free=8 << 30):
        there = device.sent(A, 64)
        device.sent(np.full((500, 10), np.nan), 64)  # in the same pinned memory
    np.testing.assert_array_equal(there.view(np.ndarray), A)


def test_one_pass_after_another() -> None:
    """The last copies of a pass are under way when the next one wants their memory."""
    A = matrix()
    with late_device(free=8 << 30):
        rows = CudaRows(A, block_bytes=64 * 80).streamed()
        t = [rows.quadratic_form(np.eye(10)[:, :k]).view(np.ndarray) for k in (3, 5)]
        blocks = rows.blocks(0, 1, lambda: False)
        next(blocks)
        del blocks
    np.testing.assert_allclose(t[0], (A[:, :3] ** 2).sum(axis=1))
    np.testing.assert_allclose(t[1], (A[:, :5] ** 2).sum(axis=1))


@pytest.mark.parametrize("dtype", ["f4", "f2", "i4", ">f8", "longdouble"])
def test_some_rows_of_types_that_a_device_has_not(dtype: str) -> None:
    A = (8 * matrix()).astype(dtype)
    with late_device(free=8 << 30):
        rows = CudaRows(A, scale=0.5).streamed().take(np.array([7, 3, 499]))
        there = rows._A.view(np.ndarray)
    np.testing.assert_array_equal(there, 0.5 * A[[7, 3, 499]].astype(float))


def test_a_pass_that_is_given_up() -> None:
    """No copy is left to write into memory that has gone to others."""
    with late_device(free=8 << 30):
        rows = CudaRows(matrix(), block_bytes=64 * 80).streamed()

        def rule(t: Any, lo: int, hi: int) -> Any:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            rows.reweighted_gram(np.eye(10)[:, :3], rule)
        assert not any(stream.queue for stream in Stream.made)
        with pytest.raises(ValueError, match="could not"):
            device.sent(np.full((500, 10), "a"), 64)


def test_the_stand_in_is_as_late_as_it_can_be() -> None:
    """Without the wait at the end, rows are wrong."""
    A = matrix()
    with late_device(free=8 << 30), mock.patch.object(device.Copies, "__exit__", return_value=None):
        there = device.sent(A, 64)
        device.sent(np.full((500, 10), np.nan), 64)
        for stream in Stream.made:
            stream.synchronize()
    assert not (there.view(np.ndarray) == A).all()
