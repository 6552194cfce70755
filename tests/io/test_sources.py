"""Zarr, HDF5 and Parquet: the same answers as in memory, block by block, and never the whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lpgeom
from lpgeom import threads
from lpgeom.cli import main
from lpgeom.io.readers import ReadError, read_matrix, read_vector
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


# ---- what lies in other files, or is not there


def test_hdf5_reads_no_other_file(tmp_path: Path) -> None:
    np.arange(12.0).tofile(tmp_path / "secret.bin")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["group/y"] = np.ones((3, 4))
    layout = h5py.VirtualLayout((3, 4), "f8")
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "group/y", (3, 4))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        outside = [(str(tmp_path / "secret.bin"), 0, 96)]
        file.create_dataset("external", (3, 4), "f8", external=outside)
        file.create_virtual_dataset("virtual", layout)
        file["link"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "group/y")
        file["inner/link"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "group")
        file["soft"] = h5py.SoftLink("/link")
        file["sound"] = np.zeros((2, 2))
    for name in ("external", "virtual"):
        with pytest.raises(ReadError, match=f"'/{name}' has its numbers in other files"):
            read_matrix(tmp_path / "a.h5", name)
    for name in ("link", "soft", "inner/link", "inner/link/y", "link/x"):
        with pytest.raises(ReadError, match="'(link|soft)' is a link to '.*'; links aren't"):
            read_matrix(tmp_path / "a.h5", name)
    for name in ("sound/x", "none", "inner/none"):
        with pytest.raises(ReadError, match="no array named"):
            read_matrix(tmp_path / "a.h5", name)
    assert read_matrix(tmp_path / "a.h5", "sound").shape == (2, 2)


def test_what_is_read_as_a_whole_must_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chunk or a row group of zeros takes nothing in a file, and gigabytes in memory."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        options = {"chunks": (1 << 24, 16), "compression": "gzip"}
        file.create_dataset("x", (1 << 24, 16), "f8", **options)
        file.create_dataset("vector", (1 << 29,), "f8", chunks=(1 << 10,))
    pyarrow = pytest.importorskip("pyarrow")
    zeros = pyarrow.table({name: pyarrow.array(np.zeros(1 << 20)) for name in "ab"})
    path = tmp_path / "a.parquet"
    parquet.write_table(zeros, path, use_dictionary=False, compression="gzip")
    with pytest.raises(ReadError, match=r"0 stored bytes become 2147483648.*LPGEOM_MAX_INFLATED"):
        read_matrix(tmp_path / "a.h5", "x")
    with pytest.raises(ReadError, match="0 stored bytes become 4294967296"):
        read_vector(tmp_path / "a.h5", "vector")
    assert read_matrix(path).shape == (1 << 20, 2)
    monkeypatch.setattr("lpgeom.io.sources.MOST_INFLATED", 1 << 22)
    with pytest.raises(ReadError, match="at most 4194304 are allowed; set the environment"):
        read_matrix(path)
    monkeypatch.setenv("LPGEOM_MAX_INFLATED", "3e9")
    assert read_matrix(path).shape == (1 << 20, 2)
    assert read_matrix(tmp_path / "a.h5", "x").shape == (1 << 24, 16)


def test_a_zarr_of_no_numbers_is_refused_unread(tmp_path: Path) -> None:
    (tmp_path / "a.zarr").mkdir()
    values = {
        "zarr_format": 2, "shape": [2, 2], "chunks": [2, 2], "dtype": "|O", "compressor": None,
        "fill_value": 0, "order": "C", "filters": [{"id": "vlen-utf8"}, {"id": "pickle"}],
    }  # fmt: skip
    (tmp_path / "a.zarr" / ".zarray").write_text(json.dumps(values))
    (tmp_path / "a.zarr" / "0.0").write_bytes(b"cbuiltins\nexit\n(tR.")
    with pytest.raises(ReadError):
        np.asarray(read_matrix(tmp_path / "a.zarr"))
