"""The CUDA device: whether there is one, what fits on it, and how arrays get there and back.

CuPy is imported when a device is first asked for, never before.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lpgeom.rows.base import Array

BLOCK_BYTES = 128 << 20
"""Bytes of one block at most: enough rows that a product keeps the device busy."""

FEWEST_ROWS = 16
"""Rows of one block at least."""

VECTORS, MATRICES = 36, 8
"""Vectors of length n, and (d, d) matrices, that a route may hold on the device at once: 22 were
measured in the Lewis iteration, 35 in the radial bounds."""

PANEL = 256
"""Columns of one panel of a triangular product."""

SMALL_EIGEN = 256
"""Up to this size a symmetric eigenproblem stays on the host: the device is slower."""


def on_device(A: object) -> bool:
    """Whether A lies on a CUDA device (CuPy, torch, or anything with its array interface)."""
    if hasattr(A, "is_cuda"):  # torch: its array interface raises where gradients are recorded
        return bool(A.is_cuda)
    return hasattr(A, "__cuda_array_interface__")


def is_simulated() -> bool:
    """Whether Numba's simulator stands for the device, with NumPy's arrays for its memory."""
    from lpgeom.kernels.cuda import arrays

    return arrays.is_simulated()


def require() -> None:
    """Check that there is a device to work on.

    Raises
    ------
    ImportError
        CuPy or numba-cuda is not installed, or the libraries of CUDA are not.
    RuntimeError
        No driver, or no device.
    """
    if is_simulated():
        return
    try:
        import cupy
    except ImportError as error:
        raise ImportError(
            f'backend="cuda" needs CuPy and numba-cuda ({error}): pip install "lpgeom[cuda]"'
        ) from error
    try:
        count = int(cupy.cuda.runtime.getDeviceCount())
    except Exception as error:
        raise RuntimeError(
            f'backend="cuda": no CUDA device can be used ({error}); backend="cpu" needs none'
        ) from error
    if count == 0:
        raise RuntimeError('backend="cuda": this machine has no CUDA device; use backend="cpu"')
    try:  # CuPy looks for them when they are first used, which may be in the middle of a run
        _ = cupy.cuda.cublas, cupy.cuda.cusolver
    except ImportError as error:
        raise ImportError(
            f'backend="cuda" needs cuBLAS and cuSOLVER ({error}): install the CUDA toolkit, or pip '
            'install "cupy-cuda12x[ctk]"'
        ) from error
    try:
        cupy.cuda.nvrtc.getVersion()
    except Exception as error:
        raise ImportError(
            f'backend="cuda" needs NVRTC, for the kernels of CuPy ({error}): install the CUDA '
            'toolkit, or pip install "cupy-cuda12x[ctk]"'
        ) from error


def array_module() -> Any:
    """CuPy; in Numba's simulator NumPy."""
    from lpgeom.kernels.cuda import arrays

    return arrays.array_module()


def _plain(tensor: Any) -> Any:
    """A torch tensor without its gradient, in a type that other libraries have."""
    tensor = tensor.detach()
    return tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor


def host(v: Any) -> Any:
    """v as a NumPy array, fetched if it lies on the device."""
    if not on_device(v):
        return np.asarray(v)
    if hasattr(v, "detach"):  # torch
        return _plain(v).cpu().numpy()
    return v.get(order="A") if hasattr(v, "get") else array_module().asarray(v).get()


def fetched(v: Any) -> Any:
    """v, as a NumPy array if it lies on the device; else as it is."""
    return host(v) if on_device(v) else v


def as_device(A: Any) -> Any:
    """A on the device: what is there already is shared, not copied."""
    xp = array_module()
    if hasattr(A, "detach") and on_device(A):
        return xp.from_dlpack(_plain(A))
    with _holder(A):  # else CuPy would copy it to the current device
        return xp.asarray(A)


def _holder(A: Any) -> Any:
    """`device_of` for anything with the array interface, which does not name its device."""
    xp = array_module()
    if not on_device(A) or hasattr(A, "get") or not hasattr(xp, "cuda"):
        return device_of(A)
    pointer = A.__cuda_array_interface__["data"][0]
    if not pointer:  # an empty array
        return nullcontext()
    return xp.cuda.Device(xp.cuda.runtime.pointerGetAttributes(pointer).device)


def device_of(A: Any) -> AbstractContextManager[Any]:
    """A context in which A's own device is the current one."""
    device: AbstractContextManager[Any] | None = getattr(A, "device", None)
    if device is None or not hasattr(device, "use"):
        return nullcontext()
    return device


# ---------------------------------------------------------------- memory


@dataclass(frozen=True)
class Layout:
    """How rows are kept: on the device as a whole, or sent there block by block in every pass."""

    resident: bool
    block_bytes: int


def free_bytes() -> int:
    """Memory that the current device has left, with what CuPy's pool holds in reserve.

    Not more than the pool's limit leaves, where one is set.
    """
    if is_simulated():
        return 8 << 30
    import cupy

    free, _ = cupy.cuda.runtime.memGetInfo()
    pool = cupy.get_default_memory_pool()
    found = int(free) + int(pool.free_bytes())
    limit = int(pool.get_limit())  # of the user; 0: none
    return max(0, min(found, limit - int(pool.used_bytes()))) if limit else found


