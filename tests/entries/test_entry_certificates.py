"""Certificates for entries: genuine ones pass the independent check, doctored ones fail by name."""

from __future__ import annotations

import dataclasses
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lpgeom
from lpgeom.entries.problem import open_entries
from lpgeom.records.factors import EntriesBlock, EntriesBound, EntriesCertificate, FactorResult
from tests.records.make_files import FOLDER
from tests.records.test_storage import rewrite

POWERS = (1.0, 1.5, 2.0, 3.0)


def problem(seed: int = 0, n: int = 24, d: int = 8) -> dict[str, Any]:
    """Data with row weights, entry weights and missing entries."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, 2)) @ rng.standard_normal((2, d)) + 0.3 * rng.standard_normal(
        (n, d)
    )
    A[rng.random(A.shape) < 0.05] *= 20.0
    A[2, 3] = A[5, 0] = np.nan
    omega = 0.5 + rng.random(n)
    omega[7] = 0.0
    return {"A": A, "omega": omega, "W": 0.2 + rng.random((n, d))}


def solved(p: float = 1.0, **options: Any) -> tuple[Any, FactorResult]:
    """(A, result) of the problem with everything in it."""
    data = problem(**options)
    result = lpgeom.approx_factors(
        data["A"], 2, p, row_weights=data["omega"], entry_weights=data["W"], missing="ignore"
    )
    return data["A"], result


def certificate_of(result: FactorResult) -> EntriesCertificate:
    assert result.certificate is not None
    return result.certificate


def naive_cost(result: FactorResult, A: Any, omega: Any = None, W: Any = None) -> float:
    """In plain NumPy, missing entries left out."""
    weights = np.ones(A.shape) if W is None else np.broadcast_to(W, A.shape).astype(float)
    weights = weights * (np.ones(len(A)) if omega is None else omega)[:, None]
    r = np.abs(np.where(np.isnan(A), 0.0, A) - result.left @ result.right) ** result.p
    return float((np.where(np.isnan(A), 0.0, weights) * r).sum())


# ---------------------------------------------------------------- genuine ones


@pytest.mark.slow
@pytest.mark.parametrize("p", POWERS)
def test_genuine_certificates_pass(p: float) -> None:
    A, result = solved(p)
    certificate = certificate_of(result)
    assert {bound.axis for bound in certificate.bounds} == {"rows", "columns"}
    assert 0.0 < result.lower_bound <= result.cost
    certificate.verify(A)
    data = problem()
    stated = naive_cost(result, A, data["omega"], data["W"])
    np.testing.assert_allclose(result.cost, stated, rtol=1e-10)
    text = certificate.table()
    assert all(bound.name in text for bound in certificate.bounds)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_at_the_ends_of_the_range(scale: float) -> None:
    A = scale * np.nan_to_num(problem()["A"])
    result = lpgeom.approx_factors(A, 2)
    one = lpgeom.approx_factors(A / scale, 2)
    np.testing.assert_allclose(result.cost / scale, one.cost, rtol=1e-6)
    certificate_of(result).verify(A)


# ---------------------------------------------------------------- doctored ones


@pytest.fixture(scope="module")
def genuine() -> tuple[Any, EntriesCertificate]:
    A, result = solved()
    return A, certificate_of(result)


def refuses(A: Any, certificate: EntriesCertificate, words: str, **changes: Any) -> None:
    with pytest.raises(lpgeom.CertificateError, match=words):
        dataclasses.replace(certificate, **changes).verify(A)


@pytest.mark.slow
def test_statements_that_cannot_be(genuine: tuple[Any, EntriesCertificate]) -> None:
    A, c = genuine
    refuses(A, c, "cost is stated", scaled_cost=c.scaled_cost * (1.0 + 1e-6))
    refuses(A, c, "cost is stated", scaled_cost=c.scaled_cost * (1.0 - 1e-6))
    refuses(A, c, "cost is stated", scaled_cost=float("nan"))
    refuses(A, c, "cost is stated", left=c.left + 1e-3)
    refuses(A, c, "not finite", left=np.where(c.left == c.left[0, 0], np.nan, c.left))
    refuses(A, c, "shapes", right=c.right[:1])
    refuses(A, c, "for shape", shape=(25, 8))
    refuses(A, c, "unit", unit=0.0)
    refuses(A, c, "is for p", unit=2.0 * c.unit, scaled_cost=c.scaled_cost / 2.0)
    refuses(A, c, "is not a number >= 1", p=0.5)
    refuses(A, c, "row weights", row_weights=-np.ones(24))
    refuses(A, c, "entry weights", entry_weights=np.ones((24, 7)))
    refuses(A, c, "does not speak of missing", missing="raise")
    refuses(A[:, :7], c, "A has")
    refuses(np.array([["a"]]), c, "real numbers")


@pytest.mark.slow
def test_other_data(genuine: tuple[Any, EntriesCertificate]) -> None:
    A, c = genuine
    changed = A.copy()
    changed[0, 0] += 0.01
    refuses(changed, c, "cost is stated")
    filled = np.nan_to_num(A)
    refuses(filled, c, "cost is stated")


def with_block(bound: EntriesBound, index: int = 0, **changes: Any) -> EntriesBound:
    blocks = list(bound.blocks)
    blocks[index] = dataclasses.replace(blocks[index], **changes)
    return dataclasses.replace(bound, blocks=tuple(blocks))


def groups_of(c: EntriesCertificate) -> EntriesBound:
    """A bound of several blocks."""
    return next(bound for bound in c.bounds if len(bound.blocks) > 1 and bound.axis == "rows")


def test_blocks_that_do_not_fit(genuine: tuple[Any, EntriesCertificate]) -> None:
    A, c = genuine
    bound = groups_of(c)
    first, second = bound.blocks[:2]
    twice = dataclasses.replace(bound, blocks=(first, first))
    refuses(A, c, "counts an index twice", bounds=(twice,))
    shared = second.indices.copy()
    shared[0] = first.indices[0]
    refuses(A, c, "counts an index twice", bounds=(with_block(bound, 1, indices=shared),))
    repeated = first.indices.copy()
    repeated[0] = repeated[1]
    refuses(A, c, "no valid indices", bounds=(with_block(bound, 0, indices=repeated),))
    for outside in (-1, 8):
        far = first.indices.copy()
        far[0] = outside
        refuses(A, c, "no valid indices", bounds=(with_block(bound, 0, indices=far),))
    empty = np.empty(0, dtype=np.intp)
    refuses(A, c, "no valid indices", bounds=(with_block(bound, 0, indices=empty),))
    floats = first.indices.astype(float)
    refuses(A, c, "no valid indices", bounds=(with_block(bound, 0, indices=floats),))
    fewer = first.indices[:-1]
    refuses(A, c, "another problem", bounds=(with_block(bound, 0, indices=fewer),))
    refuses(A, c, "axis", bounds=(dataclasses.replace(bound, axis="diagonal"),))
    refuses(A, c, "no valid|another problem", bounds=(dataclasses.replace(bound, axis="columns"),))
    refuses(A, c, "is for p", bounds=(dataclasses.replace(bound, p=1.5),))


def test_weights_that_are_too_large(genuine: tuple[Any, EntriesCertificate]) -> None:
    A, c = genuine
    bound = groups_of(c)
    inner = bound.blocks[0].certificate
    assert inner.row_weights is not None
    heavier = dataclasses.replace(inner, row_weights=inner.row_weights * (1.0 + 1e-9))
    refuses(A, c, "more than its weight", bounds=(with_block(bound, 0, certificate=heavier),))
    unweighted = dataclasses.replace(inner, row_weights=None)
    refuses(A, c, "more than its weight", bounds=(with_block(bound, 0, certificate=unweighted),))
    # One entry of weight 0 is enough to spoil a block in which its row counted.
    W = np.array(c.entry_weights)
    row = int(np.flatnonzero(inner.row_weights)[0])
    W[row, bound.blocks[0].indices[0]] = 0.0
    with pytest.raises(lpgeom.CertificateError):
        dataclasses.replace(c, entry_weights=W).verify(A)


def test_inner_bounds_that_are_too_large(genuine: tuple[Any, EntriesCertificate]) -> None:
    A, c = genuine
    bound = groups_of(c)
    inner = bound.blocks[0].certificate
    lifted = tuple(
        dataclasses.replace(b, scaled_value=b.scaled_value * (1.0 + 1e-6)) for b in inner.bounds
    )
    certificate = dataclasses.replace(inner, bounds=lifted)
    refuses(A, c, ".", bounds=(with_block(bound, 0, certificate=certificate),))
    swapped = EntriesBlock(bound.blocks[1].indices, inner)
    refuses(A, c, ".", bounds=(dataclasses.replace(bound, blocks=(swapped,)),))


# ---------------------------------------------------------------- exact optima


def signs(n: int) -> Any:
    """All sign vectors of length n, up to their own sign."""
    return np.array([(1.0, *rest) for rest in product((-1.0, 1.0), repeat=n - 1)])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("n", "d"), [(2, 3), (4, 4), (5, 4), (3, 6)])
def test_rank_one_sign_matrices(n: int, d: int, seed: int) -> None:
    """Entries +-1, p = 1: the optimum is ``n d - max over signs u of ||A^T u||_1``.

    A best rank-1 matrix has entries in [-1, 1] (Gillis and Vavasis, "On the complexity of robust
    PCA and l1-norm low-rank matrix approximation", 2018): it is then a sign matrix u v^T, which
    differs by 2 where signs do, and ``n d - u^T A v`` is least at ``v = sign(A^T u)``.
    """
    A = np.where(np.random.default_rng(seed).random((n, d)) < 0.5, -1.0, 1.0)
    optimum = n * d - np.abs(signs(n) @ A).sum(axis=1).max()
    result = lpgeom.approx_factors(A, 1)
    assert result.lower_bound <= optimum * (1.0 + 1e-9) + 1e-9
    np.testing.assert_allclose(result.cost, optimum, rtol=1e-7, atol=1e-7)


def weighted_median_fit(A: Any, v: Any) -> float:
    """Least l_1 cost over u of ``|A - u v^T|``, exactly: one weighted median for each row."""
    total = 0.0
    support = v != 0.0
    for a in A:
        total += np.abs(a[~support]).sum()
        x = a[support] / v[support]
        weight = np.abs(v[support])
        order = np.argsort(x)
        half = np.searchsorted(np.cumsum(weight[order]), weight.sum() / 2.0)
        best = x[order][min(half, len(x) - 1)]
        total += np.abs(a[support] - best * v[support]).sum()
    return float(total)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_rank_one_vertices(seed: int) -> None:
    """n x 2, p = 1: with ``v = (1, t)``, row i costs ``|a_i2 - t a_i1|`` for ``|t| <= 1``.

    So the sum is piecewise linear in t there, and likewise in 1/t beyond: least where t is the
    slope of some row, or 1, or -1.
    """
    A = np.random.default_rng(seed).standard_normal((7, 2))
    candidates = [*A, np.array([1.0, 1.0]), np.array([1.0, -1.0])]
    optimum = min(weighted_median_fit(A, v) for v in candidates)
    result = lpgeom.approx_factors(A, 1)
    assert result.lower_bound <= optimum * (1.0 + 1e-9)
    np.testing.assert_allclose(result.cost, optimum, rtol=1e-7)


# ---------------------------------------------------------------- invariances and weights


@pytest.mark.slow
@pytest.mark.parametrize("p", POWERS)
@pytest.mark.parametrize("seed", range(3))
def test_invariances(p: float, seed: int) -> None:
    """Transpose, signs, order and scale: the same optimum, here one that is found.

    At p = 1 the search ends where no factor alone can be improved, in one of several such corners.
    """
    rng = np.random.default_rng(seed)
    A = np.outer(rng.standard_normal(8), rng.standard_normal(5))
    A += 0.05 * rng.standard_normal(A.shape)
    base = lpgeom.approx_factors(A, 1, p, certify=False).norm_error
    signed = A * np.where(rng.random(8) < 0.5, -1.0, 1.0)[:, None]
    shuffled = A[rng.permutation(8)][:, rng.permutation(5)]
    for other, scale in ((A.T, 1.0), (signed, 1.0), (shuffled, 1.0), (37.0 * A, 37.0)):
        found = lpgeom.approx_factors(other, 1, p, certify=False).norm_error
        np.testing.assert_allclose(found, scale * base, rtol=1e-3 if p == 1.0 else 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("p", POWERS)
def test_masks_and_missing_entries_are_one(p: float) -> None:
    rng = np.random.default_rng(3)
    A = rng.standard_normal((20, 6))
    there = rng.random(A.shape) > 0.2
    options: dict[str, Any] = {"certify": False}
    a = lpgeom.approx_factors(np.where(there, A, np.nan), 2, p, missing="ignore", **options)
    b = lpgeom.approx_factors(A, 2, p, entry_weights=there, **options)
    c = lpgeom.approx_factors(np.where(there, A, 1e9), 2, p, entry_weights=there, **options)
    np.testing.assert_array_equal(a.left, b.left)
    np.testing.assert_allclose(b.cost, naive_cost(b, A, W=there), rtol=1e-10)
    # What is not there is read by nobody but the scaling.
    np.testing.assert_allclose(c.cost, b.cost, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("p", [8.0, 100.0])
def test_missing_entries_cost_nothing_though_their_powers_overflow(p: float) -> None:
    """Few entries are there: a fit may be 10^6 where nothing is, and that to the p-th infinite."""
    rng = np.random.default_rng(0)
    A = rng.standard_normal((14, 6))
    A[rng.random(A.shape) < 0.8] = np.nan
    result = lpgeom.approx_factors(A, 2, p, missing="ignore", certify=False, max_iter=10)
    assert result.cost <= result.svd_cost
    entries = open_entries([[1.0, np.nan], [0.5, 1.0]], 1, p, None, None, "ignore")
    there = np.abs(entries.B[:, 0] - [1.0, 0.0]) ** p
    far = entries.cost(np.array([[1.0], [0.0]]), np.array([[1.0, 1e6]]))
    assert far == pytest.approx(there.sum() + abs(entries.B[1, 1]) ** p)


@pytest.mark.slow
@pytest.mark.parametrize("p", POWERS)
def test_row_weights_are_repetitions(p: float) -> None:
    rng = np.random.default_rng(4)
    A = np.outer(rng.standard_normal(9), rng.standard_normal(5)) + 0.1 * rng.standard_normal((9, 5))
    times = rng.integers(1, 4, size=9)
    weighted = lpgeom.approx_factors(A, 1, p, row_weights=times, certify=False)
    repeated = lpgeom.approx_factors(np.repeat(A, times, axis=0), 1, p, certify=False)
    by_entry = lpgeom.approx_factors(A, 1, p, entry_weights=times[:, None] * np.ones((1, 5)))
    np.testing.assert_allclose(weighted.cost, naive_cost(weighted, A, times), rtol=1e-10)
    np.testing.assert_allclose(weighted.cost, repeated.cost, rtol=1e-6)
    np.testing.assert_allclose(weighted.cost, by_entry.cost, rtol=1e-6)
    certificate_of(by_entry).verify(A)


@pytest.mark.slow
@pytest.mark.parametrize("p", POWERS)
def test_the_a_priori_guarantee(p: float) -> None:
    """Theorem of theory 2: the Lewis projection is within `guarantee` of every rank-k matrix."""
    rng = np.random.default_rng(5)
    A = rng.standard_t(1.5, (30, 6))
    lewis = lpgeom.approx_subspace(A, 2, p, method="lewis", certify=False).basis
    projection = lpgeom.cost(A, lewis, p, objective="entries") ** (1.0 / p)
    result = lpgeom.approx_factors(A, 2, p)
    assert result.norm_error <= projection * (1.0 + 1e-9)
    assert projection <= result.guarantee * result.norm_error
    assert result.guarantee <= 6.0 ** abs(2.0 / p - 1.0) * 1.01  # kappa of the weights


def test_objective_entries_is_approx_factors() -> None:
    A = np.nan_to_num(problem()["A"])
    one = lpgeom.approx_subspace(A, 2, 1.5, objective="entries", seed=3)
    other = lpgeom.approx_factors(A, 2, 1.5, seed=3)
    assert isinstance(one, FactorResult)
    np.testing.assert_array_equal(one.left, other.left)
    assert (one.objective, one.lower_bound) == ("entries", other.lower_bound)
    assert one.basis.shape == (8, 2)


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"missing": "drop"}, ValueError, "missing"),
    ({"entry_weights": np.ones((24, 7))}, ValueError, "entry_weights"),
    ({"entry_weights": -np.ones((24, 8))}, ValueError, "entry_weights"),
    ({"entry_weights": np.full((24, 8), np.nan)}, ValueError, "entry_weights"),
    ({"entry_weights": np.full((24, 8), np.inf)}, ValueError, "entry_weights"),
    ({"entry_weights": np.zeros((24, 8))}, ValueError, "no entry counts|all zero"),
    ({"entry_weights": np.ones((24, 8), dtype=complex)}, TypeError, "entry_weights"),
    ({"entry_weights": [["a"] * 8] * 24}, TypeError, "entry_weights"),
    ({"row_weights": np.ones(3)}, ValueError, "row_weights"),
]


@pytest.mark.parametrize(("options", "error", "words"), BAD)
def test_bad_keywords(options: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        lpgeom.approx_factors(np.nan_to_num(problem()["A"]), 2, **options)


def test_bad_data() -> None:
    A = problem()["A"]
    with pytest.raises(ValueError, match=r"A\[2, 3\] is nan"):
        lpgeom.approx_factors(A, 2)
    with pytest.raises(ValueError, match="no entry counts"):
        lpgeom.approx_factors(np.full((5, 4), np.nan), 2, missing="ignore")
    infinite = np.nan_to_num(A)
    infinite[1, 1] = np.inf
    with pytest.raises(ValueError, match=r"A\[1, 1\] is inf"):
        lpgeom.approx_factors(infinite, 2, missing="ignore")


@pytest.mark.slow
@pytest.mark.parametrize("turn", [np.asfortranarray, lambda A: A[::-1, ::-1], np.float32, np.int64])
def test_layouts_and_types(turn: Any) -> None:
    A = turn(np.round(10.0 * np.nan_to_num(problem(n=15)["A"])))
    before = A.copy()
    result = lpgeom.approx_factors(A, 2)
    np.testing.assert_array_equal(A, before)
    np.testing.assert_allclose(result.cost, naive_cost(result, np.asarray(A, float)), rtol=1e-10)
    certificate_of(result).verify(A)


@pytest.mark.slow
def test_zero_rows_columns_and_duplicates() -> None:
    A = np.nan_to_num(problem(n=12)["A"])
    A[3] = 0.0
    A[:, 5] = 0.0
    A = np.vstack([A, A, A[:2]])
    for p in (1.0, 3.0):
        result = lpgeom.approx_factors(A, 3, p)
        np.testing.assert_allclose(result.cost, naive_cost(result, A), rtol=1e-10)
        certificate_of(result).verify(A)
    nothing = lpgeom.approx_factors(np.zeros((4, 3)), 1)
    assert (nothing.cost, nothing.ratio) == (0.0, 1.0)


# ---------------------------------------------------------------- files


@pytest.mark.slow
def test_round_trip(tmp_path: Path) -> None:
    A, result = solved(1.5)
    path = tmp_path / "r.npz"
    result.save(path)
    loaded = FactorResult.load(path)
    assert loaded.to_dict() == result.to_dict()
    for name in ("left", "right"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(result, name))
    certificate_of(loaded).verify(A)
    assert certificate_of(loaded).lower_bound == result.lower_bound
    bare = dataclasses.replace(result, certified=False)
    bare.save(path)
    assert FactorResult.load(path).certificate is None


@pytest.mark.slow
def test_damaged_files(tmp_path: Path) -> None:
    _, result = solved()
    path = tmp_path / "r.npz"
    result.save(path)
    whole = path.read_bytes()
    for cut in (0, 10, len(whole) // 2, len(whole) - 5):
        path.write_bytes(whole[:cut])
        with pytest.raises(ValueError, match=r"r\.npz: not a readable lpgeom factorisation"):
            FactorResult.load(path)
    other = tmp_path / "s.npz"
    lpgeom.approx_subspace(np.eye(5), 2).save(other)
    with pytest.raises(ValueError, match=r"s\.npz"):
        FactorResult.load(other)
    np.savez(other, a=np.ones(3))
    with pytest.raises(ValueError, match=r"s\.npz"):
        FactorResult.load(other)
    with pytest.raises(FileNotFoundError):
        FactorResult.load(tmp_path / "none.npz")
    # An old file, whose numbers do not agree with its certificate's, is not a result.
    old = (FOLDER / "factors.npz").read_bytes()
    path.write_bytes(rewrite(old, lambda values, arrays: values.update(cost=2.0 * values["cost"])))
    with pytest.raises(ValueError, match="cost"):
        FactorResult.load(path)
