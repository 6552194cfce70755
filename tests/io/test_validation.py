"""Bad input at the public door: what is wrong, and what is wanted."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import scipy.sparse

import lpgeom
from lpgeom.io import validation

A = np.random.default_rng(0).standard_normal((20, 4))
NAN = A.copy()
NAN[3, 2] = np.nan
INF = A.copy()
INF[19, 0] = -np.inf

MATRICES = [
    (scipy.sparse.csr_matrix(A), TypeError, r"pass A.toarray\(\)"),
    (scipy.sparse.coo_array(A), TypeError, r"pass A.toarray\(\)"),
    (np.ma.masked_array(A, A > 0), TypeError, "masked"),
    (A > 0, TypeError, "boolean"),
    (A + 0j, TypeError, "complex128"),
    (A.astype(object), TypeError, "object"),
    (A.astype("S5"), TypeError, "real numbers"),
    ("text", TypeError, "to use a file, read it first"),
    (None, TypeError, "real numbers"),
    ([[1, 2], [3]], TypeError, "cannot be read as an array"),
    (A[0], ValueError, r"two-dimensional .* shape \(4,\)"),
    (A[None], ValueError, r"two-dimensional .* shape \(1, 20, 4\)"),
    (np.zeros((0, 4)), ValueError, r"empty: shape \(0, 4\)"),
    (np.zeros((4, 0)), ValueError, r"empty: shape \(4, 0\)"),
    (NAN, ValueError, r"A\[3, 2\] is nan"),
    (INF, ValueError, r"A\[19, 0\] is -inf"),
    (NAN.astype(np.float32), ValueError, r"A\[3, 2\] is nan"),
]


@pytest.mark.parametrize(("bad", "error", "message"), MATRICES)
def test_matrices(bad: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        lpgeom.approx_subspace(bad, 2)
    with pytest.raises(error, match=message):
        lpgeom.lewis_weights(bad, 1.0)
    with pytest.raises(error, match=message):
        lpgeom.cost(bad, np.eye(4)[:, :2])
    with pytest.raises(error, match=message):
        lpgeom.certify(bad, np.eye(4)[:, :2])


@pytest.mark.parametrize(
    ("k", "error"),
    [
        (0, ValueError),
        (4, ValueError),
        (5, ValueError),
        (-1, ValueError),
        (2.0, TypeError),
        (True, TypeError),
        (np.True_, TypeError),
        ("2", TypeError),
        (None, TypeError),
        (np.nan, TypeError),
    ],
)
def test_k(k: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^k must (be an integer|lie between 1 and d - 1 = 3)"):
        lpgeom.approx_subspace(A, k)


@pytest.mark.parametrize(
    ("p", "error"),
    [
        (0.99, ValueError),
        (-1, ValueError),
        (np.nan, ValueError),
        (-np.inf, ValueError),
        (101, ValueError),
        (True, TypeError),
        ("1", TypeError),
        (1j, TypeError),
        ([1.0], TypeError),
    ],
)
def test_p(p: Any, error: type[Exception]) -> None:
    for call in (
        lambda: lpgeom.approx_subspace(A, 2, p),
        lambda: lpgeom.lewis_weights(A, p),
        lambda: lpgeom.cost(A, np.eye(4)[:, :2], p),
        lambda: lpgeom.certify(A, np.eye(4)[:, :2], p),
    ):
        with pytest.raises(error, match="^p must be"):
            call()


def test_no_p_means_one_where_p_has_a_default() -> None:
    found, one = (lpgeom.approx_subspace(A, 2, p, certify=False) for p in (None, 1.0))
    assert (found.p, found.cost) == (1.0, one.cost)
    for call in (
        lambda: lpgeom.lewis_weights(A, None),  # type: ignore[arg-type]
        lambda: lpgeom.cost(A, np.eye(4)[:, :2], None),  # type: ignore[arg-type]
        lambda: lpgeom.approx_factors(A, 2, None),  # type: ignore[arg-type]
    ):
        with pytest.raises(TypeError, match="^p must be"):
            call()


def test_infinite_p_only_where_it_has_a_meaning() -> None:
    with pytest.raises(ValueError, match="^p must be a finite number"):
        lpgeom.lewis_weights(A, np.inf)
    assert lpgeom.approx_subspace(A, 2, np.inf, certify=False).p == np.inf


def test_numbers_of_any_library_pass() -> None:
    for k in (2, np.int8(2), np.uint64(2)):
        assert validation.check_k(k, 4) == 2
    for p in (1, 1.0, np.float32(1.0), np.int64(1), Fraction(1)):
        assert validation.check_p(p) == 1.0


@pytest.mark.parametrize(
    ("w", "error", "message"),
    [
        (np.ones(19), ValueError, r"shape \(20,\), one per row, got \(19,\)"),
        (np.ones((20, 1)), ValueError, r"got \(20, 1\)"),
        (1.0, ValueError, r"got \(\)"),
        (-np.ones(20), ValueError, r"row_weights\[0\] is -1"),
        (np.full(20, np.inf), ValueError, "finite"),
        (np.full(20, np.nan), ValueError, "finite"),
        (np.zeros(20), ValueError, "all zero"),
        (np.ones(20, bool), TypeError, "dtype bool"),
        (["a"] * 20, TypeError, "real numbers"),
    ],
)
def test_weights(w: Any, error: type[Exception], message: str) -> None:
    for call in (
        lambda: lpgeom.approx_subspace(A, 2, row_weights=w),
        lambda: lpgeom.lewis_weights(A, 1.0, row_weights=w),
        lambda: lpgeom.cost(A, np.eye(4)[:, :2], row_weights=w),
        lambda: lpgeom.certify(A, np.eye(4)[:, :2], row_weights=w),
    ):
        with pytest.raises(error, match=message):
            call()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"objective": "cols"}, ValueError, "'rows', 'entries'; got 'cols'"),
        ({"objective": "entries", "method": "svd"}, ValueError, "entries"),
        ({"method": "magic"}, ValueError, "'auto', 'irls', 'lewis', 'svd'"),
        ({"backend": "tpu"}, ValueError, "backend"),
        ({"certify": "loose"}, ValueError, "certify"),
        ({"certify": None}, ValueError, "certify"),
        ({"seed": -1}, ValueError, "seed"),
        ({"seed": 0.5}, TypeError, "seed"),
        ({"seed": None}, TypeError, "seed"),
        ({"max_iter": 0}, ValueError, "max_iter"),
        ({"max_iter": 2.5}, TypeError, "max_iter"),
        ({"tol": 0.0}, ValueError, "tol"),
        ({"tol": np.nan}, ValueError, "tol"),
        ({"tol": "small"}, TypeError, "tol"),
    ],
)
def test_options(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        lpgeom.approx_subspace(A, 2, **options)


@pytest.mark.parametrize(
    ("basis", "error", "message"),
    [
        (np.eye(5)[:, :2], ValueError, r"shape \(d, k\) with d = 4"),
        (np.eye(4), ValueError, "between 1 and d - 1 = 3 columns, got 4"),
        (np.zeros((4, 0)), ValueError, "got 0"),
        (np.zeros((4, 2)), ValueError, "zero column"),
        (np.ones((4, 2)), ValueError, "linearly dependent"),
        (np.ones(4), ValueError, r"\(d, k\)"),
        (np.full((4, 2), np.nan), ValueError, "finite"),
        (np.eye(4)[:, :2] + 0j, TypeError, "real numbers"),
    ],
)
def test_bases(basis: Any, error: type[Exception], message: str) -> None:
    for call in (lpgeom.cost, lpgeom.certify):
        with pytest.raises(error, match=message):
            call(A, basis)


def test_any_basis_of_the_span_will_do() -> None:
    V = np.linalg.qr(np.random.default_rng(1).standard_normal((4, 2)))[0]
    want = lpgeom.cost(A, V)
    for B in (3e200 * V, V @ [[1.0, 1e-3], [1e-9, 1e-5]], V[:, ::-1], V.astype(np.float32)):
        assert lpgeom.cost(A, B) == pytest.approx(want, rel=1e-6)


def test_largest_entries() -> None:
    assert validation.largest_entries(np.array([[1, -7], [3, 4]])) == (7.0, 7.0)
    assert validation.largest_entries(np.full((3, 3), np.iinfo(np.int64).min)) == (2.0**63, 2.0**63)
    assert validation.largest_entries(np.zeros((3, 3))) == (0.0, 0.0)
    wide = np.zeros((3, 10), dtype=np.longdouble)
    wide[2, 1] = np.longdouble("1e400") if np.finfo(np.longdouble).maxexp > 2000 else np.inf
    with pytest.raises(ValueError, match="range of float64|finite"):
        validation.largest_entries(wide)


def test_tensors() -> None:
    torch = pytest.importorskip("torch")
    want = lpgeom.approx_subspace(A, 2).cost
    tensor = torch.tensor(A, requires_grad=True)
    assert lpgeom.approx_subspace(tensor, 2).cost == want
    rounded = torch.tensor(A, dtype=torch.bfloat16)
    assert lpgeom.approx_subspace(rounded, 2).cost == pytest.approx(want, rel=0.02)