def layout(n: int, d: int, itemsize: int, free: int, *, there: bool) -> Layout:
    """Where (n, d) rows go with so much memory free; `there`: they are on the device already.

    Raises
    ------
    MemoryError
        Not even one block fits, with the sizes that would.
    """
    fixed = 8 * (VECTORS * n + MATRICES * d * d)
    least = 8 * d * min(n, FEWEST_ROWS)
    most = min(BLOCK_BYTES, 8 * d * n)
    for resident, buffers in ((True, 3), (False, 5)):
        rows = n * d * itemsize if resident and not there else 0
        block = min(most, (free - fixed - rows) // buffers)
        if block >= least:
            return Layout(resident, int(block))
        if there:
            break
    fits = int((free // 2 / (8 * MATRICES)) ** 0.5)
    raise MemoryError(
        f"rows of shape ({n}, {d}) need {(fixed + 5 * least) / 2**20:.0f} MiB of device memory "
        f"beside the data, {free / 2**20:.0f} MiB are free; {free // (16 * VECTORS)} rows of "
        f'{fits} columns would fit; backend="cpu" works in host memory'
    )


class Copies:
    """Host blocks on their way to the device, two at a time, through pinned memory.

    While the device works on one block, the next is read and copied by a stream of its own. A
    context: left in whatever way, it waits for the copies that are under way, since memory that is
    given back, here or there, is used again at once.

    Parameters
    ----------
    shape : tuple of int
        Of the largest block.
    dtype : dtype
        float32 or float64: blocks are converted to it on the host.
    """

    def __init__(self, shape: tuple[int, int], dtype: np.dtype[Any]) -> None:
        self._xp = array_module()
        self._pinned = [_pinned(shape, dtype) for _ in range(2)]
        self._cuda = getattr(self._xp, "cuda", None)  # None: simulated, every copy is made at once
        if self._cuda is not None:
            self._copies = self._cuda.Stream(non_blocking=True)
            self._sent, self._free = (
                [self._cuda.Event(disable_timing=True) for _ in range(2)] for _ in range(2)
            )
            # Device arrays were allocated, and their memory last used, on the current stream.
            for slot in range(2):
                self.give_up(slot)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for the copies that are under way."""
        if self._cuda is not None:
            self._copies.synchronize()

    def send(self, slot: int, block: NDArray[Any], there: Any) -> None:
        """Start to copy a block into the device array `there`."""
        here = self._pinned[slot][: len(block)]
        if self._cuda is not None:
            self._sent[slot].synchronize()
        np.copyto(here, block, casting="unsafe")
        if self._cuda is None:
            there[:] = self._xp.asarray(here)
            return
        self._copies.wait_event(self._free[slot])
        there.set(here, stream=self._copies)
        self._sent[slot].record(self._copies)

    def arrived(self, slot: int) -> None:
        """Let work that is queued from now on wait for this block."""
        if self._cuda is not None:
            self._cuda.get_current_stream().wait_event(self._sent[slot])

    def give_up(self, slot: int) -> None:
        """Let copies into the slot's device array wait for the work queued so far."""
        if self._cuda is not None:
            self._free[slot].record(self._cuda.get_current_stream())


def sent(A: NDArray[Any], step: int) -> Any:
    """A host array as a device array, `step` rows at a time; float32 stays, all else is float64."""
    dtype = np.dtype(np.float32 if A.dtype == np.float32 else np.float64)
    n, d = A.shape
    there = array_module().empty((n, d), dtype)
    with Copies((min(step, n), d), dtype) as copies:
        for i, lo in enumerate(range(0, n, step)):
            copies.send(i % 2, A[lo : lo + step], there[lo : lo + step])
    return there


def _pinned(shape: tuple[int, int], dtype: np.dtype[Any]) -> NDArray[Any]:
    """A host array that the device can read by itself."""
    xp = array_module()
    if not hasattr(xp, "cuda"):
        return np.empty(shape, dtype)
    count = shape[0] * shape[1]
    memory = xp.cuda.alloc_pinned_memory(count * dtype.itemsize)
    return np.frombuffer(memory, dtype, count).reshape(shape)


# ---------------------------------------------------------------- dense algebra

_dense: ContextVar[bool] = ContextVar("dense algebra on the device", default=False)


@contextmanager
def algebra(rows: Any) -> Iterator[None]:
    """Large (d, d) eigenproblems are solved on the device while the body runs, if rows lie there.

    They are most of the time beside a device's passes, and a matrix travels in a fraction of it.
    """
    if not rows.place.on_device:
        yield
        return
    token = _dense.set(True)
    try:
        with device_of(rows._A):
            yield
    finally:
        _dense.reset(token)


def solves(M: Array) -> bool:
    """Whether the eigenproblem of M goes to the device."""
    return _dense.get() and len(M) > SMALL_EIGEN


def eigh(M: Array) -> tuple[Array, Array]:
    """Eigenvalues (ascending) and eigenvectors, by cuSOLVER."""
    xp = array_module()
    lam, U = xp.linalg.eigh(xp.asarray(M))
    return host(lam), host(xp.ascontiguousarray(U))  # cuSOLVER's are column-major


def eigvalsh(M: Array) -> Array:
    """Eigenvalues (ascending), by cuSOLVER."""
    xp = array_module()
    lam: Array = host(xp.linalg.eigvalsh(xp.asarray(M)))
    return lam


@cache
def name() -> str:
    """The device, in words."""
    xp = array_module()
    if not hasattr(xp, "cuda"):
        return "CUDA simulator"
    return str(xp.cuda.runtime.getDeviceProperties(xp.cuda.Device().id)["name"].decode())
