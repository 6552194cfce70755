"""One certificate for all: costs recomputed, shared bounds, notes instead of crashes."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

import lpgeom
from lpgeom import datasets
from lpgeom.comparison import compare as comparison
from lpgeom.comparison import judges
from lpgeom.heuristics import HEURISTICS
from lpgeom.io import tables
from tests.io.test_tables import without_pandas

DATA = datasets.load("contaminated", n=120, d=8, k=3)
A = DATA.A


def rows_of(*arguments: Any, **options: Any) -> list[dict[str, Any]]:
    return tables.records(lpgeom.compare(A, *arguments, **options))


def test_every_method_is_there_and_below_the_same_bound() -> None:
    table = lpgeom.compare(A, [2, 3], truth=DATA.truth)
    rows = tables.records(table)
    assert list(table.columns) == list(comparison.COLUMNS)
    expected = {"lpgeom", *HEURISTICS} - {"cvxpy_reaper"}
    for k in (2, 3):
        of_k = [row for row in rows if row["k"] == k]
        assert {row["method"] for row in of_k} == expected
        bound = table.attrs["bounds"][k]["value"]
        assert bound > 0.0
        costs = [row["cost"] for row in of_k]
        assert costs == sorted(costs)
        svd = next(row for row in of_k if row["method"] == "svd")["cost"]
        for row in of_k:
            assert row["lower_bound"] == bound <= row["cost"]
            assert row["note"] is not None
            np.testing.assert_allclose(row["ratio"], row["cost"] / bound)
            np.testing.assert_allclose(row["cost_over_best"], row["cost"] / min(costs))
            np.testing.assert_allclose(row["cost_over_svd"], row["cost"] / svd, rtol=1e-9)
            assert row["seconds"] > 0.0
            assert row["passes"] >= 1.0
    assert table.attrs["left_out"] == ("cvxpy_reaper",)
    assert table.attrs["shape"] == A.shape


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0])
def test_costs_are_those_of_the_bases(p: float) -> None:
    bases = {}

    def spied(A: Any, k: int, p: float, seed: int) -> Any:
        bases["spied"] = np.linalg.qr(np.random.default_rng(seed).standard_normal((8, k)))[0]
        return bases["spied"]

    (row,) = rows_of(3, p, methods=[spied], seeds=[5])
    V = bases["spied"]
    naive = np.sum(np.linalg.norm(A - A @ V @ V.T, axis=1) ** p)
    np.testing.assert_allclose(row["cost"], naive, rtol=1e-10)
    np.testing.assert_allclose(row["norm_error"], naive ** (1 / p), rtol=1e-10)
    np.testing.assert_allclose(row["ratio"], (naive / row["lower_bound"]) ** (1 / p), rtol=1e-10)
    assert math.isnan(row["passes"])
    assert row["seed"] == 5


def test_p_inf() -> None:
    rows = rows_of(3, np.inf, methods=["lpgeom", lambda A, k, p, seed: np.eye(8, k)])
    assert rows[0]["method"] == "lpgeom"
    naive = np.linalg.norm(A[:, 3:], axis=1).max()
    np.testing.assert_allclose(rows[1]["cost"], naive)
    np.testing.assert_allclose(rows[1]["norm_error"], naive)


def test_every_method_that_needs_no_finite_p_runs_at_p_inf() -> None:
    """They are judged by their largest distance; the others say why they are not."""
    table = lpgeom.compare(A, [2, 3], np.inf, [*HEURISTICS, "lpgeom"])
    rows = tables.records(table)
    failed = {row["method"]: row["note"] for row in rows if math.isnan(row["cost"])}
    assert set(failed) == {"fms", "grassmann_descent"}
    assert all("got p = inf" in note for note in failed.values())
    for k in (2, 3):
        found = [row for row in rows if row["k"] == k and row["method"] not in failed]
        assert len(found) == len(HEURISTICS) - 1
        bound = table.attrs["bounds"][k]
        assert bound["certainty"] == "always"
        for row in found:
            assert 0.0 < row["lower_bound"] == bound["value"] <= row["cost"] == row["norm_error"]
            assert row["ratio"] == pytest.approx(row["cost"] / bound["value"])
        V = np.linalg.svd(A, full_matrices=False)[2][:k].T
        largest = np.linalg.norm(A - A @ V @ V.T, axis=1).max()
        svd = next(row for row in found if row["method"] == "svd")
        assert svd["cost"] == pytest.approx(largest)
        assert svd["cost_over_svd"] == pytest.approx(1.0)


def test_angles_to_a_truth_of_any_dimension() -> None:
    V = np.eye(8)[:, :2]
    c, s = np.cos(0.3), np.sin(0.3)
    one = np.array([[c, 0, s, 0, 0, 0, 0, 0]]).T
    three = np.eye(8)[:, [0, 2, 3]]

    def fixed(A: Any, k: int, p: float, seed: int) -> Any:
        return V

    for truth, angle in ((one, math.degrees(0.3)), (V, 0.0), (three, 90.0)):
        (row,) = rows_of(2, methods=[fixed], truth=truth)
        np.testing.assert_allclose(row["angle_deg"], angle, atol=1e-6)
    (row,) = rows_of(2, methods=[fixed])
    assert math.isnan(row["angle_deg"])


def test_methods_without_randomness_run_once() -> None:
    rows = rows_of(2, methods=["lpgeom", "svd", "randomized_svd"], seeds=[3, 4])
    seeds = {m: sorted(r["seed"] for r in rows if r["method"] == m) for m in ("lpgeom", "svd")}
    assert seeds == {"lpgeom": [3, 4], "svd": [3]}
    assert sum(row["method"] == "randomized_svd" for row in rows) == 2


def spoil(A: Any, k: int, p: float, seed: int) -> Any:
    A[0] = 0.0


def wrong_shape(A: Any, k: int, p: float, seed: int) -> Any:
    return np.eye(8, k + 1)


def not_finite(A: Any, k: int, p: float, seed: int) -> Any:
    return np.full((8, k), np.nan)


def deficient(A: Any, k: int, p: float, seed: int) -> Any:
    return np.ones((8, k))


def nothing(A: Any, k: int, p: float, seed: int) -> Any:
    return None


@pytest.mark.parametrize("bad", [spoil, wrong_shape, not_finite, deficient, nothing])
def test_a_method_that_fails_has_a_note(bad: Any) -> None:
    before = A.copy()
    good, failed = rows_of(2, methods=[bad, "svd"])
    np.testing.assert_array_equal(A, before)
    assert good["method"] == "svd"
    assert failed["method"] == bad.__name__
    assert math.isnan(failed["cost"])
    assert math.isnan(failed["ratio"])
    assert "Error" in failed["note"]


def test_a_result_will_do_for_a_basis() -> None:
    def ours(A: Any, k: int, p: float, seed: int) -> Any:
        return lpgeom.approx_subspace(A, k, p, certify=False)

    rows = rows_of(2, methods=["lpgeom", ours])
    np.testing.assert_allclose(rows[0]["cost"], rows[1]["cost"], rtol=1e-12)


def test_ctrl_c_is_not_swallowed() -> None:
    def interrupted(A: Any, k: int, p: float, seed: int) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lpgeom.compare(A, 2, methods=[interrupted])


def test_a_bound_above_a_cost_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = judges.JUDGES["rows"].own

    def doctored(*arguments: Any, **options: Any) -> Any:
        result = honest(*arguments, **options)
        bounds = tuple(
            dataclasses.replace(b, scaled_value=1.01 * result.certificate.scaled_cost)
            for b in result.certificate.bounds
        )
        certificate = dataclasses.replace(result.certificate, bounds=bounds)
        return dataclasses.replace(result, statement=certificate)

    monkeypatch.setitem(
        judges.JUDGES, "rows", dataclasses.replace(judges.JUDGES["rows"], own=doctored)
    )
    with pytest.raises(lpgeom.CertificateError, match="rank 2: .* below the lower bound"):
        lpgeom.compare(A, 2, methods=["lpgeom", "svd"])


def test_without_a_certificate() -> None:
    rows = rows_of(2, methods=["svd"], certify=False)
    assert rows[0]["ratio"] == math.inf
    assert rows[0]["lower_bound"] == 0.0


def test_at_the_rank_all_are_exact() -> None:
    B = np.c_[A[:, :3], A[:, :1]]
    table = lpgeom.compare(B, 3, methods=["lpgeom", "svd", "fms"])
    assert set(table["cost"]) == {0.0}
    assert set(table["ratio"]) == {1.0}
    assert set(table["cost_over_svd"]) == {1.0}


def test_without_pandas_the_numbers_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    methods = ["lpgeom", "svd", "spherical_pca"]
    frame = tables.records(lpgeom.compare(A, [2], methods=methods))
    without_pandas(monkeypatch)
    table = lpgeom.compare(A, [2], methods=methods)
    assert isinstance(table, tables.Table)
    for theirs, ours in zip(frame, table.rows(), strict=True):
        for name in ("method", "cost", "ratio", "cost_over_best"):
            assert theirs[name] == ours[name]


@pytest.mark.parametrize(
    ("arguments", "options", "error"),
    [
        ((2,), {"methods": ["magic"]}, ValueError),
        ((2,), {"methods": []}, ValueError),
        ((2,), {"methods": "svd"}, TypeError),
        ((2,), {"methods": [3]}, TypeError),
        ((2,), {"seeds": []}, ValueError),
        ((2,), {"seeds": [-1]}, ValueError),
        ((0,), {}, ValueError),
        (([2, 8],), {}, ValueError),
        ((2, 0.5), {}, ValueError),
        ((2,), {"truth": np.ones((3, 1))}, ValueError),
        ((2,), {"certify": "loose"}, ValueError),
    ],
)
def test_bad_arguments(arguments: Any, options: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        lpgeom.compare(A, *arguments, **options)


def test_bad_matrices() -> None:
    for bad in (A * np.nan, np.zeros((0, 3)), A[0], A.astype(object), A.astype(complex)):
        with pytest.raises((TypeError, ValueError)):
            lpgeom.compare(bad, 1, methods=["svd"])


def test_the_function_stays_a_function() -> None:
    import lpgeom.cli
    import lpgeom.comparison.compare

    assert callable(lpgeom.compare)
