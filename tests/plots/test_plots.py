"""Pictures show what they say: read back from what was drawn."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lpgeom
from lpgeom import datasets, plots
from lpgeom.io import tables

DATA = datasets.load("contaminated", n=150, d=8, k=3)
METHODS = ["lpgeom", "svd", "randomized_svd"]
SQUARE = np.array([[1.0, 0.2], [0.5, 0.9], [-0.7, 0.6]])


@pytest.fixture(scope="module")
def table() -> Any:
    return lpgeom.compare(DATA.A, [2, 3, 4], methods=METHODS, seeds=[0, 1])


def drawn_lines(ax: Any) -> dict[str, np.ndarray]:
    return {c.get_label(): c.lines[0].get_xydata() for c in ax.containers}


@pytest.mark.parametrize("value", ["cost", "norm_error", "ratio"])
def test_lines_are_the_medians(table: Any, value: str) -> None:
    lines = drawn_lines(plots.plot_compare(table, value=value))
    assert set(lines) == set(METHODS)
    for method, points in lines.items():
        for k, y in points:
            rows = [r for r in tables.records(table) if (r["method"], r["k"]) == (method, k)]
            np.testing.assert_allclose(y, np.median([r[value] for r in rows]))


def test_the_band_ends_at_the_lower_bound(table: Any) -> None:
    ax = plots.plot_compare(table)
    band = next(c for c in ax.collections if c.get_label().startswith("proved"))
    vertices = band.get_paths()[0].vertices
    for k, bound in table.attrs["bounds"].items():
        at_k = vertices[vertices[:, 0] == k][:, 1]
        np.testing.assert_allclose(at_k.max(), bound["value"])
        assert at_k.min() == 0.0


def test_one_rank_is_a_dot_for_each_method(table: Any) -> None:
    one = lpgeom.compare(DATA.A, 3, methods=METHODS)
    ax = plots.plot_compare(one)
    assert [t.get_text() for t in ax.get_yticklabels()][-1] == "lpgeom"
    assert len(ax.containers) == len(METHODS)
    assert ax.patches[0].get_extents().width > 0.0  # the region that is impossible


def test_a_plain_table_gives_the_same_picture(table: Any) -> None:
    names = list(table.columns)
    plain = tables.Table({name: list(table[name]) for name in names}, table.attrs)
    theirs, ours = drawn_lines(plots.plot_compare(table)), drawn_lines(plots.plot_compare(plain))
    for method in METHODS:
        np.testing.assert_array_equal(theirs[method], ours[method])


def test_failed_methods_are_left_out() -> None:
    def broken(A: Any, k: int, p: float, seed: int) -> Any:
        raise ValueError("no")

    some = lpgeom.compare(DATA.A, [2, 3], methods=["svd", broken])
    assert set(drawn_lines(plots.plot_compare(some))) == {"svd"}
    with pytest.raises(ValueError, match="no finite cost"):
        plots.plot_compare(lpgeom.compare(DATA.A, [2], methods=[broken]))
    with pytest.raises(ValueError, match="value must be"):
        plots.plot_compare(some, value="beauty")


@pytest.mark.parametrize("value", ["cost", "norm_error", "ratio"])
@pytest.mark.parametrize("ks", [[2], [2, 3]])
def test_comparisons_at_p_inf(ks: list[int], value: str) -> None:
    some = lpgeom.compare(DATA.A, ks, np.inf, methods=["lpgeom", "svd", "fms"])
    ax = plots.plot_compare(some, value=value)
    assert "p = inf" in ax.get_title(loc="left")
    if len(ks) > 1:
        lines = drawn_lines(ax)
        assert set(lines) == {"lpgeom", "svd"}
        rows = tables.records(some)
        ours = [row[value] for row in rows if row["method"] == "lpgeom"]
        np.testing.assert_allclose(lines["lpgeom"][:, 1], ours)


def test_uncertified_comparisons_have_no_band() -> None:
    ax = plots.plot_compare(lpgeom.compare(DATA.A, [2, 3], methods=["svd"], certify=False))
    assert not any(str(c.get_label()).startswith("proved") for c in ax.collections)


@pytest.mark.parametrize("p", [1.0, 1.7, 4.0, np.inf])
def test_the_ball_is_the_ball(p: float) -> None:
    ax = plots.plot_ball(SQUARE, p)
    curves = [line.get_xydata() for line in ax.lines]
    ball, rest = curves[0], curves[1:]
    np.testing.assert_allclose(np.linalg.norm(SQUARE @ ball.T, ord=p, axis=0), 1.0, rtol=1e-12)
    for outer, inner in zip(rest[::2], rest[1::2], strict=True):
        assert np.linalg.norm(SQUARE @ outer.T, ord=p, axis=0).min() >= 1.0 - 1e-9
        assert np.linalg.norm(SQUARE @ inner.T, ord=p, axis=0).max() <= 1.0 + 1e-9
        # Counterclockwise and once around.
        angle = np.unwrap(np.arctan2(outer[:, 1], outer[:, 0]))
        assert (np.diff(angle) >= -1e-12).all()
        np.testing.assert_allclose(angle[-1] - angle[0], 2.0 * np.pi)


def test_three_dimensions() -> None:
    ax = plots.plot_ball(np.eye(3), 1.0)
    assert ax.name == "3d"
    assert len(ax.collections) == 3  # the ball and two ellipsoids


@pytest.mark.parametrize(
    ("A", "message"),
    [
        (np.ones((4, 4)), "2 or 3 columns"),
        (np.ones((4, 2)), "unbounded"),
        ([[np.nan, 1.0]], "finite|NaN"),
    ],
)
def test_bad_input(A: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plots.plot_ball(A, 1.0)


@pytest.mark.parametrize("suffix", plots.SUFFIXES)
def test_files_are_written_whole(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"ball{suffix}"
    plots.save(plots.plot_ball(SQUARE, 1.0), path)
    assert path.stat().st_size > 1000
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(ValueError, match="must end in"):
        plots.save(plots.plot_ball(SQUARE, 1.0), tmp_path / "ball.bmp")


def test_without_matplotlib_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = builtins.__import__

    def refuse(name: str, *rest: Any, **options: Any) -> Any:
        if name.split(".")[0] == "matplotlib":
            raise ImportError(name)
        return original(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match=r"lpgeom\[plot\]"):
        plots.plot_ball(SQUARE, 1.0)
