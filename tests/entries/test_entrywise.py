"""Entrywise heuristics: valid factors, the costs they state, and `compare` over them."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lpgeom
from lpgeom.cli import main
from lpgeom.comparison import judges
from lpgeom.entries.reweighted import reweight
from lpgeom.entries.starts import column_sets, is_exhaustive
from lpgeom.heuristics import entrywise
from lpgeom.heuristics.entrywise import ENTRYWISE
from lpgeom.io import tables
from tests.cli.test_cli import fails

each_method = pytest.mark.parametrize("name", ENTRYWISE)


def corrupted(n: int = 60, d: int = 12, k: int = 3, seed: int = 0) -> tuple[Any, Any]:
    """(A, B): B of rank k, and A with a tenth of its entries grossly wrong."""
    rng = np.random.default_rng(seed)
    B = rng.standard_normal((n, k)) @ rng.standard_normal((k, d))
    wrong = rng.random(B.shape) < 0.1
    return B + 20.0 * rng.standard_normal(B.shape) * wrong, B


def naive(A: Any, left: Any, right: Any, p: float) -> float:
    return float((np.abs(A - left @ right) ** p).sum())


A, B = corrupted()


@each_method
@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0])
def test_factors_of_the_right_shape(name: str, p: float) -> None:
    before = A.copy()
    found = ENTRYWISE[name](A, 4, p)
    np.testing.assert_array_equal(A, before)
    assert (found.left.shape, found.right.shape) == ((60, 4), (4, 12))
    assert found.method == name
    np.testing.assert_allclose(found.basis.T @ found.basis, np.eye(4), atol=1e-12)
    # The span of the rows of the product is in that of the basis.
    product = found.left @ found.right
    np.testing.assert_allclose(product @ found.basis @ found.basis.T, product, atol=1e-9)
    again = ENTRYWISE[name](A, 4, p)
    np.testing.assert_array_equal(found.left, again.left)


@pytest.mark.parametrize("name", ["alternating", "admm", "irls"])
@pytest.mark.parametrize("p", [1.0, 1.5, 3.0])
def test_descents_end_below_the_svd(name: str, p: float) -> None:
    svd, found = entrywise.svd(A, 3, p), ENTRYWISE[name](A, 3, p)
    assert naive(A, found.left, found.right, p) < naive(A, svd.left, svd.right, p)
    assert found.n_iter >= 1


@pytest.mark.parametrize("name", ["alternating", "admm", "irls"])
def test_gross_errors_are_left_out(name: str) -> None:
    C, true = corrupted(120, 30, 2, seed=2)
    found = ENTRYWISE[name](C, 2, 1.0, tol=1e-9, max_iter=400)
    size = np.linalg.norm(true)
    assert np.linalg.norm(found.left @ found.right - true) < 1e-3 * size
    svd = entrywise.svd(C, 2)
    assert np.linalg.norm(svd.left @ svd.right - true) > 0.3 * size


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 3, 5])
def test_the_portfolio_leaves_them_out_where_each_method_fails(seed: int) -> None:
    C, true = corrupted(120, 30, 2, seed=seed)
    found = lpgeom.approx_factors(C, 2, certify=False)
    assert np.linalg.norm(found.left @ found.right - true) < 1e-6 * np.linalg.norm(true)


@each_method
@pytest.mark.parametrize("scale", [1e-150, 1e-3, 1e120])
def test_scale(name: str, scale: float) -> None:
    small, one = ENTRYWISE[name](scale * A, 3, 1.5), ENTRYWISE[name](A, 3, 1.5)
    ours = naive(A, small.left / scale, small.right, 1.5)
    np.testing.assert_allclose(ours, naive(A, one.left, one.right, 1.5), rtol=1e-4)


@each_method
def test_zeros_and_more_ranks_than_rows(name: str) -> None:
    found = ENTRYWISE[name](np.zeros((5, 4)), 2)
    assert not (found.left @ found.right).any()
    wide = np.random.default_rng(1).standard_normal((3, 6))
    found = ENTRYWISE[name](wide, 4)
    np.testing.assert_allclose(found.left @ found.right, wide, atol=1e-9)


@each_method
@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((np.full((4, 3), np.nan), 1), ValueError),
        ((np.ones((4, 3)), 3), ValueError),
        ((np.ones((4, 3)), 0), ValueError),
        ((np.ones((4, 3)), 1, 0.5), ValueError),
        ((np.ones((4, 3)), 1, np.inf), ValueError),
        ((np.ones(4), 1), ValueError),
        ((np.array([["a", "b"]]), 1), TypeError),
    ],
)
def test_bad_input(name: str, arguments: tuple[Any, ...], error: type[Exception]) -> None:
    with pytest.raises(error):
        ENTRYWISE[name](*arguments)


def test_reweighting_with_weights_leaves_out_what_has_none() -> None:
    W = np.ones_like(A)
    W[::7, 2] = 0.0
    spoiled = np.where(W > 0.0, A, 1e6)
    svd = entrywise.svd(np.where(W > 0.0, A, 0.0), 3)
    options: dict[str, Any] = {"max_iter": 60, "tol": 1e-8}
    a = reweight(spoiled, svd.left, svd.right, 1.2, W, **options)
    b = reweight(np.where(W > 0.0, A, -5.0), svd.left, svd.right, 1.2, W, **options)
    for found in (a, b):
        stated = (W * np.abs(A - found.left @ found.right) ** 1.2).sum()
        np.testing.assert_allclose(found.cost, stated, rtol=1e-10)
    np.testing.assert_allclose(a.cost, b.cost, rtol=1e-3)
    idle = W.copy()
    idle[4] = 0.0  # a row without weight: no division by zero
    assert np.isfinite(reweight(A, svd.left, svd.right, 1.0, idle, **options).left).all()


def test_column_sets() -> None:
    assert is_exhaustive(6, 3)
    assert not is_exhaustive(60, 3)
    few = [tuple(J.tolist()) for J in column_sets(A[:, :5], 2, 1.0, 3, 0)]
    assert len(set(few)) == len(few) == 10
    C = np.zeros((9, 40))
    C[:, [3, 17, 31]] = np.random.default_rng(0).standard_normal((9, 3))
    assert [sorted(J.tolist()) for J in column_sets(C, 3, 1.0, 5, 0)] == [[3, 17, 31]]
    wide = np.random.default_rng(0).standard_normal((9, 40))
    many = list(column_sets(wide, 3, 1.0, 5, 0))
    assert len(many) == 5
    assert all(np.unique(J).size == 3 for J in many)


# ---------------------------------------------------------------- compare


@pytest.mark.slow
@pytest.mark.parametrize("p", [1.0, 3.0])
def test_compare(p: float) -> None:
    C, _ = corrupted(40, 9, 2, seed=3)
    table = lpgeom.compare(C, [2, 4], p, objective="entries")
    rows = tables.records(table)
    assert table.attrs["objective"] == "entries"
    for k in (2, 4):
        of_k = [row for row in rows if row["k"] == k]
        assert {row["method"] for row in of_k} == {"lpgeom", *ENTRYWISE}
        assert of_k[0]["cost"] == min(row["cost"] for row in of_k)
        # Nobody finds what the portfolio does not, on these small cases.
        ours = next(row for row in of_k if row["method"] == "lpgeom")
        assert ours["cost"] <= of_k[0]["cost"] * (1.0 + 1e-6)
        bound = table.attrs["bounds"][k]["value"]
        assert bound > 0.0
        for row in of_k:
            assert row["lower_bound"] == bound <= row["cost"]
            np.testing.assert_allclose(row["ratio"], (row["cost"] / bound) ** (1 / p))
            assert math.isnan(row["passes"])
        svd = entrywise.svd(C, k, p)
        stated = next(row for row in of_k if row["method"] == "svd")["cost"]
        np.testing.assert_allclose(stated, naive(C, svd.left, svd.right, p), rtol=1e-10)


@pytest.mark.slow
def test_callables_give_factors() -> None:
    def half(A: Any, k: int, p: float, seed: int) -> Any:
        return A[:, :k], np.eye(k, A.shape[1])

    def broken(A: Any, k: int, p: float, seed: int) -> Any:
        return A[:, :k], np.eye(k + 1, A.shape[1])

    def infinite(A: Any, k: int, p: float, seed: int) -> Any:
        return np.full((len(A), k), np.inf), np.eye(k, A.shape[1])

    table = lpgeom.compare(A, 3, methods=[half, broken, infinite], objective="entries")
    first, *others = tables.records(table)
    np.testing.assert_allclose(first["cost"], np.abs(A[:, 3:]).sum())
    assert ["shapes" in row["note"] or "finite" in row["note"] for row in others] == [True, True]


def test_exact_rank_costs_nothing() -> None:
    methods = ["lpgeom", "svd", "alternating", "admm"]
    table = lpgeom.compare(B, 3, methods=methods, objective="entries")
    assert [row["cost"] for row in tables.records(table)] == [0.0] * 4


@pytest.mark.slow
def test_a_bound_above_a_cost_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = judges.JUDGES["entries"].own

    def doctored(*arguments: Any, **options: Any) -> Any:
        result = honest(*arguments, **options)
        certificate = result.certificate
        assert certificate is not None
        bounds = tuple(dataclasses.replace(b, unit=10.0 * b.unit) for b in certificate.bounds)
        lifted = tuple(
            dataclasses.replace(
                b,
                blocks=tuple(
                    dataclasses.replace(
                        block,
                        certificate=dataclasses.replace(
                            block.certificate,
                            bounds=tuple(
                                dataclasses.replace(c, scaled_value=100.0 * c.scaled_value)
                                for c in block.certificate.bounds
                            ),
                        ),
                    )
                    for block in b.blocks
                ),
            )
            for b in bounds
        )
        return dataclasses.replace(
            result, statement=dataclasses.replace(certificate, bounds=lifted)
        )

    monkeypatch.setitem(
        judges.JUDGES, "entries", dataclasses.replace(judges.JUDGES["entries"], own=doctored)
    )
    with pytest.raises(lpgeom.CertificateError, match="rank 3: .* below the lower bound"):
        lpgeom.compare(A, 3, methods=["lpgeom"], objective="entries")


def test_compare_refuses() -> None:
    with pytest.raises(ValueError, match="objective"):
        lpgeom.compare(A, 2, objective="columns")
    with pytest.raises(ValueError, match="^p must be a finite"):
        lpgeom.compare(A, 2, np.inf, objective="entries")
    with pytest.raises(ValueError, match="no method 'fms' for entries; known: lpgeom, svd"):
        lpgeom.compare(A, 2, methods=["fms"], objective="entries")


def test_slow_methods_run_only_if_named() -> None:
    slow = judges.JUDGES["entries"].slow
    assert slow((1000, 100), [5, 10]) == set()
    assert slow((30522, 384), [64]) == set(entrywise.CUBIC)


# ---------------------------------------------------------------- command line


@pytest.mark.needs("matplotlib")
def test_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    C, _ = corrupted(30, 8, 2)
    np.save("a.npy", C)
    gone = C.copy()
    gone[3, 4] = np.nan
    np.save("gone.npy", gone)
    methods = ["--methods", "lpgeom", "svd", "irls"]
    arguments = ["compare", "a.npy", "-k", "2", *methods, "--objective", "entries"]
    assert main([*arguments, "--out", "t.json", "--plot", "t.png"]) == 0
    out = capsys.readouterr().out
    assert "p = 1, entries" in out
    assert "rank 2: nothing of that rank costs less than" in out
    assert "passes" not in out
    assert json.loads(Path("t.json").read_text())["objective"] == "entries"

    command = ["approx", "a.npy", "-k", "2", "--objective", "entries", "--out", "r.npz"]
    assert main(command) == 0
    assert "entries" in capsys.readouterr().out
    assert main(["verify", "r.npz", "a.npy"]) == 0
    assert "verified" in capsys.readouterr().out
    assert main(["verify", "r.npz", "gone.npy"]) == 1
    capsys.readouterr()

    missing = [*command[:-1], "m.npz", "--missing", "ignore", "--json"]
    missing[1] = "gone.npy"
    assert main(missing) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["objective"] == "entries"
    expected = lpgeom.approx_factors(gone, 2, missing="ignore")
    np.testing.assert_allclose(said["cost"], expected.cost, rtol=1e-9)
    assert main(["verify", "m.npz", "gone.npy"]) == 0
    capsys.readouterr()
    error = fails(capsys, "approx", "a.npy", "-k", "2", "--missing", "ignore")
    assert "--missing goes with --objective entries" in error
