"""Calls of the public functions with arrays of every kind, and what has to hold of the answer."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

import lpgeom

EPS = float(np.finfo(np.float64).eps)

REFUSALS = (TypeError, ValueError, OverflowError, NotImplementedError)

PS = (1.0, 1.0 + 1e-12, 1.3, 1.999, 2.0, 2.001, 3.0, 4.0, 8.0, 20.0, 100.0, math.inf)
BAD_PS: tuple[Any, ...] = (0.5, 101.0, -1.0, math.nan, True, "2", None, 1 + 0j, np.float32(1.5))
KINDS = ("gauss", "rank", "duplicates", "zero rows", "zeros", "long row", "scales", "integers",
         "constant", "one column", "subnormal")  # fmt: skip
BAD: tuple[Any, ...] = (
    np.nan, np.inf, -np.inf, "object", "text", "complex", "bool", "masked", "1d", "3d", "empty",
    "ragged", "None", "huge int",
)  # fmt: skip
SCALES = (1e-300, 1e-160, 1e-150, 1e-20, 1.0, 1e20, 1e150, 1e160, 1e300)
DTYPES = ("f8", "f8", "f4", "f2", ">f8", "g")
LAYOUTS = ("C", "F", "strided", "reversed", "read-only", "list")


def array(rng: np.random.Generator, kind: str, n: int, d: int) -> Any:
    """A matrix of one of KINDS."""
    A = rng.standard_normal((n, d))
    if kind == "rank":
        A = A[:, :1] @ rng.standard_normal((1, d))
    elif kind == "duplicates":
        A = A[rng.integers(0, max(1, n // 3), n)]
    elif kind == "zero rows":
        A[rng.random(n) < 0.5] = 0.0
    elif kind == "zeros":
        A[:] = 0.0
    elif kind == "long row":
        A[0] *= 10.0 ** rng.uniform(3.0, 20.0)
    elif kind == "scales":
        A *= 10.0 ** rng.uniform(-20.0, 20.0, (n, 1))
    elif kind == "integers":
        A = rng.integers(-3, 4, (n, d))
    elif kind == "constant":
        A[:] = 1.0
    elif kind == "one column":
        A[:, 1:] = 0.0
    elif kind == "subnormal":
        A *= 1e-310
    return A


def laid_out(A: Any, layout: str) -> Any:
    """The same matrix in another layout."""
    if layout == "F":
        return np.asfortranarray(A)
    if layout == "strided":
        return np.repeat(np.repeat(A, 2, 0), 3, 1)[::2, ::3]
    if layout == "reversed":
        return A[::-1, ::-1]
    if layout == "read-only":
        A = A.copy()
        A.flags.writeable = False
    return A.tolist() if layout == "list" else A


def spoilt(A: Any, bad: Any) -> Any:
    """A matrix that must be refused."""
    if isinstance(bad, float):
        A = A.astype(np.float64)
        A[-1, -1] = bad
        return A
    made: dict[str, Callable[[], Any]] = {
        "object": lambda: A.astype(object),
        "text": lambda: A.astype(str),
        "complex": lambda: A * 1j,
        "bool": lambda: A > 0,
        "masked": lambda: np.ma.masked_less(A, 0.0),
        "1d": lambda: A[0],
        "3d": lambda: A[None],
        "empty": lambda: A[:0],
        "ragged": lambda: [[1.0, 2.0], [3.0]],
        "None": lambda: None,
        "huge int": lambda: [[10**400, 1], [2, 3]],
    }
    return made[bad]()


@st.composite
def problems(draw: st.DrawFn) -> dict[str, Any]:
    """A matrix, k, p, row weights, and whether all of them are such as must be accepted."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    n, d = draw(st.integers(1, 30)), draw(st.integers(2, 8))
    A = array(rng, draw(st.sampled_from(KINDS)), n, d)
    good = True
    with np.errstate(all="ignore"):
        if A.dtype.kind == "f":
            A = (A * draw(st.sampled_from(SCALES))).astype(draw(st.sampled_from(DTYPES)))
        else:
            A = A.astype(draw(st.sampled_from(("i1", "i4", "i8", "f4"))))
    if draw(st.integers(0, 5)) == 0:
        A, good = spoilt(A, draw(st.sampled_from(BAD))), False
    else:
        good = bool(np.isfinite(A).all())
        A = laid_out(A, draw(st.sampled_from(LAYOUTS)))
    k: Any = draw(st.integers(1, max(1, d - 1)))
    p: Any = draw(st.sampled_from(PS))
    if draw(st.integers(0, 9)) == 0:
        k, good = draw(st.sampled_from((0, -1, d, 10**9, 1.0, True, "1", None))), False
    if draw(st.integers(0, 9)) == 0:
        p, good = draw(st.sampled_from(BAD_PS)), False
    w: Any = None
    kind = draw(st.sampled_from(("none", "none", "ones", "some zero", "wide", "tiny", "bad")))
    if kind == "ones":
        w = np.ones(n)
    elif kind == "some zero":
        w = (rng.random(n) < 0.5).astype(float)
        w[0] = 1.0
    elif kind == "wide":
        w = 10.0 ** rng.uniform(-150.0, 150.0, n)
    elif kind == "tiny":
        w = np.where(rng.random(n) < 0.5, 5e-324, 1.0)
        w[0] = 1.0
    elif kind == "bad":
        wrong = (np.zeros(n), -np.ones(n), np.ones(n + 1), np.full(n, np.nan), "x")
        w = draw(st.sampled_from(wrong))
        good = False
    return {"A": A, "k": k, "p": p, "w": w, "good": good}


