"""The measurement: it finds known extremes, and turns down what was tampered with."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

import lpgeom
from lpgeom import CertificateError, Ellipsoid
from tests.problems import KINDS, matrix

PS = (1.0, 1.5, 2.0, 4.0, math.inf)


def made(A: Any, p: float, method: str = "lewis") -> Ellipsoid:
    return lpgeom.loewner_ellipsoid(A, p, method)


def without_root(E: Ellipsoid, **fields: Any) -> Ellipsoid:
    return dataclasses.replace(E, root=None, **fields)


@pytest.mark.parametrize("d", [1, 2, 5])
@pytest.mark.parametrize("p", PS)
def test_known_extremes(d: int, p: float) -> None:
    """A = I and the unit ball: the ratio runs between 1 and d^(1/p - 1/2)."""
    far = d ** ((0.0 if math.isinf(p) else 1.0 / p) - 0.5)
    low, high = min(1.0, far), max(1.0, far)
    E = Ellipsoid(np.eye(d) * low**2, np.zeros(d), high / low, p, "by hand", 0, True)
    got = E.verify(np.eye(d))
    assert got.lowest == pytest.approx(1.0, rel=1e-8)
    assert got.highest == pytest.approx(high / low, rel=1e-8)
    np.testing.assert_allclose(E.gauge(np.stack([got.at_lowest, got.at_highest])), 1.0, rtol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("p", PS)
def test_directions_carry_the_ratios(kind: str, p: float) -> None:
    A = matrix(kind, 25, 4, 9)
    E = made(A, p)
    got = E.verify(A, starts=6)
    for x, value in ((got.at_lowest, got.lowest), (got.at_highest, got.highest)):
        size = np.linalg.norm(A @ x, np.inf if math.isinf(p) else p)
        assert size / E.gauge(x) == pytest.approx(value, rel=1e-9)
    assert 1.0 - 1e-9 <= got.lowest <= got.highest <= E.alpha * (1.0 + 1e-9)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((500, 4)) @ np.diag(np.exp(rng.uniform(-2, 2, 4)))
    ratio = np.linalg.norm(A @ X.T, np.inf if math.isinf(p) else p, axis=0)
    inner = E.gauge(X)
    seen = inner > 1e-6 * inner.max()
    assert got.lowest <= (ratio[seen] / inner[seen]).min() * (1.0 + 1e-6)
    assert got.highest >= (ratio[seen] / inner[seen]).max() * (1.0 - 1e-6)


@pytest.mark.parametrize("p", PS)
def test_doctored_ellipsoids_fail(p: float) -> None:
    A = matrix("heavy", 40, 4, 3)
    E = made(A, p)
    got = E.verify(A, starts=8)
    shrunk = without_root(E, shape=E.shape * (1.02 * got.lowest) ** 2)
    with pytest.raises(CertificateError, match="does not contain"):
        shrunk.verify(A)
    grown = without_root(E, shape=E.shape * (0.98 * got.highest / E.alpha) ** 2)
    with pytest.raises(CertificateError, match="reaches"):
        grown.verify(A)
    with pytest.raises(CertificateError, match="reaches"):
        dataclasses.replace(E, alpha=max(1.0, 0.98 * got.highest), root=None).verify(A * 1.05)
    if p != 2.0:
        with pytest.raises(CertificateError, match="reaches"):
            dataclasses.replace(E, alpha=max(1.0, 0.99 * got.highest)).verify(A)


def test_one_bad_direction_is_found() -> None:
    """Pushed in along one axis only, where a random direction would never look."""
    A = matrix("gauss", 200, 30, 0)
    E = made(A, 1.0)
    got = E.verify(A, starts=8)
    u = E.axes[:, 7]
    shape = E.shape * got.lowest**2 * 0.999
    bad = shape + 1.0 * float(u @ shape @ u) * np.outer(u, u)
    with pytest.raises(CertificateError, match="does not contain"):
        without_root(E, shape=bad).verify(A)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"shape": np.eye(3)}, "not one of the shape"),
        ({"root": np.eye(2)}, "expected"),
        ({"center": np.ones(3)}, "center"),
        ({"center": np.zeros(2)}, "dimension"),
        ({"alpha": 0.5}, "alpha"),
        ({"alpha": math.nan}, "alpha"),
        ({"basis": np.eye(3)}, "center"),
        ({"shape": np.full((3, 3), np.nan)}, "finite"),
        ({"root": None, "shape": np.diag([1.0, 1.0, -1.0])}, "negative"),
        ({"root": None, "shape": np.array([[1.0, 0.5, 0], [0, 1, 0], [0, 0, 1]])}, "symmetric"),
        ({"root": None, "shape": np.zeros((3, 3))}, "unbounded|zero"),
        ({"root": None, "shape": np.diag([1e-3, 1e-3, 0.0])}, "unbounded"),
    ],
)
def test_broken_records_fail(fields: dict[str, Any], words: str) -> None:
    A = matrix("gauss", 20, 3, 1)
    with pytest.raises(CertificateError, match=words):
        dataclasses.replace(made(A, 1.0), **fields).verify(A)


def test_other_data_fails() -> None:
    A = matrix("gauss", 20, 3, 1)
    E = made(A, 1.0)
    with pytest.raises(CertificateError):
        E.verify(A * 0.1)
    with pytest.raises(CertificateError):
        E.verify(A * 10.0)
    with pytest.raises(CertificateError, match="columns"):
        E.verify(A[:, :2])
    with pytest.raises(CertificateError, match="finite"):
        E.verify(np.full((4, 3), np.nan))
    with pytest.raises(CertificateError, match="weights"):
        E.verify(A, row_weights=np.ones(3))
    with pytest.raises(CertificateError, match="A is zero"):
        E.verify(np.zeros((4, 3)))


def test_the_seed_decides() -> None:
    A = matrix("heavy", 50, 5, 2)
    E = made(A, 1.0, "shallow-cut")
    one, two = E.verify(A, seed=3, starts=4), E.verify(A, seed=3, starts=4)
    assert (one.lowest, one.highest) == (two.lowest, two.highest)
