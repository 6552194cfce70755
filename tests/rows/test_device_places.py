"""Public functions where another device is the current one, for torch's tensors, and results.

Work goes to the device that holds A, and every result is NumPy's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any
from unittest import mock

import numpy as np
import pytest

import lpgeom
from lpgeom.rows import device
from lpgeom.rows.place import device_place
from lpgeom.subspace.svd_curve import svd_cost_curve
from tests.strict_device import DeviceArray, StrictModule, elsewhere, strict_device, to_device

RNG = np.random.default_rng(0)
A = RNG.standard_normal((60, 6)) * np.linspace(3.0, 0.3, 6)
V = np.linalg.qr(RNG.standard_normal((6, 2)))[0]

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "approx_subspace": lambda X: lpgeom.approx_subspace(X, 2, row_weights=np.ones(60)),
    "certify": lambda X: lpgeom.certify(X, V, 1.0, "all"),
    "cost": lambda X: lpgeom.cost(X, V),
    "cost of entries": lambda X: lpgeom.cost(X, V, 1.0, "entries"),
    "refine": lambda X: lpgeom.refine(X, V),
    "lewis_weights": lambda X: lpgeom.lewis_weights(X, 1.0),
    "coreset": lambda X: lpgeom.coreset(X, size=20),
    "approx_clusters": lambda X: lpgeom.approx_clusters(X, 1, subspaces=2, restarts=1),
    "approx_mixed": lambda X: lpgeom.approx_mixed(X, 150, subspaces=2),
    "approx_mixed, rank 0": lambda X: lpgeom.approx_mixed(X, 10, subspaces=2),
    "svd_cost_curve": lambda X: svd_cost_curve(X, 1.0),
    "lp_regression": lambda X: lpgeom.lp_regression(V, X),
    "approx_factors": lambda X: lpgeom.approx_factors(X, 2, certify=False, max_iter=2),
    "loewner_ellipsoid": lambda X: lpgeom.loewner_ellipsoid(X, 1.0),
    "loewner_ellipsoid, cuts": lambda X: lpgeom.loewner_ellipsoid(X, 1.0, method="shallow-cut"),
    "loewner_ellipsoid, inf": lambda X: lpgeom.loewner_ellipsoid(X, np.inf),
    "lp_svd": lambda X: lpgeom.lp_svd(X, 1.0),
    "min_volume_ellipsoid": lambda X: lpgeom.min_volume_ellipsoid(X),
    "john_ellipsoid": lambda X: lpgeom.john_ellipsoid(X),
}  # fmt: skip


class Tensor:
    """What a torch tensor on a device offers, where gradients are recorded: no array interface."""

    is_cuda, device, dtype = True, "cuda:1", "torch.float64"

    def __init__(self, array: Any) -> None:
        self.array, self.shape, self.ndim = array, array.shape, array.ndim

    def detach(self) -> Tensor:
        return self

    def cpu(self) -> Any:
        return type("OnHost", (), {"numpy": staticmethod(self.array.get)})()

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("can't convert cuda:1 device type tensor to numpy")


def on_the_device(value: Any, path: str = "result") -> list[str]:
    """The parts of a result that are not NumPy's."""
    if isinstance(value, DeviceArray):
        return [path]
    if is_dataclass(value):
        parts = {f.name: getattr(value, f.name) for f in fields(value)}
    elif isinstance(value, list | tuple):
        parts = {str(i): v for i, v in enumerate(value)}
    elif isinstance(value, dict):
        parts = value
    else:
        return []
    return [found for name, v in parts.items() for found in on_the_device(v, f"{path}.{name}")]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_device_that_holds_the_rows(name: str) -> None:
    with strict_device(), elsewhere():
        result = FUNCTIONS[name](to_device(A))
    assert on_the_device(result) == []


@pytest.mark.parametrize("name", FUNCTIONS)
def test_tensors_with_gradients(name: str) -> None:
    unpacked = mock.patch.object(
        StrictModule, "from_dlpack", lambda _, tensor: tensor.array, create=True
    )
    with strict_device(), unpacked, elsewhere():
        FUNCTIONS[name](Tensor(to_device(A)))


def test_arrays_of_others_stay_on_their_device() -> None:
    """Objects with the array interface do not name their device; CuPy would copy to the current."""
    asked: list[int] = []

    class Runtime:
        @staticmethod
        def pointerGetAttributes(pointer: int) -> Any:
            asked.append(pointer)
            return type("Attributes", (), {"device": 1})

    used: list[int] = []

    class Cuda:
        runtime = Runtime

        class Device:
            def __init__(self, number: int) -> None:
                self.number = number

            def __enter__(self) -> None:
                used.append(self.number)

            def __exit__(self, *_: object) -> None:
                used.append(-1)

    module = type("Module", (), {"cuda": Cuda, "asarray": staticmethod(lambda a: used.append(9))})
    array = type("Other", (), {"__cuda_array_interface__": {"data": (64, False)}})()
    nothing = type("Other", (), {"__cuda_array_interface__": {"data": (0, False)}})()
    with mock.patch.object(device, "array_module", return_value=module):
        device.as_device(array)
        device.as_device(nothing)
    assert (asked, used) == ([64], [1, 9, -1, 9])


def test_the_stand_in_notices_work_elsewhere() -> None:
    there = to_device(A)
    with strict_device(), elsewhere():
        for work in (
            lambda: there + 1.0,
            lambda: device.array_module().zeros(3),
            lambda: device.array_module().asarray(there),
            lambda: device_place().kernels.add_row_squares(there, there[:, 0]),
        ):
            with pytest.raises(AssertionError, match="another device"):
                work()


@pytest.mark.parametrize("missing", ["libcublasLt", "libnvrtc"])
def test_missing_libraries_are_noticed_before_work_starts(missing: str) -> None:
    """CuPy is there without the CUDA toolkit, and finds out when it multiplies or compiles."""

    class Nvrtc:
        @staticmethod
        def getVersion() -> Any:
            raise RuntimeError('Failure finding "libnvrtc.so.12"')  # of CuPy 14

    class Cuda:
        runtime = type("Runtime", (), {"getDeviceCount": staticmethod(lambda: 1)})
        cusolver, nvrtc = None, Nvrtc

        @property
        def cublas(self) -> Any:
            if missing == "libcublasLt":
                raise ImportError('Failure finding "libcublasLt.so.12"')
            return None

    with (
        mock.patch.dict(sys.modules, cupy=type("CuPy", (), {"cuda": Cuda()})),
        pytest.raises(ImportError, match=rf"{missing}.*toolkit"),
    ):
        lpgeom.approx_subspace(A, 2, backend="cuda")
