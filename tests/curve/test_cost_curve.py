"""Cost curves: what every rank by itself would say, bounds that hold, and the same after a file."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lpgeom
from lpgeom import CertificateError, datasets
from lpgeom.bounds.evidence import Evidence
from lpgeom.curve import curve as ranks_curve
from lpgeom.curve import search as ranks_search
from lpgeom.curve import solver as ranks_solver
from lpgeom.curve.bounds import RankBounds
from lpgeom.geometry.grassmann import Frame
from lpgeom.geometry.lewis import lewis_iteration
from lpgeom.rows.door import open_rows

RNG = np.random.default_rng(0)
A = RNG.standard_t(3.0, (120, 9)) * 0.8 ** np.arange(9)
KS = [1, 2, 4, 5, 8]


def by_rank(data: Any, p: float, ks: Any, **options: Any) -> list[lpgeom.SubspaceResult]:
    return [lpgeom.approx_subspace(data, int(k), p, **options) for k in ks]


@pytest.mark.slow
@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0, math.inf])
@pytest.mark.parametrize("weighted", [False, True])
def test_as_good_as_rank_by_rank(p: float, weighted: bool) -> None:
    omega = np.random.default_rng(1).uniform(0.2, 2.0, len(A)) if weighted else None
    ks = KS if math.isfinite(p) else [2, 5]
    curve = lpgeom.cost_curve(A, p, ks, row_weights=omega)
    alone = by_rank(A, p, ks, row_weights=omega)
    assert curve.ks.tolist() == ks
    assert (curve.p, curve.shape) == (p, A.shape)
    tolerance = 1e-8 if p <= 2.0 else 1e-3
    assert (curve.cost <= np.array([r.cost for r in alone]) * (1.0 + tolerance)).all()
    assert (curve.lower_bound >= np.array([r.lower_bound for r in alone]) * (1.0 - 6e-3)).all()
    np.testing.assert_allclose(curve.svd_cost, [r.svd_cost for r in alone], rtol=1e-9)
    assert (curve.lower_bound <= curve.cost * (1.0 + 1e-12)).all()
    assert (curve.cost <= curve.svd_cost * (1.0 + 1e-12)).all()
    for r in curve.results:
        assert lpgeom.cost(A, r.basis, p, row_weights=omega) == pytest.approx(r.cost, rel=1e-10)
        assert r.guarantee >= r.ratio * (1.0 - 1e-9)
    curve.verify(A)


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 1000),
    n=st.integers(2, 30),
    d=st.integers(2, 7),
    p=st.sampled_from([1.0, 1.3, 2.0, 5.0]),
)
def test_monotone_certified_and_verified(seed: int, n: int, d: int, p: float) -> None:
    rng = np.random.default_rng(seed)
    data = rng.standard_t(2.0, (n, d)) * np.exp(rng.uniform(-3.0, 3.0, d))
    curve = lpgeom.cost_curve(data, p, range(1, d))
    assert (np.diff(curve.cost) <= 0.0).all()
    assert (np.diff(curve.lower_bound) <= 0.0).all()
    assert (curve.lower_bound <= curve.cost * (1.0 + 1e-12)).all()
    assert curve.total >= curve.cost[0]
    curve.verify(data)
    # Bounds hold for subspaces from anywhere, of every rank.
    for k, lower in zip(curve.ks.tolist(), curve.lower_bound, strict=True):
        V = np.linalg.qr(rng.standard_normal((d, k)))[0]
        assert lpgeom.cost(data, V, p) >= lower * (1.0 - 1e-9)


def test_the_largest_of_several_bounds_fails_if_any_of_them_does() -> None:
    curve = lpgeom.cost_curve(A, 1.0, [1, 3, 5], certify="tight")
    own = [r.certificate.failure_probability for r in curve.results if r.certificate]
    assert own[0] > 0.0
    assert curve.failure_probability.tolist() == pytest.approx(
        [sum(own), sum(own[1:]), own[2]], rel=1e-12, abs=0.0
    )
    assert curve.to_dict()["failure_probability"] == curve.failure_probability.tolist()
    fast = lpgeom.cost_curve(A, 1.0, [1, 3])
    assert fast.failure_probability.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("data", [np.diag([1e5, 1.0, 1e-5]), np.diag([1.0, 1e-60, 1e-120])])
@pytest.mark.parametrize("p", [3.0, 100.0])
@pytest.mark.parametrize("scale", [1e-150, 1.0, 1e150])
def test_high_powers_of_data_of_many_sizes(data: Any, p: float, scale: float) -> None:
    curve = lpgeom.cost_curve(scale * data, p, [1, 2])
    assert (curve.lower_bound <= curve.cost).all()
    assert curve.norm_error == pytest.approx(scale * np.diagonal(data)[1:], rel=1e-6)
    curve.verify(scale * data)


def test_ranks_in_any_order_and_often() -> None:
    curve = lpgeom.cost_curve(A, 1.0, (k for k in [5, 2, np.int64(5), 1]))
    assert curve.ks.tolist() == [1, 2, 5]
    assert len(curve) == 3
    assert lpgeom.cost_curve(A, 1.0, 3, certify=False).ks.tolist() == [3]
    assert lpgeom.cost_curve(A, 1.0, np.array([3, 2]), certify=False).ks.tolist() == [2, 3]


@pytest.mark.parametrize(
    ("ks", "error", "message"),
    [
        ([], ValueError, "ks is empty"),
        ([0, 2], ValueError, "between 1 and d - 1 = 8"),
        ([9], ValueError, "between 1 and d - 1 = 8"),
        ([2.0], TypeError, "k must be an integer"),
        ("12", TypeError, "k must be an integer"),
        (None, TypeError, "k must be an integer"),
        ([True], TypeError, "k must be an integer"),
    ],
)
def test_bad_ranks(ks: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        lpgeom.cost_curve(A, 1.0, ks)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"method": "magic"}, ValueError, "method"),
        ({"certify": "loose"}, ValueError, "certify"),
        ({"seed": -1}, ValueError, "seed"),
        ({"max_iter": 0}, ValueError, "max_iter"),
        ({"tol": 2.0}, ValueError, "tol"),
        ({"row_weights": [1.0]}, ValueError, "row_weights"),
    ],
)
def test_bad_options(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        lpgeom.cost_curve(A, 1.0, KS, **options)


@pytest.mark.parametrize("p", [1.0, 2.0, 4.0, math.inf])
def test_ranks_beyond_that_of_the_data_cost_nothing(p: float) -> None:
    low = np.random.default_rng(2).standard_normal((40, 3)) @ RNG.standard_normal((3, 7))
    curve = lpgeom.cost_curve(low, p, range(1, 7))
    assert (curve.cost[:2] > 0.0).all()
    assert curve.cost[2:].tolist() == [0.0] * 4
    assert curve.ratio[2:].tolist() == [1.0] * 4
    assert curve.at(5).basis.shape == (7, 5)
    curve.verify(low)
    zero = lpgeom.cost_curve(np.zeros((5, 4)), p, [1, 3])
    assert zero.cost.tolist() == [0.0, 0.0]
    assert zero.total == 0.0


@pytest.mark.parametrize("p", [1.0, 3.0])
def test_fewer_rows_than_columns(p: float) -> None:
    wide = np.random.default_rng(3).standard_normal((6, 15))
    curve = lpgeom.cost_curve(wide, p, [1, 3, 5, 6, 14])
    assert curve.cost[-2:].tolist() == [0.0, 0.0]
    curve.verify(wide)


@pytest.mark.parametrize("method", ["irls", "lewis", "svd"])
@pytest.mark.parametrize("p", [1.0, 3.0])
def test_methods(method: str, p: float) -> None:
    curve = lpgeom.cost_curve(A, p, [2, 5], method=method)
    alone = by_rank(A, p, [2, 5], method=method)
    tolerance = 1e-8 if method != "irls" or p < 2.0 else 1e-3
    assert (curve.cost <= np.array([r.cost for r in alone]) * (1.0 + tolerance)).all()
    if method == "svd":
        np.testing.assert_allclose(curve.cost, curve.svd_cost, rtol=1e-12)
    curve.verify(A)


def test_tight() -> None:
    curve = lpgeom.cost_curve(A, 1.0, [2, 4], certify="tight")
    fast = lpgeom.cost_curve(A, 1.0, [2, 4])
    assert "radial" in {b.name.split("_")[0] for b in curve.at(2).certificate.bounds}
    assert (curve.lower_bound >= fast.lower_bound * (1.0 - 1e-9)).all()
    curve.verify(A)


def test_without_certificates() -> None:
    curve = lpgeom.cost_curve(A, 1.0, [2, 4], certify=False)
    assert not curve.certified
    assert curve.lower_bound.tolist() == [0.0, 0.0]
    assert np.isinf(curve.ratio).all()
    with pytest.raises(CertificateError, match="rank 2 has no certificate"):
        curve.verify(A)
    assert "-" in curve.summary()


@pytest.mark.slow
def test_scale_and_high_powers() -> None:
    for p, size in ((1.0, 1e200), (60.0, 1e5), (60.0, 1e-5)):
        curve = lpgeom.cost_curve(size * A, p, [1, 4, 7])
        assert np.isfinite(curve.norm_error).all()
        assert (np.diff(curve.norm_error) <= 0.0).all()
        assert (curve.ratio < 3.0).all()
        curve.verify(size * A)


def test_a_larger_subspace_never_costs_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rank whose own search goes wrong gets the smaller rank's subspace, with one more."""
    settled = ranks_solver.RankSolver.settled

    def spoiled(self: Any, *found: Any) -> Any:
        end = settled(self, *found)
        if self.k != 5:
            return end
        frame = Frame.of(np.linalg.qr(np.random.default_rng(0).standard_normal((9, 5)))[0])
        t = self.rows.quadratic_form(frame.W)
        bad = replace(end.found, frame=frame, t=t, cost=float(np.sqrt(t).sum()), history=())
        return replace(end, found=bad, promise=math.inf)

    monkeypatch.setattr(ranks_solver.RankSolver, "settled", spoiled)
    monkeypatch.setattr(ranks_search, "SWEEPS", 0)
    curve = lpgeom.cost_curve(A, 1.0, [4, 5, 7])
    assert curve.at(5).method.startswith("around rank 4")
    assert curve.at(5).cost <= curve.at(4).cost
    inside = curve.at(5).basis @ (curve.at(5).basis.T @ curve.at(4).basis)
    np.testing.assert_allclose(inside, curve.at(4).basis, atol=1e-12)
    curve.verify(A)


