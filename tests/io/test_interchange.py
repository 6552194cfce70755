"""Dataframes, tensors and array protocols go in as arrays do; what cannot is named."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import lpgeom
from lpgeom.io import readers, validation
from lpgeom.io.interchange import as_numpy

pandas = pytest.importorskip("pandas")
RNG = np.random.default_rng(0)
A = RNG.standard_normal((24, 4))
OMEGA = RNG.uniform(0.5, 2.0, 24)
V = np.linalg.qr(RNG.standard_normal((4, 2)))[0]
ROWS = [f"row {i}" for i in range(24)]
COLUMNS = ["age", "height", "weight", "income"]


def frame(values: Any = A, **options: Any) -> Any:
    # pandas before 3 holds the array itself: what a test writes would be in A.
    return pandas.DataFrame(np.array(values), index=ROWS, columns=COLUMNS, **options)


def with_column(column: Any) -> Any:
    table = frame()
    table["height"] = column
    return table


FEW: dict[str, Any] = {"max_iter": 3, "certify": False}


@cache
def certified_entries() -> Any:
    return lpgeom.approx_factors(A, 2, 1.0, max_iter=3).certificate


# Every public function that takes a matrix: a number that says whether it read it right.
CALLS: dict[str, Callable[[Any], Any]] = {
    "approx_subspace": lambda x: lpgeom.approx_subspace(x, 2).cost,
    "entries": lambda x: lpgeom.approx_subspace(x, 2, objective="entries", **FEW).cost,
    "cost_curve": lambda x: lpgeom.cost_curve(x, 1.0, [1, 2]).cost,
    "certify": lambda x: lpgeom.certify(x, V).lower_bound,
    "certify basis": lambda x: lpgeom.certify(A, x[:4, :2] if x is A else x.iloc[:4, :2]).cost,
    "cost": lambda x: lpgeom.cost(x, V),
    "lewis_weights": lambda x: lpgeom.lewis_weights(x, 1.0).weights,
    "lp_svd": lambda x: lpgeom.lp_svd(x, 1.0).D,
    "coreset": lambda x: lpgeom.coreset(x, 10, p=1.0).indices,
    "compare": lambda x: list(lpgeom.compare(x, 2, methods=["svd"])["cost"]),
    "approx_factors": lambda x: lpgeom.approx_factors(x, 2, 1.0, **FEW).cost,
    "approx_clusters": lambda x: lpgeom.approx_clusters(x, 1, subspaces=2).cost,
    "approx_mixed": lambda x: lpgeom.approx_mixed(x, 80, subspaces=2).cost,
    "lp_regression V": lambda x: lpgeom.lp_regression(x, A[:, 0] ** 2, 1.0).cost,
    "lp_regression B": lambda x: lpgeom.lp_regression(V, x, 1.0).cost,
    "min_volume_ellipsoid": lambda x: lpgeom.min_volume_ellipsoid(x).shape,
    "loewner_ellipsoid": lambda x: lpgeom.loewner_ellipsoid(x, 1.0).shape,
    "john_ellipsoid": lambda x: lpgeom.john_ellipsoid(x).shape,
    "StreamingCoreset": lambda x: lpgeom.StreamingCoreset(1.0, 10).partial_fit(x).coreset().indices,
    "factors": lambda x: lpgeom.approx_subspace(A, 2).factors(x)[0],
    "verify": lambda x: lpgeom.approx_subspace(A, 2).certificate.verify(x),
    "verify entries": lambda x: certified_entries().verify(x),
}


def factors_cost(x: Any, **options: Any) -> float:
    return lpgeom.approx_factors(x, 2, 1.0, max_iter=3, certify=False, **options).cost


def same(got: Any, want: Any) -> None:
    if want is None:
        assert got is None
    else:
        np.testing.assert_allclose(got, want, rtol=1e-12)


@pytest.mark.parametrize("name", CALLS)
def test_dataframes_are_read_as_their_values(name: str) -> None:
    same(CALLS[name](frame()), CALLS[name](A))


@pytest.mark.parametrize("name", CALLS)
def test_a_column_of_words_is_named(name: str) -> None:
    if name == "certify basis":
        pytest.skip("reads other columns")
    with pytest.raises(TypeError, match=r"column 'height' of (A|V|B|points|block) does not hold"):
        CALLS[name](with_column(["tall"] * 24))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([True] * 24, r"column 'height' of A holds booleans \(bool\).*astype\(float\)"),
        (pandas.Categorical(["a"] * 24), r"column 'height' of A does not hold numbers \(category"),
        (pandas.date_range("2020", periods=24), "column 'height' of A holds dates"),
        (A[:, 0] + 0j, "column 'height' of A holds complex numbers"),
        (pandas.arrays.SparseArray(A[:, 0]), r"column 'height' of A is sparse.*to_dense\(\)"),
        (pandas.array([True] * 24, dtype="boolean"), "holds booleans"),
        ([*A[:23, 0].tolist(), None], "missing value in row 'row 23' .number 23."),
    ],
)
def test_other_columns(column: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        lpgeom.approx_subspace(with_column(column), 2)


@pytest.mark.parametrize("dtype", ["float64", "Float64", "Int64", "float32", "int16", "Float32"])
def test_types_of_columns(dtype: str) -> None:
    whole = np.round(10.0 * A)
    table = frame(whole).astype({"height": dtype})
    np.testing.assert_array_equal(as_numpy(table, "A"), whole)
    assert lpgeom.cost(table, V) == pytest.approx(lpgeom.cost(whole, V), rel=1e-12)


@pytest.mark.parametrize("dtype", ["float64", "Float64"])
def test_missing_values_are_named(dtype: str) -> None:
    table = frame().astype(dtype)
    table.loc["row 7", "weight"] = None
    with pytest.raises(ValueError, match=r"value in row 'row 7' \(number 7\), column 'weight'"):
        lpgeom.approx_subspace(table, 2)
    numbered = table.reset_index(drop=True)
    with pytest.raises(ValueError, match="in row 7, column 'weight': fill or drop"):
        lpgeom.cost(numbered, V)
    # Where missing entries have a meaning they are let in.
    holes = A.copy()
    holes[7, 2] = np.nan
    got = factors_cost(table, missing="ignore")
    assert got == pytest.approx(factors_cost(holes, missing="ignore"))


def test_infinities_are_found_as_in_arrays() -> None:
    table = frame()
    table.iloc[3, 1] = np.inf
    with pytest.raises(ValueError, match=r"A\[3, 1\] is inf"):
        lpgeom.approx_subspace(table, 2)


def test_row_weights_of_a_series() -> None:
    want = lpgeom.approx_subspace(A, 2, row_weights=OMEGA).cost
    for series in (
        pandas.Series(OMEGA, index=ROWS[::-1]),  # by place, not by label
        pandas.Series(OMEGA).astype("Float64"),
        OMEGA.tolist(),
    ):
        assert lpgeom.approx_subspace(frame(), 2, row_weights=series).cost == pytest.approx(want)
    broken = pandas.Series(OMEGA.copy(), index=ROWS)  # pandas before 3 writes through
    broken["row 5"] = np.nan
    with pytest.raises(ValueError, match="row_weights has a missing value in row 'row 5'"):
        lpgeom.approx_subspace(A, 2, row_weights=broken)
    with pytest.raises(TypeError, match="row_weights does not hold numbers"):
        lpgeom.approx_subspace(A, 2, row_weights=pandas.Series(["a"] * 24))


def test_masks_of_entries_may_be_dataframes() -> None:
    mask = RNG.random(A.shape) < 0.8
    got = factors_cost(frame(), entry_weights=frame(mask))
    assert got == pytest.approx(factors_cost(A, entry_weights=mask))


def test_columns_of_one_name() -> None:
    table = pandas.DataFrame(A, columns=["x", "x", "y", "x"])
    assert lpgeom.cost(table, V) == lpgeom.cost(A, V)
    table.isetitem(3, ["no"] * 24)
    with pytest.raises(TypeError, match="column 'x' of A"):
        lpgeom.cost(table, V)


@given(arrays(np.float64, (5, 3), elements=st.floats(-1e3, 1e3)))
@settings(max_examples=25, deadline=None)
def test_values_survive(values: Any) -> None:
    np.testing.assert_array_equal(as_numpy(pandas.DataFrame(values), "A"), values)
    np.testing.assert_array_equal(as_numpy(values.tolist(), "A"), values)


class OnlyDlpack:
    """A library that offers DLPack and nothing else."""

    def __init__(self, values: Any) -> None:
        self._values = values

    def __dlpack__(self, **options: Any) -> Any:
        return self._values.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._values.__dlpack_device__()


class OnlyArray:
    def __init__(self, values: Any) -> None:
        self._values = values

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self._values


class Elsewhere:
    """As CuPy's arrays answer."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")


