"""Ellipsoids around l_p balls and bodies: containment both ways, roundness, bounds on the work."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from operator import mul
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lpgeom
from lpgeom.geometry.ellipsoids.sandwich import norm_sandwich
from lpgeom.geometry.ellipsoids.shallow_cut import cut_ball, most_steps, step_decrease
from tests import reference
from tests.problems import KINDS, fixed, matrix

PS = (1.0, 1.3, 2.0, 3.0, 10.0, 100.0, math.inf)
METHODS = ("lewis", "shallow-cut", "john")


def norms(A: np.ndarray, X: np.ndarray, p: float) -> np.ndarray:
    """``||A x||_p`` for the rows x of X."""
    return np.array([reference.lp_norm(A @ x, p) for x in X])


def adversarial(A: np.ndarray, E: lpgeom.Ellipsoid, rng: np.random.Generator) -> np.ndarray:
    """Axes of E, eigenvectors, rows and their duals, vectors orthogonal to rows, random ones."""
    d = A.shape[1]
    inverse = np.linalg.pinv(E.shape, rcond=1e-10)
    rows = A[np.abs(A).sum(axis=1) > 0.0]
    orthogonal = []
    for _ in range(10):
        chosen = rows[rng.integers(0, len(rows), d - 1)] if d > 1 else rows[:1]
        orthogonal.append(np.linalg.svd(chosen)[2][-1])
    return np.concatenate(
        [E.axes.T, rows @ inverse, rows, orthogonal, np.eye(d), rng.standard_normal((10, d))]
    )


@pytest.mark.slow
@fixed
@given(
    st.sampled_from(KINDS),
    st.sampled_from(PS),
    st.sampled_from(METHODS),
    st.integers(1, 5),
    st.integers(0, 2**31),
)
def test_the_sandwich_holds(kind: str, p: float, method: str, d: int, seed: int) -> None:
    A = matrix(kind if d > 1 else "heavy", 20, d, seed)
    E = lpgeom.loewner_ellipsoid(A, p, method)
    r = int(np.linalg.matrix_rank(A))
    assert E.rank == r
    assert E.converged
    X = adversarial(A, E, np.random.default_rng(seed))
    size = np.linalg.norm(A, axis=1).sum() * np.linalg.norm(X, axis=1)
    inner, value = E.gauge(X), norms(A, X, p)
    assert (inner <= value * (1.0 + 1e-9) + 1e-12 * size).all()
    assert (value <= E.alpha * inner * (1.0 + 1e-9) + 1e-12 * size).all()
    quadratic = np.sqrt(np.maximum(np.einsum("ij,ij->i", X @ E.shape, X), 0.0))
    np.testing.assert_allclose(quadratic, inner, rtol=1e-6, atol=1e-7 * size.max())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("p", PS)
def test_roundness_is_what_theory_says(kind: str, p: float) -> None:
    A = matrix(kind, 40, 5, 11)
    r = float(np.linalg.matrix_rank(A))
    power = abs((0.0 if math.isinf(p) else 1.0 / p) - 0.5)
    lewis = lpgeom.loewner_ellipsoid(A, p, tol=1e-9)
    cut = lpgeom.loewner_ellipsoid(A, p, "shallow-cut")
    if kind == "rank deficient":  # but for the rounding of a product: nothing is proved of that
        assert lewis.alpha == cut.alpha == math.inf
        return
    assert lewis.alpha <= r**power * (1.0 + 1e-6)
    assert cut.alpha <= math.sqrt(r * (r + 1.0)) * (1.0 + 1e-6)
    assert lewis.alpha <= cut.alpha * (1.0 + 1e-6)


@fixed
@given(
    st.sampled_from(
        ["columns", "turned", "integers", "copies", "zero", "product", "wide", "light"]
    ),
    st.sampled_from([0, 6, 9, 12, 14, 15, 16, 20, 60]),
    st.sampled_from(PS),
    st.sampled_from(METHODS),
    st.integers(0, 2**31),
)
def test_alpha_is_true_at_any_condition(
    kind: str, orders: int, p: float, method: str, seed: int
) -> None:
    """In rational arithmetic, along the directions that float64 does not see most of all."""
    rng = np.random.default_rng(seed)
    A, omega = rng.standard_normal((40, 3)), None
    small = 10.0**-orders
    if kind in ("columns", "turned", "wide"):
        A *= [1.0, 1.0, small]
    if kind == "turned":
        A = A @ np.linalg.qr(rng.standard_normal((3, 3)))[0]
    elif kind == "integers":
        A = 1.0 * (rng.integers(-3, 4, (40, 2)) @ rng.integers(-3, 4, (2, 3)))
        A[0] = [1.0, 0.0, 0.0]
    elif kind == "copies":
        A[:, 2] = A[:, 0]
    elif kind == "zero":
        A[:, 1] = 0.0
    elif kind == "product":
        A = A[:, :2] @ rng.standard_normal((2, 3))
    elif kind == "wide":
        A = A[:2]
    elif kind == "light":
        A[20:, 2], omega = 0.0, np.repeat([small, 1.0], 20)
        A[:20, :2] = 0.0
    E = lpgeom.loewner_ellipsoid(A, p, method, row_weights=omega)
    assert kind not in ("columns", "copies", "zero", "wide") or E.alpha < 3.0
    assert kind != "product" or E.alpha == math.inf
    X = np.concatenate([np.linalg.svd(A)[2], np.eye(3), rng.standard_normal((9, 3))])
    if E.alpha == math.inf:
        return
    if np.linalg.matrix_rank(A / np.abs(A).max(axis=0, initial=1e-300)) < 3:
        X = X @ np.linalg.pinv(A) @ A  # the claim is about the space of the rows
    for x in X:
        value, gauge = exact_norm(A, x, p, omega), exact_norm(E.root, x, 2.0)
        assert gauge <= value * (1.0 + 1e-12)
        assert value <= E.alpha * gauge * (1.0 + 1e-12)


def exact_norm(A: Any, x: Any, p: float, omega: Any = None) -> float:
    """``(sum omega |A x|^p)^(1/p)`` over omega > 0, the products in rational arithmetic."""
    point = [Fraction(v) for v in x.tolist()]
    rows = ([Fraction(v) for v in row] for row in A.tolist())
    t = np.array([float(abs(sum(map(mul, row, point)))) for row in rows])
    weights = np.ones(len(t)) if omega is None else omega
    top = float(t[weights > 0.0].max())
    if math.isinf(p) or top == 0.0:
        return top
    return top * float((weights * (t / top) ** p).sum()) ** (1.0 / p)


@pytest.mark.parametrize("p", [1.0, 1.5, 3.0, math.inf])
def test_cubes_and_cross_polytopes(p: float) -> None:
    """A = I: the smallest ellipsoid is a ball, by symmetry; alpha = d^|1/p - 1/2| exactly."""
    d = 4
    E = lpgeom.loewner_ellipsoid(np.eye(d), p)
    inverse = 0.0 if math.isinf(p) else 1.0 / p
    np.testing.assert_allclose(E.alpha, d ** abs(inverse - 0.5), rtol=1e-9)
    radius = d ** max(0.0, 0.5 - inverse)  # of the smallest ball around the l_p ball
    np.testing.assert_allclose(E.lengths, radius, rtol=1e-9)


def test_john_at_infinity_touches_every_wall_of_a_polygon() -> None:
    """Regular hexagon: John's ellipse is the incircle; the ellipse around it is sqrt(2) times."""
    t = np.arange(3) * math.pi / 3
    A = np.stack([np.cos(t), np.sin(t)], axis=1)
    E = lpgeom.loewner_ellipsoid(A, math.inf, "john", tol=1e-9)
    np.testing.assert_allclose(E.lengths, math.sqrt(2.0), rtol=1e-6)
    assert E.alpha == pytest.approx(math.sqrt(2.0), rel=1e-6)