@pytest.mark.slow
@pytest.mark.parametrize("p", [1.0, 1.5])
def test_a_reference_bounds_every_rank(p: float) -> None:
    """Whatever rank it was searched for; its own is the one it bounds best."""
    rows = open_rows(A, p).rows
    lewis, _ = lewis_iteration(rows, p)
    bounds = RankBounds(rows, lewis, list(range(1, 9)), p, "fast", 0)
    V = np.linalg.svd(A)[2].T
    frame = Frame(np.ascontiguousarray(V[:, :4]), np.ascontiguousarray(V[:, 4:]))
    evidence = Evidence(frame.V, frame.W, rows.quadratic_form(frame.W), rows.squared_norms(), lewis)
    bounds.look(4, evidence)
    unit = open_rows(A, p).unit
    for k in range(1, 9):
        best = max(bounds.at(k), key=lambda b: b.scaled_value)
        assert best.scaled_value * unit**p <= lpgeom.approx_subspace(A, k, p).cost
    own = lpgeom.approx_subspace(A, 4, p).lower_bound
    assert bounds.at(4)[0].scaled_value * unit**p >= own * (1.0 - 5e-3)


def test_searches_are_left_out_where_neighbours_will_do() -> None:
    data = datasets.load("power-law", n=400, d=30).A
    curve = lpgeom.cost_curve(data, 1.0, range(1, 30), method="irls")
    witnesses = {id(c.best.witness["Q0"]) for r in curve.results if (c := r.certificate)}
    assert len(witnesses) < len(curve)


