"""What routes hold beside A, against what `layout` asks for before they start."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
import pytest

import lpgeom
from lpgeom.rows import device, pairs
from lpgeom.rows.door import open_anywhere
from tests.strict_device import strict_device, to_device

N, D = 8000, 4
A = np.random.default_rng(0).standard_normal((N, D)) * [3.0, 2.0, 1.0, 0.5]
V = np.linalg.qr(np.random.default_rng(1).standard_normal((D, 2)))[0]

ROUTES: dict[str, Callable[[Any], Any]] = {
    "p = 1": lambda X: lpgeom.approx_subspace(X, 2),
    "p = 1.5": lambda X: lpgeom.approx_subspace(X, 2, 1.5, row_weights=np.ones(len(X))),
    "p = 3": lambda X: lpgeom.approx_subspace(X, 2, 3.0),
    "tight": lambda X: lpgeom.certify(X, V, 1.0, "tight"),
    "lewis_weights": lambda X: lpgeom.lewis_weights(X, 1.0),
    "coreset": lambda X: lpgeom.coreset(X, size=200),
}


@pytest.mark.parametrize("kind", ["float64", "strided", "int"])
@pytest.mark.parametrize("name", ROUTES)
def test_routes_stay_within_what_is_asked_for(name: str, kind: str) -> None:
    block = 1 << 15
    promised = 8 * (device.VECTORS * N + device.MATRICES * D * D) + 5 * block
    there = {
        "float64": A,
        "strided": np.repeat(A, 2, axis=1)[:, ::2],
        "int": np.round(100 * A).astype(np.int32),
    }[kind]
    ROUTES[name](there[:300])  # what is compiled or loaded is no memory of the route
    with strict_device(free=promised), mock.patch.object(pairs, "LARGEST", 0):
        given = to_device(there)
        tracemalloc.start()
        ROUTES[name](given)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak <= promised + 8 * N * 2  # results and weights on the host


def test_images_of_rows_leave_room_on_a_device() -> None:
    with strict_device(free=8 * device.VECTORS * N + 4 * A.nbytes):
        rows: Any = open_anywhere(to_device(A), 1.0).rows
        assert pairs.Pairs.of(rows, np.eye(D)) is not None
        with mock.patch.object(device, "free_bytes", return_value=3 * A.nbytes):
            assert pairs.Pairs.of(rows, np.eye(D)) is None
    assert pairs.Pairs.of(open_anywhere(A, 1.0).rows, np.eye(D)) is not None