@pytest.mark.parametrize("p", [1.0, 1.7, 4.0, math.inf])
def test_shallow_cuts_against_the_dense_method(p: float) -> None:
    """Not the same cuts (columns of a factor there, eigenvectors here), but the same promise."""
    A = matrix("heavy", 60, 4, 2)
    B, steps = reference.shallow_cut(A, p)
    E = lpgeom.loewner_ellipsoid(A, p, "shallow-cut")
    assert (steps > 0) == (E.n_iter > 0)
    for shape in (np.linalg.inv(B), E.shape):
        rng = np.random.default_rng(0)
        X = rng.standard_normal((200, 4))
        ratio = norms(A, X, p) / np.sqrt(np.einsum("ij,ij->i", X @ shape, X))
        assert ratio.min() >= 1.0 - 1e-9
        assert ratio.max() <= math.sqrt(20.0)


@fixed
@given(st.integers(2, 6), st.sampled_from(PS), st.integers(0, 2**31))
def test_every_cut_keeps_the_ball_and_lowers_the_volume(d: int, p: float, seed: int) -> None:
    A = matrix("heavy", 30, d, seed)
    U, s, _ = np.linalg.svd(A, full_matrices=False)
    if s[-1] <= 1e-9 * s[0]:
        return
    X = np.random.default_rng(seed).standard_normal((50, d))
    X /= norms(U, X, p)[:, None]
    last = None
    for steps in range(1, 6):
        cut = cut_ball(U, p, steps)
        assert np.linalg.norm(np.linalg.solve(cut.L, X.T), axis=0).max() <= 1.0 / cut.lower
        volume = float(np.linalg.slogdet(cut.L)[1])
        if last is not None and cut.n_iter == steps:
            assert volume <= last - step_decrease(d) + 1e-12
        last = volume
    whole = cut_ball(U, p)
    inverse = 0.0 if math.isinf(p) else 1.0 / p
    assert whole.converged
    assert whole.n_iter <= most_steps(d, abs(inverse - 0.5) * math.log(30) + 1e-6)