def same(a: Any, b: Any) -> bool:
    """Whether an input is what it was, entry by entry."""
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.tobytes() == b.tobytes() if a.dtype != object else True
    return True if a is None or isinstance(a, str) else repr(a) == repr(b)


def quiet(call: Callable[[], Any], *inputs: Any) -> Any:
    """The result, or the refusal; no warning, floating-point errors raised, inputs unchanged."""
    before = [copy.deepcopy(x) for x in inputs]
    with warnings.catch_warnings(), np.errstate(all="raise", under="ignore"):
        warnings.simplefilter("error")
        try:
            found = call()
        except REFUSALS as error:
            found = error
        except FloatingPointError as error:
            raise AssertionError(f"a floating-point error escaped: {error}") from error
    assert not isinstance(found, Exception) or str(found), "an error without words"
    assert all(same(x, y) for x, y in zip(inputs, before, strict=True)), "an input was changed"
    return found


def independent(A: Any, V: Any, p: float, w: Any) -> tuple[Any, Any]:
    """The p-th root of the cost of a subspace, and of its rounding, in extended precision."""
    B, Q = np.asarray(A).astype(np.longdouble), V.astype(np.longdouble)
    Q = Q @ (1.5 * np.eye(Q.shape[1]) - 0.5 * (Q.T @ Q))  # orthonormal to the last digit
    rows = np.abs(B).max(axis=1)
    safe = np.where(rows > 0, rows, 1)[:, None]
    B = B / safe
    y = np.sqrt(((B - (B @ Q) @ Q.T) ** 2).sum(axis=1)) * safe[:, 0]
    off = 16 * np.finfo(float).eps * np.sqrt(len(V)) * np.sqrt((B * B).sum(axis=1)) * safe[:, 0]
    omega = np.ones(len(B)) if w is None else np.asarray(w)
    if math.isinf(p):
        used = omega > 0
        return (y * used).max(), (off * used).max()
    roots = omega.astype(np.longdouble) ** (1 / np.longdouble(p))
    top = max((y * roots).max(), (off * roots).max()) or 1
    total = [(((x * roots) / top) ** p).sum() ** (1 / np.longdouble(p)) * top for x in (y, off)]
    return total[0], total[1]


def check_subspace(problem: dict[str, Any], certify: Any) -> str:
    """``approx_subspace``: refused, or everything that it says holds."""
    A, k, p, w = (problem[name] for name in ("A", "k", "p", "w"))
    p = 1.0 if p is None else p  # the default
    r = quiet(lambda: lpgeom.approx_subspace(A, k, p, row_weights=w, certify=certify), A, w)
    if isinstance(r, Exception):
        assert not problem["good"] or isinstance(r, OverflowError), r
        return type(r).__name__
    k, p = int(k), float(p)
    assert np.abs(r.basis.T @ r.basis - np.eye(k)).max() < 1e-12
    assert r.cost >= 0.0
    assert r.norm_error >= 0.0
    assert r.ratio >= 1.0
    assert 0.0 <= r.lower_bound <= r.cost * (1 + 1e-12)
    assert r.guarantee >= 1.0
    norm, off = independent(A, r.basis, p, w)
    assert abs(r.norm_error - norm) <= 1e-9 * norm + off, (r.norm_error, norm, off)
    assert all(a >= b for a, b in zip(r.history, r.history[1:], strict=False))
    if r.certificate is not None:
        quiet(lambda: r.certificate.verify(np.asarray(A)))
        outcome = quiet(lambda: r.certificate.verify(np.asarray(A)), A)
        assert outcome is None, outcome
    return "ok"


