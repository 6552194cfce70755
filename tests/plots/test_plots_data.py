"""Cost curves, residuals and ellipsoids: what was drawn is what is so."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lpgeom
from lpgeom import datasets, plots
from lpgeom.geometry.ellipsoids.record import Ellipsoid
from lpgeom.plots import residual_norms

matplotlib = pytest.importorskip("matplotlib")

DATA = datasets.load("contaminated", n=200, d=8, k=3)
KS = [1, 2, 3, 5]


@pytest.fixture(scope="module")
def curve() -> lpgeom.CostCurve:
    return lpgeom.cost_curve(DATA.A, 1.5, KS)


def lines(ax: Any) -> dict[str, Any]:
    return {str(line.get_label()): line.get_xydata() for line in ax.lines}


# ---------------------------------------------------------------- cost curves


@pytest.mark.parametrize("value", ["cost", "norm_error", "share", "ratio"])
@pytest.mark.parametrize("log", [False, True])
def test_lines_are_the_costs(curve: lpgeom.CostCurve, value: str, log: bool) -> None:
    drawn = lines(plots.cost_curve(curve, value=value, log=log))
    p = curve.p
    want = {
        "cost": (curve.cost, curve.svd_cost),
        "norm_error": (curve.cost ** (1 / p), curve.svd_cost ** (1 / p)),
        "share": (curve.cost / curve.total, curve.svd_cost / curve.total),
        "ratio": (curve.ratio, (curve.svd_cost / curve.lower_bound) ** (1 / p)),
    }[value]
    for name, y in zip(("lpgeom", "SVD"), want, strict=True):
        np.testing.assert_allclose(drawn[name], np.stack([KS, y], axis=1), rtol=1e-9)


@pytest.mark.parametrize("log", [False, True])
def test_the_band_claims_no_more_than_is_proved(curve: lpgeom.CostCurve, log: bool) -> None:
    """Between two ranks it ends at the bound of the larger one."""
    ax = plots.cost_curve(curve, log=log)
    (band,) = ax.collections
    path = band.get_paths()[0]
    for k in (1, 2, 3, 4, 5):
        proved = curve.lower_bound[np.searchsorted(KS, k)]
        x = k - 0.05
        assert path.contains_point((x, 0.99 * proved))
        assert not path.contains_point((x, 1.01 * proved))
    assert "proved" in band.get_label()


def test_options(curve: lpgeom.CostCurve) -> None:
    own = matplotlib.figure.Figure().add_subplot()
    assert plots.cost_curve(curve, own) is own
    assert "SVD" not in lines(plots.cost_curve(curve, svd=False))
    assert own.get_ylim()[0] == 0.0
    assert own.get_title(loc="left") == "200 × 8, p = 1.5"
    with pytest.raises(ValueError, match="value must be one of"):
        plots.cost_curve(curve, value="beauty")


def test_curves_without_certificates_have_no_band() -> None:
    bare = lpgeom.cost_curve(DATA.A, 1.0, [1, 2], certify=False)
    assert not plots.cost_curve(bare).collections
    with pytest.raises(ValueError, match="no finite ratio"):
        plots.cost_curve(bare, value="ratio")


@pytest.mark.parametrize("log", [False, True])
def test_one_rank_and_zero_costs(log: bool) -> None:
    one = plots.cost_curve(lpgeom.cost_curve(DATA.A, 1.0, 2), log=log)
    (band,) = one.collections
    assert np.ptp(band.get_paths()[0].vertices[:, 0]) > 0.0
    low = np.outer(np.arange(1.0, 9.0), [1.0, 2.0, 3.0])
    ax = plots.cost_curve(lpgeom.cost_curve(low, 1.0, [1, 2]), log=log)
    assert not ax.collections  # every bound is 0
    ax.figure.savefig("/dev/null", format="png")


def test_infinite_p_and_costs_out_of_range() -> None:
    worst = lpgeom.cost_curve(DATA.A[:40], math.inf, [1, 3])
    assert plots.cost_curve(worst).get_title(loc="left").endswith("p = ∞")
    huge = lpgeom.cost_curve(1e200 * DATA.A[:40], 3.0, [1, 3])
    with pytest.raises(ValueError, match="norm_error"):
        plots.cost_curve(huge)


# ---------------------------------------------------------------- residuals


@pytest.mark.parametrize("kind", ["sorted", "histogram"])
def test_outlying_rows_are_those_beyond_the_threshold(kind: str) -> None:
    result = lpgeom.approx_subspace(DATA.A, 3)
    r = np.linalg.norm(DATA.A - DATA.A @ result.basis @ result.basis.T, axis=1)
    limit = np.median(r) + 4.0 * 1.4826 * np.median(np.abs(r - np.median(r)))
    ax = plots.residuals(DATA.A, result, kind=kind)
    words = [text.get_text() for text in ax.get_legend().get_texts()]
    assert f"{int((r > limit).sum())} outlying rows" in words
    assert f"{int((r <= limit).sum())} other rows" in words
    line = next(line for line in ax.lines if line.get_label() == "threshold")
    at = line.get_ydata() if kind == "sorted" else line.get_xdata()
    np.testing.assert_allclose(at, limit, rtol=1e-9)
    named = [t.get_text() for t in ax.texts] if kind == "sorted" else ax.get_title("right")
    farthest = [str(i) for i in np.argsort(-r, kind="stable")[:5]]
    assert named == (farthest if kind == "sorted" else f"farthest: {', '.join(farthest)}")
    if kind == "sorted":
        drawn = np.concatenate([lines(ax)[w] for w in words[:2]])
        np.testing.assert_allclose(np.sort(drawn[:, 1]), np.sort(r), rtol=1e-6, atol=1e-12)
    else:
        assert sum(patch.get_height() for patch in ax.patches) == len(r)


@given(st.lists(st.floats(0.0, 1e6), min_size=1, max_size=30), st.floats(1e-3, 1e3))
@settings(max_examples=50, deadline=None)
def test_the_threshold_scales_with_the_distances(values: list[float], c: float) -> None:
    r = np.array(values)
    limit = residual_norms.threshold(r)
    assert limit >= np.median(r)
    assert residual_norms.threshold(c * r) == pytest.approx(c * limit, rel=1e-9)
    # Less than half of the rows do not move it beyond all bounds.
    far = np.concatenate([r, np.full((len(r) - 1) // 2, 1e12)])
    assert residual_norms.threshold(far) < 1e9


def test_names() -> None:
    pandas = pytest.importorskip("pandas")
    index = [f"patient {i}" for i in range(200)]
    table = pandas.DataFrame(DATA.A, index=index)
    result = lpgeom.approx_subspace(table, 3)
    ax = plots.residuals(table, result, named=2)
    assert len(ax.texts) == 2
    assert all(t.get_text().startswith("patient") for t in ax.texts)
    odd = plots.residuals(DATA.A, result, names=["$x_{" + "y" * 40] * 200, named=1)
    odd.figure.savefig("/dev/null", format="png")  # no mathematics in names
    with pytest.raises(ValueError, match="200 entries"):
        plots.residuals(DATA.A, result, names=["a"])


def test_bases_factors_and_exact_fits() -> None:
    result = lpgeom.approx_subspace(DATA.A, 3)
    own = matplotlib.figure.Figure().add_subplot()
    assert plots.residuals(DATA.A, result.basis, own) is own
    factors = lpgeom.approx_factors(DATA.A[:40], 3, 1.0, certify=False, max_iter=3)
    ax = plots.residuals(DATA.A[:40], factors, named=0)
    r = np.linalg.norm(DATA.A[:40] - factors.left @ factors.right, axis=1)
    top = max(points[:, 1].max(initial=0.0) for name, points in lines(ax).items() if "row" in name)
    assert top == pytest.approx(r.max())
    # Rows that fit up to rounding, and one that does not.
    low = np.outer(np.arange(1.0, 9.0), [1.0, 2.0, 3.0])
    low[3] += [5.0, 0.0, 0.0]
    for kind in ("sorted", "histogram"):
        ax = plots.residuals(low, np.array([[1.0], [2.0], [3.0]]), kind=kind)
        assert "1 outlying rows" in [t.get_text() for t in ax.get_legend().get_texts()]
        ax = plots.residuals(np.zeros((4, 3)), np.eye(3)[:, :1], kind=kind)
        assert "0 outlying rows" in [t.get_text() for t in ax.get_legend().get_texts()]
        ax.figure.savefig("/dev/null", format="png")


@pytest.mark.parametrize("kind", ["affine", "estimator"])
def test_distances_are_those_about_the_centre(kind: str) -> None:
    """Five rows are 4 off a line that does not go through the origin; the noise is 0.1."""
    rng = np.random.default_rng(0)
    A = np.array([100.0, 0.0, 0.0]) + rng.standard_normal((200, 1)) * [[0.0, 5.0, 0.0]]
    A += 0.1 * rng.standard_normal((200, 3))
    A[:5] += [0.0, 0.0, 4.0]
    found: Any = lpgeom.approx_affine(A, 1)
    if kind == "estimator":
        pytest.importorskip("sklearn")
        found = lpgeom.LpPCA(1, random_state=0)
        with pytest.raises(ValueError, match="call fit first"):
            plots.residuals(A, found)
        found.fit(A)
    ax = plots.residuals(A, found)
    outlying = next(xy for name, xy in lines(ax).items() if "outlying" in name)
    assert 5 <= len(outlying) <= 8
    assert outlying[:5, 1] == pytest.approx(4.0, abs=0.5)
    whole = plots.residuals(A, lpgeom.approx_affine(A, 3, certify=False))
    assert "0 outlying rows" in lines(whole)  # in all of the space, up to rounding
    with pytest.raises(ValueError, match="2 finite numbers"):
        plots.residuals(A[:, :2], lpgeom.approx_affine(A, 1, certify=False))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"kind": "pie"}, "kind must be"), ({"named": -1}, "named must be")],
)
def test_bad_options_of_residuals(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plots.residuals(DATA.A, np.eye(8)[:, :2], **options)
    with pytest.raises(ValueError, match="d = 8"):
        plots.residuals(DATA.A, np.eye(5)[:, :2])


# ---------------------------------------------------------------- ellipsoids


def ellipse(shape: Any, center: Any = None) -> Ellipsoid:
    shape = np.asarray(shape, dtype=float)
    center = np.zeros(len(shape)) if center is None else np.asarray(center, dtype=float)
    return Ellipsoid(shape, center, 1.0, None, "by hand", 0, True)


@given(st.integers(0, 200), st.integers(2, 5))
@settings(max_examples=15, deadline=None)
def test_shadows_and_cuts(seed: int, d: int) -> None:
    rng = np.random.default_rng(seed)
    B = rng.standard_normal((d, d)) + 2.0 * np.eye(d)
    E = ellipse(B @ B.T, rng.standard_normal(d))
    i, j = rng.choice(d, 2, replace=False).tolist()
    pair = [i, j]
    shadow = lines(plots.ellipsoid(E, dims=(i, j)))
    outline = next(points for name, points in shadow.items() if len(points) > 100)
    Z = outline - E.center[pair]
    S = np.linalg.inv(np.linalg.inv(E.shape)[np.ix_(pair, pair)])
    np.testing.assert_allclose(np.einsum("ij,jk,ik->i", Z, S, Z), 1.0, rtol=1e-8)
    cut = lines(plots.ellipsoid(E, dims=(i, j), view="cut"))
    outline = next(points for name, points in cut.items() if len(points) > 100)
    X = np.tile(E.center, (len(outline), 1))
    X[:, pair] = outline
    np.testing.assert_allclose(E.gauge(X), 1.0, rtol=1e-8)


def test_points_are_told_apart_by_their_gauge() -> None:
    points = np.random.default_rng(0).standard_normal((60, 4))
    E = lpgeom.min_volume_ellipsoid(points)
    gauge = E.gauge(np.vstack([points, 3.0 * points[:2]]))
    ax = plots.ellipsoid(E, np.vstack([points, 3.0 * points[:2]]), dims=(1, 3))
    words = [t.get_text() for t in ax.get_legend().get_texts()]
    assert f"{int((gauge > 1.001).sum())} outside" in words
    assert f"{int((np.abs(gauge - 1.0) <= 0.001).sum())} on the boundary" in words
    assert "shadow of the ellipsoid" in words
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x[1]", "x[3]")
    flat = plots.ellipsoid(ellipse(np.diag([1.0, 0.25])))
    assert "ellipsoid" in lines(flat)


def test_flat_and_unbounded_ellipsoids() -> None:
    line = np.outer(np.linspace(-1.0, 1.0, 9), [1.0, 2.0, 0.0])
    E = lpgeom.min_volume_ellipsoid(line)
    outline = next(x for x in lines(plots.ellipsoid(E, line)).values() if len(x) > 100)
    np.testing.assert_allclose(outline[:, 1], 2.0 * outline[:, 0], atol=1e-9)
    np.testing.assert_allclose(np.abs(outline[:, 0]).max(), 1.0, rtol=1e-4)
    with pytest.raises(ValueError, match="flat ellipsoid has no cut"):
        plots.ellipsoid(E, view="cut")
    cylinder = ellipse(np.diag([1.0, 4.0, 0.0]))
    assert plots.ellipsoid(cylinder, dims=(0, 1)).lines
    for view in ("shadow", "cut"):
        with pytest.raises(ValueError, match="unbounded on the plane"):
            plots.ellipsoid(cylinder, dims=(1, 2), view=view)


@pytest.mark.parametrize(
    ("dims", "message"),
    [
        ((0, 0), "different"),
        ((0, 3), "between 0 and 2"),
        ((-1, 0), "between 0 and 2"),
        ((0,), "two coordinates"),
        (1, "two coordinates"),
    ],
)
def test_bad_dims(dims: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plots.ellipsoid(ellipse(np.eye(3)), dims=dims)


def test_bad_ellipsoids_and_points() -> None:
    with pytest.raises(TypeError, match="E must be an lpgeom.Ellipsoid"):
        plots.ellipsoid(np.eye(2))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="one dimension"):
        plots.ellipsoid(ellipse([[1.0]]))
    with pytest.raises(ValueError, match="A has 3 columns, the ellipsoid 2"):
        plots.ellipsoid(ellipse(np.eye(2)), np.ones((4, 3)))
    with pytest.raises(ValueError, match="view must be"):
        plots.ellipsoid(ellipse(np.eye(2)), view="inside")


def test_compare_under_both_names() -> None:
    assert plots.compare is plots.plot_compare
