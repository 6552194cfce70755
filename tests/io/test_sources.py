"""Zarr, HDF5 and Parquet: the same answers as in memory, block by block, and never the whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lpgeom
from lpgeom import threads
from lpgeom.cli import main
from lpgeom.io.readers import ReadError, read_matrix
from lpgeom.io.sources import Stored, StoredArray, stored
from lpgeom.rows.array import ArrayRows
from lpgeom.rows.stored import StoredRows

h5py = pytest.importorskip("h5py", reason="HDF5 is not tested: pip install 'lpgeom[chunked]'")
zarr = pytest.importorskip("zarr", reason="Zarr is not tested: pip install 'lpgeom[chunked]'")
parquet = pytest.importorskip(
    "pyarrow.parquet", reason="Parquet is not tested: pip install 'lpgeom[chunked]'"
)


def to_zarr(A: Any, folder: Path) -> Path:
    path = folder / "A.zarr"
    array = zarr.create_array(path, shape=A.shape, dtype=A.dtype, chunks=(37, 3))
    array[:] = A
    return path


def to_zarr_shards(A: Any, folder: Path) -> Path:
    path = folder / "S.zarr"
    group = zarr.open_group(path, mode="w")
    array = group.create_array(
        "deep/A", shape=A.shape, dtype=A.dtype, chunks=(10, 6), shards=(50, 6)
    )
    array[:] = A
    return path


def to_hdf5(A: Any, folder: Path) -> Path:
    path = folder / "A.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("group/A", data=A, chunks=(41, 2), compression="gzip")
    return path


def to_hdf5_plain(A: Any, folder: Path) -> Path:
    path = folder / "A.hdf5"
    with h5py.File(path, "w") as file:
        file["A"] = A
    return path


def to_parquet(A: Any, folder: Path) -> Path:
    import pyarrow

    path = folder / "A.parquet"
    table = pyarrow.table({f"x{j}": A[:, j] for j in range(A.shape[1])})
    parquet.write_table(table, path, row_group_size=53)
    return path


def to_parquet_vectors(A: Any, folder: Path) -> Path:
    import pyarrow

    path = folder / "V.parquet"
    inner = pyarrow.array(A.ravel())
    vectors = pyarrow.FixedSizeListArray.from_arrays(inner, A.shape[1])
    table = pyarrow.table({"id": np.arange(len(A)), "vector": vectors})
    parquet.write_table(table, path, row_group_size=90)
    return path


WRITERS: list[tuple[Callable[[Any, Path], Path], str | None]] = [
    (to_zarr, None),
    (to_zarr_shards, "deep/A"),
    (to_hdf5, "group/A"),
    (to_hdf5_plain, None),
    (to_parquet, None),
    (to_parquet_vectors, "vector"),
]
each_format = pytest.mark.parametrize(
    ("write", "tensor"), WRITERS, ids=[write.__name__ for write, _ in WRITERS]
)


def matrix(dtype: str = "f8") -> Any:
    rng = np.random.default_rng(0)
    A = rng.standard_normal((311, 2)) @ rng.standard_normal((2, 6))
    A += 0.1 * rng.standard_normal(A.shape)
    A[:15] *= 20.0
    return A.astype(dtype)


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of a few rows, and two workers: every border is crossed."""
    monkeypatch.setattr("lpgeom.io.sources.PIECE_BYTES", 100 * 6 * 8)
    monkeypatch.setattr(threads, "SERIAL_SIZE", 0.0)
    monkeypatch.setattr(threads, "blas_threads", lambda: 2)


@each_format
@pytest.mark.parametrize("dtype", ["f8", "f4"])
def test_every_pass(write: Any, tensor: str | None, dtype: str, tmp_path: Path) -> None:
    A = matrix(dtype)
    source = read_matrix(write(A, tmp_path), tensor)
    assert isinstance(source, Stored)
    assert (source.shape, source.dtype, source.ndim) == (A.shape, A.dtype, 2)
    np.testing.assert_array_equal(np.asarray(source), A)
    for part in (slice(0, 1), slice(10, 120), slice(120, 311), slice(5, 9), slice(300, 400)):
        np.testing.assert_array_equal(source[part], A[part])
    rng = np.random.default_rng(1)
    f, w, X = rng.random(311), rng.standard_normal(311), rng.standard_normal((6, 4))
    for ours, theirs, tol in (
        (StoredRows(source, f, 0.5, 512), ArrayRows(A, f, 0.5), 1e-13),
        (StoredRows(source, None, 0.5).single(), ArrayRows(A, None, 0.5).single(), 1e-5),
    ):

        def close(a: Any, b: Any, tol: float = tol) -> None:
            np.testing.assert_allclose(a, b, rtol=0.0, atol=tol * np.abs(b).max())

        close(ours.squared_norms(), theirs.squared_norms())
        close(ours.quadratic_form(X), theirs.quadratic_form(X))
        close(ours.bilinear_form(X @ X.T), theirs.bilinear_form(X @ X.T))
        close(ours.weighted_gram(w), theirs.weighted_gram(w))
        close(np.abs(ours.triangle(w * w)), np.abs(theirs.triangle(w * w)), 1e-4)
        for a, b in zip(
            ours.reweighted_gram(X, lambda t, lo, hi: (w[lo:hi] * t, 2.0 * t)),
            theirs.reweighted_gram(X, lambda t, lo, hi: (w[lo:hi] * t, 2.0 * t)),
            strict=True,
        ):
            close(a, b, 10 * tol)
        index = np.array([310, 0, 36, 37, 0])
        close(ours.take(index, w[:5])._A, theirs.take(index, w[:5])._A, 1e-6)