@pytest.mark.parametrize("kind", [OnlyDlpack, OnlyArray])
def test_protocols(kind: Any) -> None:
    assert lpgeom.cost(kind(A), V) == lpgeom.cost(A, V)
    assert np.shares_memory(as_numpy(kind(A), "A"), A)
    got = lpgeom.approx_subspace(A, 2, row_weights=kind(OMEGA)).cost
    assert got == pytest.approx(lpgeom.approx_subspace(A, 2, row_weights=OMEGA).cost)


@pytest.mark.parametrize("name", [name for name in CALLS if name != "certify basis"])
def test_the_name_of_a_file_is_not_the_file(name: str) -> None:
    match = r"is a \w+, not an array; .*numpy\.load\(path.*lpgeom\.io\.read_matrix\(path\)"
    for path in ("file.npy", b"file.npy", Path("file.npy")):
        with pytest.raises(TypeError, match=match):
            CALLS[name](path)


def test_the_file_is_read_as_the_error_says(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, A)
    for read in (lambda: np.load(path, mmap_mode="r"), lambda: readers.read_matrix(path)):
        assert lpgeom.cost(read(), V) == lpgeom.cost(A, V)
    with pytest.raises(TypeError, match=r"^basis is a str, .*read_matrix"):
        lpgeom.cost(A, str(path))
    with pytest.raises(TypeError, match=r"^row_weights is a str, .*read_vector"):
        lpgeom.cost(A, V, row_weights=str(path))
    with pytest.raises(TypeError, match=r"^A is a \w+, .*read_matrix"):
        lpgeom.certify(A, V).verify(path)


