"""A device without a device: arrays that refuse what CuPy's refuse, in host memory.

`DeviceArray` answers to NumPy's functions where CuPy's arrays do, and to nothing else: no implicit
conversion to NumPy, no operation beside a NumPy array, reductions that give arrays of no dimension,
no keyword that CuPy's function lacks. `StrictModule` stands for the module ``cupy``. So whole
routes run, quickly, and fail where they would fail on a device.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np

from lpgeom.kernels import cpu
from lpgeom.rows import device, place

# Names that cupy has under the same name, with the keywords that its function takes.
FUNCTIONS = {
    "abs": set(),
    "amax": {"axis", "keepdims"},
    "amin": {"axis", "keepdims"},
    "any": {"axis"},
    "all": {"axis"},
    "argmax": {"axis"},
    "argmin": {"axis"},
    "argsort": {"axis", "kind"},
    "argwhere": set(),
    "broadcast_to": set(),
    "clip": set(),
    "concatenate": {"axis"},
    "copyto": {"casting"},
    "count_nonzero": {"axis"},
    "cumsum": {"axis", "dtype"},
    "diag": set(),
    "diagonal": {"offset", "axis1", "axis2"},
    "dot": set(),
    "empty_like": {"dtype"},
    "flatnonzero": set(),
    "full_like": {"dtype"},
    "isfinite": set(),
    "max": {"axis", "keepdims"},
    "mean": {"axis", "dtype"},
    "median": {"axis"},
    "min": {"axis", "keepdims"},
    "nonzero": set(),
    "ones_like": {"dtype"},
    "partition": {"axis"},
    "prod": {"axis"},
    "quantile": {"axis"},
    "repeat": {"axis"},
    "searchsorted": {"side"},
    "sort": {"axis"},
    "stack": {"axis"},
    "sum": {"axis", "dtype", "keepdims"},
    "swapaxes": set(),
    "take": {"axis"},
    "trace": {"offset", "axis1", "axis2", "dtype"},
    "tril": {"k"},
    "triu": {"k"},
    "where": set(),
    "zeros_like": {"dtype"},
}
LINALG = {"cholesky", "eigh", "eigvalsh", "inv", "norm", "qr", "solve", "svd", "lstsq"}
CREATE = {
    "arange", "asarray", "ascontiguousarray", "array", "empty", "eye", "full", "linspace",
    "ones", "zeros",
}  # fmt: skip


PRODUCTS = {"dot", "inner", "matmul", "tensordot", "vdot"}
"""Of float32, CuPy makes these by TF32 where ``CUPY_TF32`` is set."""

BATCHED = 256
"""Size of the largest systems of which CuPy solves a stack together, not one by one."""

LACKING = {"ctypes", "getfield", "resize", "setfield", "setflags", "to_device"}
"""Methods of NumPy's arrays that CuPy's have not."""

HERE = {"argmax", "argmin", "argpartition", "argsort", "choose", "compress", "cumprod", "cumsum",
        "dot", "nonzero", "repeat", "searchsorted", "take", "trace"}  # fmt: skip


class Device:
    """The device that all arrays lie on, as CuPy names it."""

    id = 1

    def use(self) -> Device:
        raise AssertionError("switches the device for good")

    def __enter__(self) -> Device:
        _current.append(self.id)
        return self

    def __exit__(self, *_: object) -> None:
        _current.pop()


_current = [Device.id]


def here() -> None:
    """Fails where another device is the current one: CuPy would copy, or work there."""
    assert _current[-1] == Device.id, "work while another device is the current one"


@contextmanager
def elsewhere() -> Iterator[None]:
    """Another device is the current one."""
    _current.append(0)
    try:
        yield
    finally:
        _current.pop()


class DeviceArray(np.ndarray):
    """An array that only meets arrays of its own kind, and numbers."""

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {"shape": self.shape, "version": 3}

    @property
    def device(self) -> Any:
        return Device()

    def get(self, order: str = "C") -> Any:
        return np.array(self.view(np.ndarray), order=order)

    def set(self, array: Any) -> None:
        assert type(array) is np.ndarray
        if not self.flags.forc:
            raise RuntimeError("Cannot set to non-contiguous array")
        self.view(np.ndarray)[...] = array

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        here()
        out = kwargs.get("out")
        if out is not None:
            for o in out:
                if not isinstance(o, DeviceArray):
                    raise TypeError("the result of a device operation goes into a device array")
            kwargs["out"] = tuple(o.view(np.ndarray) for o in out)
        if "where" in kwargs and kwargs["where"] is not True:
            raise TypeError("cupy's ufuncs take no where")
        if "initial" in kwargs and kwargs["initial"] is not np._NoValue:
            raise TypeError("cupy's reductions take no initial")
        _exact(ufunc.__name__, inputs)
        if ufunc is np.ldexp and not isinstance(inputs[0], DeviceArray):
            raise TypeError("cupy's ldexp takes a Python number for one of half precision")
        result = getattr(ufunc, method)(*(_plain(x) for x in inputs), **kwargs)
        return out[0] if out is not None else _wrapped(result)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        here()
        name = func.__name__
        module = func.__module__
        if module == "numpy.linalg":
            if name not in LINALG:
                raise TypeError(f"cupy.linalg has no {name}")
        elif name not in FUNCTIONS:
            raise TypeError(f"not known to be in cupy: {name}")
        else:
            extra = {k for k, v in kwargs.items() if v is not np._NoValue} - FUNCTIONS[name]
            if extra - {"out"}:
                raise TypeError(f"cupy.{name} does not take {sorted(extra)}")
        _exact(name, args)
        if name == "solve" and args[0].ndim > 2:
            assert args[0].shape[-1] <= BATCHED, "CuPy solves these systems one by one"
        result = func(*(_deep(a) for a in args), **{k: _deep(v) for k, v in kwargs.items()})
        return _wrapped(result)

    def __getitem__(self, key: Any) -> Any:
        return _wrapped(self.view(np.ndarray)[_key(key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        self.view(np.ndarray)[_key(key)] = _plain(value)

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def __getattribute__(self, name: str) -> Any:
        if name in LACKING:
            raise AttributeError(f"cupy.ndarray has no {name}")
        if name in HERE:  # what NumPy answers by a scalar
            method = np.ndarray.__getattribute__(self.view(np.ndarray), name)
            return lambda *args, **kwargs: _strictly(method, args, kwargs)
        return np.ndarray.__getattribute__(self, name)

    def __index__(self) -> int:
        raise TypeError("cupy.ndarray has no __index__")

    def __contains__(self, value: object) -> bool:
        raise TypeError("cupy.ndarray has no __contains__")


def _exact(name: str, operands: Any) -> None:
    """Fails for a product that CuPy may make in less than float32's precision."""
    if name in PRODUCTS:
        types = [x.dtype for x in operands if isinstance(x, DeviceArray)]
        assert np.result_type(*types) != np.float32, "a product that CUPY_TF32 makes coarse"