@each_format
def test_the_public_functions(write: Any, tensor: str | None, tmp_path: Path) -> None:
    A = matrix()
    source = read_matrix(write(A, tmp_path), tensor)
    for p in (1.0, 3.0, np.inf):
        ours, theirs = (lpgeom.approx_subspace(M, 2, p, method="irls") for M in (source, A))
        np.testing.assert_allclose(
            ours.basis @ ours.basis.T, theirs.basis @ theirs.basis.T, atol=1e-8
        )
        assert ours.lower_bound == pytest.approx(theirs.lower_bound, rel=1e-6)
        ours.certificate.verify(source)
        assert lpgeom.cost(source, ours.basis, p) == pytest.approx(ours.cost)
        entries = [lpgeom.cost(M, ours.basis, p, "entries") for M in (source, A)]
        assert entries[0] == pytest.approx(entries[1])
        assert lpgeom.certify(source, ours.basis, p).cost == pytest.approx(ours.cost)
    weights = [lpgeom.lewis_weights(M, 1.0).weights for M in (source, A)]
    np.testing.assert_allclose(*weights, rtol=1e-8)


def test_open_arrays_are_taken_as_they_are(tmp_path: Path) -> None:
    A = matrix()
    with h5py.File(to_hdf5(A, tmp_path)) as file:
        dataset = file["group/A"]
        assert isinstance(stored(dataset), StoredArray)
        result = lpgeom.approx_subspace(dataset, 2)
        result.certificate.verify(dataset)
    array = zarr.open(to_zarr(A, tmp_path), mode="r")
    table = parquet.ParquetFile(to_parquet(A, tmp_path))
    for source in (array, table):
        assert lpgeom.approx_subspace(source, 2).cost == pytest.approx(result.cost)
    assert stored(A) is None
    assert stored([[1.0, 2.0]]) is None


def test_nothing_reads_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = read_matrix(to_hdf5(matrix(), tmp_path))
    most = max(hi - lo for lo, hi in source.pieces)
    seen = []
    read = StoredArray.__getitem__

    def watched(self: StoredArray, rows: slice) -> Any:
        seen.append(rows.stop - rows.start)
        return read(self, rows)

    monkeypatch.setattr(StoredArray, "__getitem__", watched)
    lpgeom.approx_subspace(source, 2)
    assert most < 130
    assert max(seen) == most


@each_format
def test_nan_names_its_entry(write: Any, tensor: str | None, tmp_path: Path) -> None:
    A = matrix()
    A[222, 4] = np.nan
    with pytest.raises(ValueError, match=r"A\[222, 4\] is nan; every entry must be finite"):
        lpgeom.approx_subspace(read_matrix(write(A, tmp_path), tensor), 2)


def test_the_command_line_reads_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = to_hdf5(matrix(), tmp_path)
    out = tmp_path / "r.npz"
    call = ["approx", str(path), "--tensor", "group/A", "-k", "2", "--out", str(out)]
    assert main(call) == 0
    assert main(["verify", str(out), str(path)]) == 0
    assert main(["compare", str(path), "-k", "2", "--methods", "svd"]) == 0
    assert "311 x 6 float64" in capsys.readouterr().out
    assert main(["approx", str(path), "--tensor", "group/B", "-k", "2"]) != 0
    assert "no array named 'group/B'" in capsys.readouterr().err


def broken_text(folder: Path, suffix: str) -> Path:
    path = folder / f"bad{suffix}"
    path.write_text("no such thing")
    return path


@pytest.mark.parametrize("suffix", [".h5", ".parquet", ".zarr"])
def test_damaged_and_missing_files(suffix: str, tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=rf"bad\{suffix}"):
        read_matrix(broken_text(tmp_path, suffix))
    with pytest.raises(ReadError, match="No such file"):
        read_matrix(tmp_path / f"none{suffix}")


def test_columns_that_are_no_matrix(tmp_path: Path) -> None:
    import pyarrow

    tables = {
        "text": {"a": [1.0, 2.0], "b": ["x", "y"]},
        "ragged": {"v": [[1.0, 2.0], [3.0]]},
        "missing": {"a": [1.0, None], "b": [2.0, 3.0]},
    }
    for name, columns in tables.items():
        parquet.write_table(pyarrow.table(columns), tmp_path / f"{name}.parquet")
    with pytest.raises(ReadError, match="column 'b' is of type string, not numbers"):
        read_matrix(tmp_path / "text.parquet")
    with pytest.raises(ReadError, match="no column named 'c'; there are: a, b"):
        read_matrix(tmp_path / "text.parquet", "c")
    with pytest.raises(ValueError, match="not every vector from row 0 on has length 2"):
        np.asarray(read_matrix(tmp_path / "ragged.parquet"))
    with pytest.raises(ValueError, match="column 'a' has missing values"):
        np.asarray(read_matrix(tmp_path / "missing.parquet"))


def test_a_library_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = to_hdf5(matrix(), tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(ReadError, match="read with h5py, which is not installed: pip install"):
        read_matrix(path)