def test_what_cannot_be_read_says_so() -> None:
    with pytest.raises(TypeError, match="A cannot be read as an array: Implicit conversion"):
        lpgeom.cost(Elsewhere(), V)


def test_array_api() -> None:
    xp = pytest.importorskip("array_api_strict")
    assert lpgeom.cost(xp.asarray(A), V) == lpgeom.cost(A, V)


def test_tensors() -> None:
    torch = pytest.importorskip("torch")
    want = lpgeom.approx_subspace(A, 2).cost
    leaf = torch.tensor(A, requires_grad=True)
    for tensor in (leaf, leaf * 1.0, torch.tensor(A.T.copy()).T):
        assert lpgeom.approx_subspace(tensor, 2).cost == pytest.approx(want, rel=1e-12)
    result = lpgeom.approx_subspace(leaf, 2, row_weights=torch.tensor(OMEGA))
    result.certificate.verify(leaf)
    assert result.factors(leaf)[0].shape == (24, 2)
    half = torch.tensor(A, dtype=torch.bfloat16)
    assert as_numpy(half, "A").dtype == np.float32
    assert lpgeom.approx_subspace(half, 2).cost == pytest.approx(want, rel=0.02)
    with pytest.raises(TypeError, match=r"A is a sparse tensor.*A.to_dense\(\)"):
        lpgeom.approx_subspace(torch.tensor(A).to_sparse(), 2)