@pytest.mark.parametrize("d", [2, 3, 10, 1000])
def test_a_cut_lowers_the_volume_by_a_known_amount(d: int) -> None:
    assert step_decrease(d) >= 1.0 / (4.0 * (d + 1) ** 2)


@fixed
@given(st.integers(1, 4), st.sampled_from(PS), st.integers(0, 2**31))
def test_norm_sandwich_for_any_matrix_and_weights(d: int, p: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    B = rng.standard_t(1, (15, d))
    got = norm_sandwich(B, p, weights=(rng.exponential(size=15),))
    Y = np.concatenate([B, np.linalg.svd(B)[2], rng.standard_normal((30, d))])
    ratio = norms(B, Y, p) / np.linalg.norm(Y, axis=1)
    assert got.lower <= ratio.min() * (1.0 + 1e-12)
    assert ratio.max() <= got.upper * (1.0 + 1e-12)


def test_row_weights() -> None:
    A = matrix("gauss", 20, 3, 0)
    omega = np.random.default_rng(1).exponential(size=20)
    for p in (1.0, 3.0):
        one = lpgeom.loewner_ellipsoid(A, p, row_weights=omega)
        two = lpgeom.loewner_ellipsoid(reference.weighted(A, omega, p), p)
        np.testing.assert_allclose(one.shape, two.shape, rtol=1e-6)
        one.verify(A, row_weights=omega, starts=4)
    omega[:10] = 0.0
    one = lpgeom.loewner_ellipsoid(A, math.inf, row_weights=omega)
    np.testing.assert_allclose(
        one.shape, lpgeom.loewner_ellipsoid(A[10:], math.inf).shape, rtol=1e-6
    )


@pytest.mark.parametrize("scale", [1e-140, 1e-3, 1e140])
@pytest.mark.parametrize("method", METHODS)
def test_scaling(scale: float, method: str) -> None:
    A = matrix("heavy", 30, 3, 4)
    one = lpgeom.loewner_ellipsoid(A, 1.0, method)
    other = lpgeom.loewner_ellipsoid(A * scale, 1.0, method)
    np.testing.assert_allclose(other.shape / scale / scale, one.shape, rtol=1e-9)
    assert other.alpha == pytest.approx(one.alpha, rel=1e-9)


def test_out_of_range() -> None:
    with pytest.raises(OverflowError, match="squared units"):
        lpgeom.loewner_ellipsoid(np.eye(2) * 1e200, 1.0)
    with pytest.raises(OverflowError, match="squared units"):
        lpgeom.loewner_ellipsoid(np.eye(2) * 1e-200, 1.0)


@pytest.mark.parametrize("condition", [1e4, 1e8])
def test_ill_conditioned(condition: float) -> None:
    rng = np.random.default_rng(3)
    A = rng.standard_normal((60, 4)) * np.geomspace(1.0, 1.0 / condition, 4)
    E = lpgeom.loewner_ellipsoid(A, 1.0)
    assert E.alpha <= 2.0 * (1.0 + 1e-3)
    E.verify(A, starts=8)


def test_beyond_the_reach_of_rounding() -> None:
    """Axes so far apart that float64 sees little of the short one: alpha says what is left."""
    rng = np.random.default_rng(3)
    A = rng.standard_normal((60, 3)) * np.array([1.0, 1e-7, 3e-14])
    assert lpgeom.loewner_ellipsoid(A, 1.0).alpha <= (1.0 + 1e-6) * math.sqrt(3.0)  # other units
    A = A @ np.linalg.qr(rng.standard_normal((3, 3)))[0]
    E = lpgeom.loewner_ellipsoid(A, 1.0)
    assert E.rank == 3
    assert E.alpha > 1.001 * math.sqrt(3.0)


def test_zero_matrix() -> None:
    E = lpgeom.loewner_ellipsoid(np.zeros((4, 2)), 1.0)
    assert (E.rank, E.alpha, E.log_volume) == (0, 1.0, math.inf)


def test_input_is_left_alone_and_layout_does_not_matter() -> None:
    A = matrix("gauss", 40, 4, 5)
    kept = A.copy()
    want = lpgeom.loewner_ellipsoid(A, 1.0, "shallow-cut")
    np.testing.assert_array_equal(A, kept)
    wide = np.zeros((80, 8))
    wide[::2, ::2] = A
    got = lpgeom.loewner_ellipsoid(wide[::2, ::2], 1.0, "shallow-cut")
    np.testing.assert_allclose(got.shape, want.shape, rtol=1e-9)
    single = lpgeom.loewner_ellipsoid(A.astype(np.float32), 1.0, "shallow-cut")
    np.testing.assert_allclose(single.shape, want.shape, rtol=1e-2)


def test_a_limit_on_steps_leaves_alpha_true() -> None:
    A = matrix("heavy", 100, 6, 1)
    for method in METHODS:
        E = lpgeom.loewner_ellipsoid(A, 1.0, method, max_iter=1)
        assert not E.converged
        E.verify(A, starts=8)


# ---- bodies given by an oracle


def oracle_of(A: np.ndarray, p: float):  # type: ignore[no-untyped-def]
    def oracle(x: np.ndarray) -> tuple[float, np.ndarray]:
        return reference.lp_norm(A @ x, p), reference.lp_subgradient(A, x, p)

    return oracle


@fixed
@given(
    st.sampled_from(("gauss", "heavy", "scales")),
    st.sampled_from((1.0, 1.5, 4.0, math.inf)),
    st.integers(1, 4),
    st.integers(0, 2**31),
)
def test_a_body_by_its_gauge(kind: str, p: float, d: int, seed: int) -> None:
    A = matrix(kind, 12, d, seed)
    E = lpgeom.loewner_ellipsoid(oracle=oracle_of(A, p), dim=d)
    assert E.converged
    assert E.p is None
    assert E.alpha <= max(1.0, math.sqrt(d * (d + 1.0))) * (1.0 + 1e-9)
    X = adversarial(A, E, np.random.default_rng(seed))
    size = np.linalg.norm(A, axis=1).sum() * np.linalg.norm(X, axis=1)
    inner, value = E.gauge(X), norms(A, X, p)
    assert (inner <= value * (1.0 + 1e-9) + 1e-12 * size).all()
    assert (value <= E.alpha * inner * (1.0 + 1e-9) + 1e-12 * size).all()


def test_nuclear_norm_ball() -> None:
    """A body that no finite list of rows gives: 2 x 2 matrices of nuclear norm at most 1."""

    def nuclear(x: np.ndarray) -> tuple[float, np.ndarray]:
        U, s, Vt = np.linalg.svd(x.reshape(2, 2))
        return float(s.sum()), (U @ Vt).ravel()

    E = lpgeom.loewner_ellipsoid(oracle=nuclear, dim=4)
    for signs in itertools.product((-1.0, 1.0), repeat=4):
        g = nuclear(np.array(signs))[0]
        assert E.gauge(signs) <= g * (1.0 + 1e-9) <= E.alpha * E.gauge(signs) * (1.0 + 2e-9)
    with pytest.raises(ValueError, match="not about the ball"):
        E.verify(np.eye(4))


@pytest.mark.parametrize(
    ("oracle", "error", "words"),
    [
        (lambda x: 1.0, TypeError, "must return"),
        (lambda x: (1.0, np.zeros(2)), ValueError, "expected"),
        (lambda x: (math.nan, np.zeros(3)), ValueError, "finite"),
        (lambda x: (-1.0, -x), ValueError, "finite and >= 0"),
        (lambda x: (float(np.abs(x).sum()), x), ValueError, "not the gauge"),
        (lambda x: (abs(float(x[0])), np.sign(x[0]) * np.eye(3)[0]), ValueError, "unbounded"),
    ],
)
def test_oracles_that_break_the_promise(oracle, error, words) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match=words):
        lpgeom.loewner_ellipsoid(oracle=oracle, dim=3)