@pytest.mark.parametrize("change", ["cost", "lower_bound", "certified", "basis", "order"])
def test_a_doctored_curve_does_not_verify(change: str) -> None:
    curve = lpgeom.cost_curve(A, 1.0, [2, 4])
    first, second = curve.results
    certificate = first.certificate
    assert certificate is not None
    raised = replace(certificate.best, scaled_value=1.1 * certificate.best.scaled_value)
    changed = {
        "cost": replace(certificate, scaled_cost=0.9 * certificate.scaled_cost),
        "lower_bound": replace(certificate, bounds=(raised, *certificate.bounds[1:])),
        "basis": replace(certificate, basis=second.basis[:, -2:]),
    }
    wrong = {
        **{name: (replace(first, statement=c), second) for name, c in changed.items()},
        "certified": (replace(first, certified=False), second),
        "order": (second, first),
    }[change]
    with pytest.raises(CertificateError, match="rank"):
        replace(curve, results=wrong).verify(A)
    with pytest.raises(CertificateError, match="rank 2"):
        curve.verify(2.0 * A)


@pytest.mark.slow
def test_files(tmp_path: Path) -> None:
    curve = lpgeom.cost_curve(A, 1.0, KS)
    path = tmp_path / "curve.npz"
    curve.save(path)
    again = lpgeom.CostCurve.load(path)
    assert again.to_dict() == curve.to_dict()
    again.verify(A)
    np.testing.assert_array_equal(again.at(4).basis, curve.at(4).basis)
    lpgeom.approx_subspace(A, 2).save(path)
    with pytest.raises(ValueError, match="cost curve"):
        lpgeom.CostCurve.load(path)