def test_xarray() -> None:
    xarray = pytest.importorskip("xarray")
    array = xarray.DataArray(A, dims=("row", "column"))
    assert lpgeom.cost(array, V) == lpgeom.cost(A, V)
    with pytest.raises(TypeError, match="to_dataarray"):
        lpgeom.cost(array.to_dataset(name="x"), V)


class TestPolars:
    @pytest.fixture(autouse=True)
    def _polars(self) -> None:
        self.polars = pytest.importorskip("polars")

    def table(self, **columns: Any) -> Any:
        given = {name: A[:, j] for j, name in enumerate(COLUMNS)}
        return self.polars.DataFrame({**given, **columns})

    @pytest.mark.parametrize("name", [n for n in CALLS if n != "certify basis"])
    def test_dataframes(self, name: str) -> None:
        same(CALLS[name](self.table()), CALLS[name](A))

    def test_a_lazy_frame_is_to_be_collected(self) -> None:
        with pytest.raises(TypeError, match=r"LazyFrame, not computed yet: pass A.collect\(\)"):
            lpgeom.cost(self.table().lazy(), V)

    @pytest.mark.parametrize(
        ("column", "message"),
        [
            (["a"] * 24, r"column 'height' of A does not hold numbers \(String\)"),
            ([True] * 24, r"column 'height' of A holds booleans"),
            ([None, *A[1:, 0]], "A has a missing value in row 0, column 'height'"),
            ([*A[:-1, 0], float("nan")], "A has a missing value in row 23, column 'height'"),
        ],
    )
    def test_other_columns(self, column: Any, message: str) -> None:
        with pytest.raises((TypeError, ValueError), match=message):
            lpgeom.cost(self.table(height=column), V)

    def test_whole_numbers_and_decimals(self) -> None:
        whole = np.round(10.0 * A)
        table = self.polars.DataFrame(whole, schema=COLUMNS)
        for kind in (self.polars.Int32, self.polars.Decimal(10, 2)):
            cast = table.with_columns(self.polars.col("height").cast(kind))
            np.testing.assert_array_equal(as_numpy(cast, "A"), whole)

    def test_row_weights(self) -> None:
        series = self.polars.Series("w", OMEGA)
        want = lpgeom.approx_subspace(A, 2, row_weights=OMEGA).cost
        assert lpgeom.approx_subspace(self.table(), 2, row_weights=series).cost == pytest.approx(
            want
        )
        gap = self.polars.Series("w", [None, *OMEGA[1:]])
        with pytest.raises(ValueError, match="row_weights has a missing value in row 0"):
            lpgeom.approx_subspace(A, 2, row_weights=gap)

    def test_missing_entries_where_they_have_a_meaning(self) -> None:
        table = self.table(height=[None, *A[1:, 1]])
        holes = A.copy()
        holes[0, 1] = np.nan
        got = factors_cost(table, missing="ignore")
        assert got == pytest.approx(factors_cost(holes, missing="ignore"))


def test_bfloat16_of_ml_dtypes_is_float32() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    A = np.random.default_rng(0).standard_normal((20, 4)).astype(ml_dtypes.bfloat16)
    found = validation.check_matrix(A)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, A.astype(np.float64))


def test_a_dask_dataframe_is_told_what_to_become() -> None:
    frames = pytest.importorskip("dask.dataframe")
    pandas = pytest.importorskip("pandas")
    frame = frames.from_pandas(pandas.DataFrame({"a": [1.0, 2.0], "b": [0.0, 1.0]}), npartitions=1)
    with pytest.raises(TypeError, match=r"A\.compute\(\) .* A\.to_dask_array\(lengths=True\)"):
        lpgeom.approx_subspace(frame, 1)