def _key(key: Any) -> Any:
    if isinstance(key, tuple):
        return tuple(_key(k) for k in key)
    if isinstance(key, DeviceArray):
        return key.view(np.ndarray)
    if isinstance(key, np.ndarray) and key.ndim > 0:
        raise TypeError("a device array is indexed by a NumPy array")
    return key


def _plain(x: Any) -> Any:
    """The numbers behind an operand; refuses NumPy arrays, as CuPy does."""
    if isinstance(x, DeviceArray):
        return x.view(np.ndarray)
    if isinstance(x, np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    return x


def _deep(x: Any) -> Any:
    if isinstance(x, list | tuple):
        return type(x)(_deep(y) for y in x)
    return _plain(x)


def _wrapped(result: Any) -> Any:
    if isinstance(result, tuple):
        fields = [_wrapped(x) for x in result]
        return type(result)(*fields) if hasattr(result, "_fields") else tuple(fields)
    if isinstance(result, np.ndarray):
        return result.view(DeviceArray)
    if isinstance(result, np.generic):
        return np.asarray(result).view(DeviceArray)
    return result


class StrictModule:
    """The module ``cupy``, as far as it is used."""

    def __getattr__(self, name: str) -> Any:
        if name == "cuda":
            raise AttributeError(name)
        function = getattr(np, name)
        if name in CREATE:

            def create(*args: Any, **kwargs: Any) -> Any:
                here()
                if name == "ascontiguousarray" and not isinstance(args[0], DeviceArray):
                    raise TypeError("cupy.ascontiguousarray takes arrays of the device only")
                if any(isinstance(a, np.ndarray) and a.dtype.char in "gG" for a in args):
                    raise ValueError("Unsupported dtype: cupy has no long double")
                args = tuple(a.view(np.ndarray) if isinstance(a, DeviceArray) else a for a in args)
                return _wrapped(np.asarray(function(*args, **kwargs)))

            return create
        if isinstance(function, np.ufunc) or name in FUNCTIONS:

            def call(*args: Any, **kwargs: Any) -> Any:
                return _strictly(function, args, kwargs)

            return call
        raise AttributeError(f"cupy.{name} is not known here")

    @property
    def linalg(self) -> Any:
        def call(name: str) -> Any:
            return lambda *args, **kwargs: _strictly(getattr(np.linalg, name), args, kwargs)

        return SimpleNamespace(**{name: call(name) for name in LINALG})

    @property
    def float64(self) -> Any:
        return np.float64

    def matmul(self, a: Any, b: Any, out: Any = None) -> Any:
        here()
        _exact("matmul", (a, b))
        if out is None:
            return _wrapped(np.matmul(_plain(a), _plain(b)))
        return gemm(a, b, out)


def gemm(a: Any, b: Any, out: Any) -> Any:
    """In place of `lpgeom.kernels.cuda.blas.matmul`."""
    here()
    np.matmul(_plain(a), _plain(b), out=_plain(out))
    return out


def _strictly(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    here()
    result = function(*(_deep(a) for a in args), **{k: _deep(v) for k, v in kwargs.items()})
    return _wrapped(result)


def on_views(function: Any) -> Any:
    """A CPU kernel that works on device arrays, and on nothing else."""

    def call(*args: Any) -> Any:
        here()
        return function(*(_plain(a) for a in args))

    return call


ARRAY_FUNCTIONS = ("column_norms", "exchange_steps", "shallow_cuts")


def kernels(**others: Any) -> Any:
    """The CPU's kernels on device arrays, but for those given."""
    functions = {name: getattr(cpu, name) for name in cpu.__all__ if name != "regression"}
    views = {name: on_views(f) for name, f in {**functions, **others}.items()}
    if find_spec("numba_cuda"):  # these are array functions: as they are
        from lpgeom.kernels import cuda

        views |= {name: getattr(cuda, name) for name in ARRAY_FUNCTIONS}
    solver = {n: on_views(f) for n, f in vars(cpu.regression).items() if not n.startswith("_")}
    return SimpleNamespace(**{**views, "matmul": gemm, "regression": SimpleNamespace(**solver)})


xp = StrictModule()


def to_device(A: Any) -> Any:
    """A copy in the device's memory; a strided array stays one."""
    if A.flags.c_contiguous or A.flags.f_contiguous or A.ndim != 2:
        return np.array(A, order="K").view(DeviceArray)
    room = np.empty((A.shape[0], 2 * A.shape[1]), A.dtype).view(DeviceArray)[:, ::2]
    room.view(np.ndarray)[...] = A
    return room


@contextmanager
def strict_device(free: int = 8 << 30, **others: Any) -> Iterator[None]:
    """Everything that asks for the device gets this one, with CPU kernels, or `others` by name."""
    refusing = {
        name: _refusing(getattr(np, name)) for name in ("asarray", "array", "ascontiguousarray")
    }
    with (
        mock.patch.object(device, "require"),
        mock.patch.object(device, "is_simulated", return_value=False),
        mock.patch.object(device, "array_module", return_value=xp),
        mock.patch.object(place, "device_kernels", return_value=kernels(**others)),
        mock.patch.object(device, "free_bytes", return_value=free),
        mock.patch.multiple(np, **refusing),
    ):
        yield


def _refusing(function: Any) -> Any:
    """NumPy's constructor, which CuPy's arrays refuse."""

    def call(a: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(a, DeviceArray):
            raise TypeError("Implicit conversion to a NumPy array is not allowed")
        return function(a, *args, **kwargs)

    return call