@pytest.mark.slow
def test_record() -> None:
    curve = lpgeom.cost_curve(A, 1.0, KS)
    json.dumps(curve.to_dict(), allow_nan=False)
    assert lpgeom.cost_curve(A[:20], math.inf, [2]).to_dict()["p"] == "inf"
    table = curve.to_frame()
    assert list(table["k"]) == KS
    assert table.attrs["p"] == 1.0
    np.testing.assert_allclose(table["share"], curve.cost / curve.total)
    assert len(curve.summary().splitlines()) == 3 + len(KS)
    assert "5 ranks from 1 to 8" in repr(curve)
    assert curve.at(4).k == 4
    with pytest.raises(KeyError, match="rank 3 is not on this curve"):
        curve.at(3)


@pytest.mark.slow
def test_rank_for() -> None:
    curve = lpgeom.cost_curve(A, 1.0, range(1, 9))
    for share in (0.9, 0.5, 0.2):
        least, found = curve.rank_for(share)
        assert least is not None
        assert found is None or curve.cost[found - 1] <= share * curve.total
        if found is not None and found > 1:
            assert curve.cost[found - 2] > share * curve.total
        if least > 1:
            assert curve.lower_bound[least - 2] > share * curve.total
    assert curve.rank_for(1.0) == (1, 1)
    assert curve.rank_for(0.0) == (None, None)


def test_a_hyperplane_is_the_optimum_that_it_is_alone() -> None:
    """p = 1, k = d - 1 of tiny A: through k rows (theory 4)."""
    curve, alone = lpgeom.cost_curve(A[:14, :4], 1.0, [1, 3]), by_rank(A[:14, :4], 1.0, [3])[0]
    assert curve.at(3).method == alone.method == "k rows"
    assert curve.at(3).cost == pytest.approx(alone.cost, rel=1e-12)


def test_coresets() -> None:
    coreset = lpgeom.coreset(A, 60, p=1.0, k=4)
    curve = lpgeom.cost_curve(coreset, None, [2, 4])
    assert "coreset" in curve.at(2).method
    with pytest.raises(ValueError, match="ranks up to 4"):
        lpgeom.cost_curve(coreset, None, [2, 5])


@pytest.mark.slow
def test_large_data_take_the_same_road(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples and float32, as above 2^20 entries."""
    data = datasets.heavy_tailed(3000, 20)
    for module in (ranks_search, ranks_solver, ranks_curve):
        monkeypatch.setattr(module, "LARGE", 1 << 10)
    monkeypatch.setattr("lpgeom.subspace.solve.LARGE", 1 << 10)
    monkeypatch.setattr("lpgeom.geometry.spectrum.LARGE", 1 << 10)
    ks = [2, 5, 8, 11, 14]
    curve = lpgeom.cost_curve(data, 1.0, ks)
    monkeypatch.undo()
    alone = by_rank(data, 1.0, ks)
    assert (curve.cost <= np.array([r.cost for r in alone]) * (1.0 + 1e-5)).all()
    curve.verify(data)


@pytest.mark.parametrize("p", [1.0, 3.0])
def test_dask(p: float) -> None:
    da = pytest.importorskip("dask.array")
    array = da.from_array(A, chunks=(60, 9))
    curve = lpgeom.cost_curve(array, p, [2, 3, 5], method="irls", max_iter=10)
    here = lpgeom.cost_curve(A, p, [2, 3, 5], method="irls", max_iter=10)
    np.testing.assert_allclose(curve.cost, here.cost, rtol=1e-3)
    curve.verify(A)
    lpgeom.cost_curve(array, math.inf, [2]).verify(A)
