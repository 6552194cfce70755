"""Ellipsoids on device arrays: what CuPy would refuse is refused, and the answers are the CPU's."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import pytest

import lpgeom
from lpgeom.geometry.ellipsoids import dense
from lpgeom.geometry.ellipsoids.design import _restart, variances
from lpgeom.geometry.fantope import largest_sum, smallest_sum
from lpgeom.rows import device
from tests.strict_device import strict_device, to_device

RTOL = 1e-9
PS = (1.0, 1.5, 2.0, 3.0, math.inf)
METHODS = ("lewis", "shallow-cut", "john")


@contextmanager
def on_the_device(few: int = 0, free: int = 8 << 30) -> Iterator[None]:
    """`strict_device`, where steps over `few` numbers go to the host."""
    with strict_device(free), mock.patch.object(dense, "NEAR", few):
        yield


def data(n: int = 200, d: int = 6, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, d)) * np.linspace(2.0, 0.5, d)
    A[: n // 20] *= 8.0
    return A


def contents(A: Any) -> dict[str, Any]:
    """The same rows in the forms in which they may come."""
    rng = np.random.default_rng(1)
    padded = np.zeros((A.shape[0], 2 * A.shape[1]))
    padded[:, ::2] = A
    return {
        "float32": A.astype(np.float32),
        "half": A.astype(np.float16),
        "int": np.round(8 * A).astype(np.int32),
        "F": np.asfortranarray(A),
        "strided": padded[:, ::2],
        "huge": A * 1e140,
        "tiny": A * 1e-140,
        "zero rows": np.where(np.arange(len(A))[:, None] % 7 == 0, 0.0, A),
        "zero": np.zeros_like(A),
        "rank 3": A[:, :3] @ rng.standard_normal((3, A.shape[1])),
        "wide": A[: A.shape[1] - 2],
        "one row": A[:1],
        "one column": A[:, :1],
        "graded": A * np.geomspace(1.0, 1e-6, A.shape[1]),
        "duplicates": np.concatenate([A[:20], A[:20]]),
    }


KINDS = tuple(contents(data()))


def same_numbers(ours: Any, theirs: Any) -> None:
    scale = float(np.abs(theirs).max(initial=0.0))
    np.testing.assert_allclose(ours / (scale or 1.0), theirs / (scale or 1.0), atol=RTOL)


def agree(ours: lpgeom.Ellipsoid, theirs: lpgeom.Ellipsoid) -> None:
    assert type(ours.shape) is type(ours.center) is np.ndarray
    assert (ours.n_iter, ours.converged) == (theirs.n_iter, theirs.converged)
    assert ours.alpha == pytest.approx(theirs.alpha, rel=RTOL)
    same_numbers(ours.shape, theirs.shape)
    same_numbers(ours.center, theirs.center)
    if theirs.basis is None:
        assert ours.basis is None
    else:
        assert type(ours.basis) is np.ndarray
        np.testing.assert_allclose(
            ours.basis @ ours.basis.T, theirs.basis @ theirs.basis.T, atol=RTOL
        )
    if theirs.gap is not None:
        assert ours.gap == pytest.approx(theirs.gap, rel=RTOL, abs=RTOL)


@pytest.mark.parametrize("few", [0, 1 << 17])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("p", PS)
def test_loewner_ellipsoid(p: float, method: str, few: int) -> None:
    A = data()
    omega = np.random.default_rng(2).random(len(A)) * (np.arange(len(A)) % 5 > 0)
    expected = lpgeom.loewner_ellipsoid(A, p, method)
    weighted = lpgeom.loewner_ellipsoid(A, p, method, row_weights=omega)
    with on_the_device(few):
        found = lpgeom.loewner_ellipsoid(to_device(A), p, method)
        sent = lpgeom.loewner_ellipsoid(A, p, method, row_weights=omega, backend="cuda")
    agree(found, expected)
    agree(sent, weighted)
    found.verify(A, starts=4)
    sent.verify(A, row_weights=omega, starts=4)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("p", [1.0, 3.0, math.inf])
@pytest.mark.parametrize("kind", KINDS)
def test_every_content(kind: str, p: float, method: str) -> None:
    A = contents(data(60))[kind]
    expected = lpgeom.loewner_ellipsoid(A, p, method)
    with on_the_device():
        found = lpgeom.loewner_ellipsoid(to_device(A), p, method)
        sent = lpgeom.loewner_ellipsoid(A, p, method, backend="cuda")
        here = lpgeom.loewner_ellipsoid(to_device(A), p, method, backend="cpu")
    for E in (found, sent, here):
        agree(E, expected)
    assert here.shape.tobytes() == expected.shape.tobytes()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("p", PS)
def test_lp_svd(p: float, method: str) -> None:
    A = data()
    expected = lpgeom.lp_svd(A, p, method)
    with on_the_device():
        found = lpgeom.lp_svd(to_device(A), p, method)
        sent = lpgeom.lp_svd(A, p, method, backend="cuda")
    for f in (found, sent):
        assert type(f.U) is type(f.V) is np.ndarray
        np.testing.assert_allclose(f.D, expected.D, rtol=RTOL)
        assert f.alpha == pytest.approx(expected.alpha, rel=RTOL)
        same_numbers(f.U * f.D @ f.V.T, A)


@pytest.mark.parametrize("kind", KINDS)
def test_lp_svd_of_every_content(kind: str) -> None:
    A = contents(data(60))[kind]
    expected = lpgeom.lp_svd(A, 1.0)
    with on_the_device(), mock.patch.object(device, "BLOCK_BYTES", 8 * 17 * A.shape[1]):
        found = lpgeom.lp_svd(to_device(A), 1.0)
    assert found.rank == expected.rank
    np.testing.assert_allclose(found.D, expected.D, rtol=RTOL)
    same_numbers(found.U * found.D @ found.V.T, A.astype(np.float64))


@pytest.mark.parametrize("few", [0, 40 * 6, 1 << 17])
@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_min_volume_ellipsoid(kind: str, centered: bool, few: int) -> None:
    A = contents(data(60))[kind]
    expected = lpgeom.min_volume_ellipsoid(A, centered=centered)
    with on_the_device(few), mock.patch.object(device, "BLOCK_BYTES", 8 * 17 * A.shape[1]):
        found = lpgeom.min_volume_ellipsoid(to_device(A), centered=centered)
        sent = lpgeom.min_volume_ellipsoid(A, centered=centered, backend="cuda")
        here = lpgeom.min_volume_ellipsoid(to_device(A), centered=centered, backend="cpu")
    for E in (found, sent, here):
        agree(E, expected)
        assert E.contains(A).all()


@pytest.mark.parametrize("few", [0, 40 * 6, 1 << 17])
@pytest.mark.parametrize("kind", KINDS)
def test_john_ellipsoid(kind: str, few: int) -> None:
    A = contents(data(60))[kind]
    expected = lpgeom.john_ellipsoid(A)
    with on_the_device(few):
        found = lpgeom.john_ellipsoid(to_device(A))
        sent = lpgeom.john_ellipsoid(A, backend="cuda")
    agree(found, expected)
    agree(sent, expected)


def test_most_points_are_dropped() -> None:
    """Rounds on the device until few are left, and then on the host."""
    rng = np.random.default_rng(5)
    X = rng.standard_normal((3000, 4))
    X[:8] *= 30.0
    expected = lpgeom.min_volume_ellipsoid(X, eps=1e-8)
    for few in (0, 400):
        with on_the_device(few):
            agree(lpgeom.min_volume_ellipsoid(to_device(X), eps=1e-8), expected)


def test_points_that_no_longer_span_are_started_anew() -> None:
    """A device's Cholesky factorization would not say that it failed: the host's does."""
    X = np.random.default_rng(6).standard_normal((30, 3))
    u = np.zeros(30)
    u[0] = 1.0
    expected = _restart(X, u)
    with on_the_device():
        with pytest.raises(np.linalg.LinAlgError):
            variances(to_device(X), to_device(u))
        found = _restart(to_device(X), to_device(u))
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours.get(), theirs, rtol=RTOL, atol=RTOL)


@pytest.mark.parametrize("d", [1, 5])
def test_fantope_sums(d: int) -> None:
    G = data(d, d)
    G = G + G.T
    lam = np.linalg.eigvalsh(G)
    with on_the_device():
        assert smallest_sum(G, d // 2 + 1) == pytest.approx(lam[: d // 2 + 1].sum())
        assert largest_sum(G, d // 2 + 1) == pytest.approx(lam[d - d // 2 - 1 :].sum())


# ---------------------------------------------------------------- doors


CALLS: dict[str, Callable[..., Any]] = {
    "loewner_ellipsoid": lambda A, **o: lpgeom.loewner_ellipsoid(A, 1.0, **o),
    "loewner_ellipsoid at inf": lambda A, **o: lpgeom.loewner_ellipsoid(A, math.inf, **o),
    "lp_svd": lambda A, **o: lpgeom.lp_svd(A, 1.0, **o),
    "min_volume_ellipsoid": lpgeom.min_volume_ellipsoid,
    "john_ellipsoid": lpgeom.john_ellipsoid,
}


@pytest.mark.parametrize("name", list(CALLS))
def test_too_little_memory_says_what_would_fit(name: str) -> None:
    A = data(500, 10)
    with on_the_device(free=400_000):
        for given in (A, to_device(A)):
            with pytest.raises(MemoryError, match="rows would fit; backend=.cpu"):
                CALLS[name](given, backend="cuda")
    with on_the_device(free=600_000):
        CALLS[name](to_device(A))


@pytest.mark.parametrize("name", [*CALLS, "shallow-cut", "john"])
def test_memory_stays_within_what_is_asked_for(name: str) -> None:
    A = data(5000, 20)
    call = CALLS.get(name) or (lambda A: lpgeom.loewner_ellipsoid(A, 1.5, name, max_iter=20))
    with on_the_device():
        there = to_device(A)
        tracemalloc.start()
        call(there)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak <= dense.COPIES * A.nbytes


@pytest.mark.parametrize("name", list(CALLS))
def test_inputs_are_not_changed(name: str) -> None:
    A = data()
    with on_the_device():
        there = to_device(A)
        CALLS[name](there)
        np.testing.assert_array_equal(there.get(), A)


@pytest.mark.parametrize("name", list(CALLS))
@pytest.mark.parametrize(
    ("A", "error", "message"),
    [
        (np.ones((3, 2), bool), TypeError, "boolean"),
        (np.ones((3, 2), complex), TypeError, "real numbers"),
        (np.ones(3), ValueError, "two-dimensional"),
        (np.ones((0, 2)), ValueError, "empty"),
        (np.array([[1.0, np.nan], [0.0, 1.0]]), ValueError, r"\[0, 1\] is nan"),
    ],
)
def test_bad_input(name: str, A: Any, error: type[Exception], message: str) -> None:
    with on_the_device():
        for given in (to_device(A), A):
            with pytest.raises(error, match=message) as raised:
                CALLS[name](given, backend="cuda")
            assert str(raised.value).startswith("points" if name[:3] == "min" else "A")


@pytest.mark.parametrize("name", list(CALLS))
def test_backend_is_checked(name: str) -> None:
    with pytest.raises(ValueError, match="backend must be one of"):
        CALLS[name](data(), backend="gpu")


@pytest.mark.parametrize("name", list(CALLS))
def test_without_a_device_the_error_says_so(name: str) -> None:
    pytest.importorskip("numba_cuda")
    try:
        device.require()
    except (ImportError, RuntimeError):
        with pytest.raises((ImportError, RuntimeError), match="cuda"):
            CALLS[name](data(), backend="cuda")


@pytest.mark.parametrize("p", [1.0, math.inf])
def test_weights_are_checked(p: float) -> None:
    A = data()
    omega = np.ones(len(A))
    omega[3] = -1.0
    with on_the_device():
        with pytest.raises(ValueError, match=r"row_weights\[3\] is -1"):
            lpgeom.loewner_ellipsoid(to_device(A), p, row_weights=omega)
        with pytest.raises(ValueError, match="must have shape"):
            lpgeom.loewner_ellipsoid(to_device(A), p, row_weights=omega[1:])
        with pytest.raises(ValueError, match="^p must"):
            lpgeom.loewner_ellipsoid(to_device(A), 0.5)


def test_an_oracle_is_asked_on_the_host() -> None:
    def largest(x: Any) -> Any:
        i = int(np.argmax(np.abs(x)))
        return abs(x[i]), np.sign(x[i]) * np.eye(len(x))[i]

    with pytest.raises(ValueError, match="asked on the host"):
        lpgeom.loewner_ellipsoid(oracle=largest, dim=3, backend="cuda")
    lpgeom.loewner_ellipsoid(oracle=largest, dim=3, backend="cpu")