@pytest.mark.parametrize(
    ("args", "options", "words"),
    [
        ((), {}, "pass A and p"),
        ((np.eye(2),), {}, "pass A and p"),
        ((np.eye(2), 1.0), {"dim": 2}, "dim goes with"),
        ((np.eye(2), 1.0), {"oracle": abs, "dim": 2}, "either A and p"),
        ((), {"oracle": abs}, "needs dim"),
        ((None, None, "lewis"), {"oracle": abs, "dim": 2}, "shallow-cut"),
        ((np.eye(2), 1.0, "best"), {}, "method must be one of"),
        ((np.eye(2), 0.5), {}, "p must be"),
        ((np.full((2, 2), np.nan), 1.0), {}, "finite"),
        ((np.eye(2), 1.0), {"tol": 0.0}, "tol"),
        ((np.eye(2), 1.0), {"max_iter": 0}, "max_iter"),
    ],
)
def test_bad_input(args, options, words) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=words):
        lpgeom.loewner_ellipsoid(*args, **options)


@pytest.mark.parametrize("method", ["lewis", "john"])
def test_beyond_float64_nothing_is_proved_and_the_ball_is_still_inside(method: str) -> None:
    rng = np.random.default_rng(0)
    A = rng.standard_normal((40, 4)) * [1.0, 1e-5, 1e-10, 1e-14]
    A = A @ np.linalg.qr(rng.standard_normal((4, 4)))[0]  # no units of columns undo it
    E = lpgeom.loewner_ellipsoid(A, 16.0, method)
    assert E.alpha == math.inf
    assert E.verify(A).lowest >= 1.0 - 1e-9
