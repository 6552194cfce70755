"""The record: geometry of proper, unbounded and flat ellipsoids, and its words."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpgeom import Ellipsoid
from lpgeom.geometry.ellipsoids.record import Rounding
from tests.problems import fixed


def ellipsoid(shape: object, **fields: object) -> Ellipsoid:
    shape = np.asarray(shape, dtype=np.float64)
    made = Ellipsoid(shape, np.zeros(len(shape)), 1.0, None, "by hand", 3, True)
    return dataclasses.replace(made, **fields)  # type: ignore[arg-type]


@fixed
@given(st.integers(1, 6), st.integers(0, 2**31), st.booleans())
def test_axes_lengths_volume(d: int, seed: int, with_root: bool) -> None:
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.standard_normal((d, d)))[0]
    lengths = np.sort(np.exp(rng.uniform(-3, 3, d)))[::-1]
    R = Q.T / lengths[:, None]
    E = ellipsoid(R.T @ R, center=rng.standard_normal(d), root=R if with_root else None)
    np.testing.assert_allclose(E.lengths, lengths, rtol=1e-9)
    np.testing.assert_allclose(E.axes.T @ E.axes, np.eye(d), atol=1e-12)
    ball = 0.5 * d * math.log(math.pi) - math.lgamma(0.5 * d + 1)
    assert E.log_volume == pytest.approx(ball + np.log(lengths).sum(), abs=1e-8)
    assert E.rank == d
    tips = E.center + (E.axes * E.lengths).T
    np.testing.assert_allclose(E.gauge(tips), 1.0, rtol=1e-8)
    assert E.contains(tips, tol=1e-7).all()
    assert not E.contains(E.center + 1.01 * (tips - E.center)).any()
    assert E.contains(E.center)


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300])
def test_unbounded(scale: float) -> None:
    E = ellipsoid(scale * np.diag([1.0, 0.0, 0.25]))
    np.testing.assert_allclose(E.lengths, np.array([np.inf, 2.0, 1.0]) / math.sqrt(scale))
    assert E.rank == 2
    assert E.log_volume == math.inf
    assert E.contains([0.0, 1e9, 0.0])


def test_flat() -> None:
    basis = np.eye(3)[:, :2]
    E = ellipsoid(np.diag([1.0, 4.0, 0.0]), basis=basis, center=np.ones(3))
    np.testing.assert_allclose(E.lengths, [1.0, 0.5, 0.0])
    assert E.log_volume == -math.inf
    assert E.rank == 2
    assert E.gauge([2.0, 1.0, 1.0]) == pytest.approx(1.0)
    assert E.gauge([1.0, 1.0, 1.1]) == math.inf
    point = ellipsoid(np.zeros((2, 2)), basis=np.zeros((2, 0)))
    assert point.contains([[0.0, 0.0], [0.0, 1e-9]]).tolist() == [True, False]


def test_root_holds_what_shape_cannot() -> None:
    R = np.array([[1e9, 0.0], [1.0, 1.0]])  # 1e-9 is five digits above rounding, its square none
    E = ellipsoid(R.T @ R, root=R)
    assert E.lengths[0] == pytest.approx(1.0 / np.linalg.svd(R)[1][-1], rel=1e-6)


def test_wrong_dimension() -> None:
    with pytest.raises(ValueError, match="last axis must be 2"):
        ellipsoid(np.eye(2)).gauge(np.zeros(3))


def test_inputs_are_not_handed_out() -> None:
    E = ellipsoid(np.eye(2))
    E.axes[:] = 0.0
    E.lengths[:] = 0.0
    np.testing.assert_allclose(E.lengths, 1.0, rtol=1e-15)
    assert np.abs(E.axes).sum() == pytest.approx(2.0, rel=1e-15)


def test_words() -> None:
    E = ellipsoid(np.eye(2), p=math.inf, gap=1e-3, converged=False)
    assert repr(E) == "Ellipsoid(d=2, p=inf, alpha=1, method='by hand')"
    assert "not converged" in E.summary()
    assert "0.001 from optimal" in E.summary()
    plain = json.loads(json.dumps(E.to_dict(), allow_nan=False))
    assert plain["p"] == "inf"
    assert plain["shape"] == [[1.0, 0.0], [0.0, 1.0]]
    with pytest.raises(dataclasses.FrozenInstanceError):
        E.alpha = 2.0  # type: ignore[misc]


def test_rounding_record() -> None:
    x = np.zeros(2)
    assert Rounding(2.0, 3.0, x, x).rounding == 1.5
    assert Rounding(0.0, 3.0, x, x).rounding == math.inf