def check_certify(problem: dict[str, Any]) -> str:
    """``certify`` and ``cost`` of a random subspace."""
    A, k, p, w = (problem[name] for name in ("A", "k", "p", "w"))
    if not problem["good"]:
        V: Any = np.eye(3, 1)
    else:
        V = np.random.default_rng(0).standard_normal((np.asarray(A).shape[1], k))
    c = quiet(lambda: lpgeom.certify(A, V, p, row_weights=w), A, V, w)
    cost = quiet(lambda: lpgeom.cost(A, V, p, row_weights=w), A, V, w)
    if isinstance(c, Exception):
        assert not problem["good"] or isinstance(c, OverflowError), c
        return type(c).__name__
    assert c.ratio >= 1.0
    assert c.lower_bound <= c.cost * (1 + 1e-12)
    outcome = quiet(lambda: c.verify(np.asarray(A)), A)
    assert outcome is None, outcome
    assert not isinstance(cost, Exception), cost
    if math.isfinite(cost) and cost > 1e-290:
        norm, off = independent(A, c.basis, float(p), w)
        root = c.cost if math.isinf(float(p)) else c.cost ** (1.0 / float(p))
        assert abs(root - norm) <= 1e-9 * norm + off, (c.cost, norm)
    return "ok"


def _condition(A: Any, w: Any, rank: int) -> float:
    """Ratio of the extreme singular values of the rows that count, up to their rank."""
    B = np.asarray(A, dtype=np.float64)
    B = B / (float(np.abs(B).max(initial=0.0)) or 1.0)
    if w is not None:
        omega = np.asarray(w, dtype=np.float64)
        B = B * np.sqrt(omega / omega.max())[:, None]
    s = np.linalg.svd(B, compute_uv=False)
    return float(s[0] / s[rank - 1]) if rank and s[rank - 1] > 0.0 else 1.0


def check_lewis(problem: dict[str, Any]) -> str:
    """``lewis_weights``."""
    A, p, w = problem["A"], problem["p"], problem["w"]
    r = quiet(lambda: lpgeom.lewis_weights(A, p, row_weights=w), A, w)
    if isinstance(r, Exception):
        allowed = not problem["good"] or isinstance(r, OverflowError) or math.isinf(p)
        assert allowed or not isinstance(problem["k"], int), r
        return type(r).__name__
    assert np.isfinite(r.weights).all()
    assert (r.weights >= 0.0).all()
    off = 1e-6
    if p == 2.0:  # leverages, as good as the condition of the rows allows
        off = min(0.1, max(off, 64.0 * EPS * sum(A.shape) * _condition(A, w, r.rank)))
    assert math.isclose(float(r.weights.sum()), r.rank, rel_tol=off, abs_tol=1e-12)
    assert r.kappa >= 1.0
    assert np.isfinite(r.M).all()
    return "ok"


def check_factors(problem: dict[str, Any]) -> str:
    """``approx_factors``."""
    A, k, p, w = (problem[name] for name in ("A", "k", "p", "w"))
    r = quiet(lambda: lpgeom.approx_factors(A, k, p, row_weights=w, max_iter=20), A, w)
    if isinstance(r, Exception):
        refused = not problem["good"] or isinstance(r, OverflowError) or math.isinf(float(p))
        assert refused, r
        return type(r).__name__
    assert r.ratio >= 1.0
    assert 0.0 <= r.lower_bound <= r.cost * (1 + 1e-12)
    assert r.cost <= r.svd_cost * (1 + 1e-9) or math.isinf(r.svd_cost)
    if r.certificate is not None:
        outcome = quiet(lambda: r.certificate.verify(np.asarray(A)), A)
        assert outcome is None, outcome
    return "ok"


def check_coreset(problem: dict[str, Any]) -> str:
    """``coreset``."""
    A, k, p, w = (problem[name] for name in ("A", "k", "p", "w"))
    r = quiet(lambda: lpgeom.coreset(A, size=5, p=p, k=k, row_weights=w), A, w)
    if isinstance(r, Exception):
        assert not problem["good"] or isinstance(r, OverflowError) or math.isinf(float(p)), r
        return type(r).__name__
    assert (r.weights > 0.0).all()
    assert np.isfinite(r.weights).all()
    assert (np.diff(r.indices) > 0).all()
    np.testing.assert_array_equal(r.rows, np.asarray(A)[r.indices].astype(r.rows.dtype))
    return "ok"


def check_ellipsoid(problem: dict[str, Any]) -> str:
    """``min_volume_ellipsoid`` and ``loewner_ellipsoid``."""
    A = problem["A"]
    r = quiet(lambda: lpgeom.min_volume_ellipsoid(A), A)
    if isinstance(r, Exception):
        return type(r).__name__
    inside = quiet(lambda: r.contains(np.asarray(A), 1e-6), A)
    assert not isinstance(inside, Exception), inside
    assert inside.all()
    return "ok"


CHECKS: dict[str, Callable[[dict[str, Any]], str]] = {
    "approx_subspace": lambda problem: check_subspace(problem, True),
    "approx_subspace, tight": lambda problem: check_subspace(problem, "tight"),
    "certify": check_certify,
    "lewis_weights": check_lewis,
    "approx_factors": check_factors,
    "coreset": check_coreset,
    "min_volume_ellipsoid": check_ellipsoid,
}
