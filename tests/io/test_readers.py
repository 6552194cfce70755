"""Reading matrices: what is in the file comes out, and a bad file is one clear line."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lpgeom.io.readers import READERS, Reader, ReadError, delimited, read_matrix, read_vector

DTYPES = ["f8", "f4", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1"]


def sample(dtype: str, shape: tuple[int, ...] = (4, 3)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 100, shape).astype(dtype)


def safetensors_bytes(
    tensors: dict[str, tuple[str, tuple[int, ...], bytes]], header: bytes | None = None
) -> bytes:
    """A .safetensors file by its published layout: length, JSON header, data."""
    entries: dict[str, Any] = {}
    data = b""
    for name, (code, shape, raw) in tensors.items():
        offsets = [len(data), len(data) + len(raw)]
        entries[name] = {"dtype": code, "shape": list(shape), "data_offsets": offsets}
        data += raw
    text = json.dumps(entries).encode() if header is None else header
    return len(text).to_bytes(8, "little") + text + data


# ---------------------------------------------------------------- .npy and .npz


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_is_mapped_as_stored(tmp_path: Path, dtype: str, order: Any) -> None:
    A = np.array(sample(dtype), order=order)
    np.save(tmp_path / "a.npy", A)
    B = read_matrix(tmp_path / "a.npy")
    assert isinstance(B, np.memmap)
    assert B.dtype == A.dtype
    np.testing.assert_array_equal(A, B)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_npy_versions(tmp_path: Path, version: tuple[int, int]) -> None:
    with open(tmp_path / "a.npy", "wb") as file:
        np.lib.format.write_array(file, sample("f8"), version=version)
    np.testing.assert_array_equal(read_matrix(tmp_path / "a.npy"), sample("f8"))


def test_half_precision_and_foreign_byte_order_are_converted(tmp_path: Path) -> None:
    np.save(tmp_path / "half.npy", sample("f2"))
    np.save(tmp_path / "big.npy", sample(">f8"))
    assert read_matrix(tmp_path / "half.npy").dtype == np.float32
    assert read_matrix(tmp_path / "big.npy").dtype.isnative
    np.testing.assert_array_equal(read_matrix(tmp_path / "half.npy"), sample("f4"))
    np.testing.assert_array_equal(read_matrix(tmp_path / "big.npy"), sample("f8"))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(tmp_path: Path, save: Any) -> None:
    path = tmp_path / "a.npz"
    save(path, one=sample("f4"))
    np.testing.assert_array_equal(read_matrix(path), sample("f4"))
    save(path, one=sample("f4"), two=sample("f8", (2, 2)))
    np.testing.assert_array_equal(read_matrix(path, "two"), sample("f8", (2, 2)))
    with pytest.raises(ReadError, match="holds 2 arrays, choose one with --tensor: one, two"):
        read_matrix(path)
    with pytest.raises(ReadError, match="no array named 'three'; .*there are: one, two"):
        read_matrix(path, "three")


# ---------------------------------------------------------------- .safetensors


@pytest.mark.parametrize("dtype", [*DTYPES, "f2"])
def test_safetensors_written_by_the_library(tmp_path: Path, dtype: str) -> None:
    from safetensors.numpy import save_file

    other = np.zeros((2, 2), dtype=np.float32)
    save_file({"other": other, "a.weight": sample(dtype)}, tmp_path / "m.safetensors")
    A = read_matrix(tmp_path / "m.safetensors", "a.weight")
    assert A.dtype == (np.float32 if dtype == "f2" else np.dtype(dtype))
    np.testing.assert_array_equal(A, sample(dtype))
    if dtype != "f2":
        assert isinstance(A, np.memmap)


def test_bfloat16_is_exact(tmp_path: Path) -> None:
    values = np.array([[1.0, -2.5, 3.0e38], [0.0, 2.0**-126, -(2.0**-130)]], dtype=np.float32)
    bits = (values.view(np.uint32) >> 16).astype("<u2")
    exact = (bits.astype(np.uint32) << 16).view(np.float32)
    path = tmp_path / "m.safetensors"
    path.write_bytes(safetensors_bytes({"w": ("BF16", (2, 3), bits.tobytes())}))
    A = read_matrix(path)
    assert A.dtype == np.float32
    np.testing.assert_array_equal(A, exact)


def test_a_missing_tensor_lists_near_matches(tmp_path: Path) -> None:
    names = [f"encoder.layer.{i}.weight" for i in range(30)] + ["embeddings.word_embeddings.weight"]
    raw = np.zeros((1, 2), "f4").tobytes()
    path = tmp_path / "m.safetensors"
    path.write_bytes(safetensors_bytes(dict.fromkeys(names, ("F32", (1, 2), raw))))
    with pytest.raises(ReadError, match=r"near matches: embeddings\.word_embeddings\.weight.*more"):
        read_matrix(path, "embeddings.word_embedding.weight")
    with pytest.raises(ReadError, match=r"near matches: embeddings\.word_embeddings\.weight"):
        read_matrix(path, "word_embeddings")


# ---------------------------------------------------------------- .csv


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    A=hnp.arrays(
        np.float64,
        hnp.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=5),
        elements=st.floats(allow_nan=False, allow_infinity=False),
    ),
    header=st.booleans(),
    newline=st.sampled_from(["\n", "\r\n"]),
    bom=st.booleans(),
    blank=st.booleans(),
)
def test_csv_round_trip(
    tmp_path_factory: pytest.TempPathFactory,
    A: np.ndarray,
    header: bool,
    newline: str,
    bom: bool,
    blank: bool,
) -> None:
    lines = [",".join(map(repr, row)) for row in A.tolist()]
    if header:
        lines.insert(0, ",".join(f'"column, {j}"' for j in range(A.shape[1])))
    if blank:
        lines.insert(1, "  ")
        lines.append("")
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    text = ("\ufeff" if bom else "") + newline.join(lines) + newline
    path.write_bytes(text.encode())
    np.testing.assert_array_equal(read_matrix(path, header=header), A)


B = [[1.0, 2.0, 3.0], [2.0, 4.0, 7.0]]


@pytest.mark.parametrize(
    ("name", "text", "options"),
    [
        ("a.csv", "2019,2020,2021\n1,2,3\n2,4,7\n", {}),
        ("a.csv", "2021;2020;2018\n1;2;3\n2;4;7\n", {}),
        ("a.csv", "1,2,3\n2,4,7\n", {}),
        ("a.csv", "0,1,2\n1,2,3\n2,4,7\n", {"header": True}),
        ("a.csv", "1,2,3\n2,4,7\n", {"header": False}),
        ("a.csv", "a;b;c\n1;2;3\n2;4;7\n", {}),
        ("a.csv", "a b c\n1 2 3\n2 4 7\n", {}),
        ("a.tsv", "a\tb\tc\n1\t2\t3\n2\t4\t7\n", {}),
        ("a.txt", "# a b c\n1   2 3\n 2 4 7\n", {}),
        ("a.txt", "1\t2\t3\n2\t4\t7\n", {}),
        ("a.csv.gz", "a,b,c\n1,2,3\n2,4,7\n", {}),
        ("a.txt.gz", "1 2 3\n2 4 7\n", {}),
        ("a.csv", ",a,b,c\nx,1,2,3\ny,2,4,7\n", {"index_col": "1"}),
        ("a.csv", 'who,a,b,c\n"x, y",1,2,3\nz,2,4,7\n', {"index_col": "who"}),
        ("a.txt", "a b c\nx 1 2 3\ny 2 4 7\n", {"index_col": "1"}),
        ("a.csv", "x,1,2,3\ny,2,4,7\n", {"index_col": "1", "header": False}),
        ("a.csv", "c,who,a,b\n3,x,1,2\n7,y,2,4\n", {"columns": ["a", "b", "c"]}),
        ("a.csv", "3,x,1,2\n7,y,2,4\n", {"columns": ["3", "4", "1"], "header": False}),
    ],
)
def test_tables_as_people_have_them(
    tmp_path: Path, name: str, text: str, options: dict[str, Any]
) -> None:
    (tmp_path / name).write_bytes(
        gzip.compress(text.encode()) if name.endswith(".gz") else text.encode()
    )
    np.testing.assert_array_equal(read_matrix(tmp_path / name, **options), B)


@pytest.mark.parametrize("cell", ["", "NA", "N/A", "null", "NULL", "nan", "NaN", "<NA>", '"NA"'])
def test_missing_entries_of_a_table(tmp_path: Path, cell: str) -> None:
    want = [[np.nan, 2.0, 3.0], [2.0, 4.0, np.nan]]
    path = tmp_path / "a.csv"
    for header in ("a,b,c\n", ""):
        path.write_text(f"{header}{cell},2,3\n2,4,{cell}\n")
        np.testing.assert_array_equal(read_matrix(path, missing="ignore"), want)
        if cell.lower() != "nan":  # which is a number
            with pytest.raises(ReadError, match="empty|missing|field"):
                read_matrix(path, header=bool(header))
    with pytest.raises(ValueError, match="missing must be"):
        read_matrix(path, missing="drop")


def test_what_only_a_table_has_is_refused_elsewhere(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.eye(3))
    with pytest.raises(ReadError, match="a .npy file is no table: leave --index-col, --columns"):
        read_matrix(tmp_path / "a.npy", index_col="1", columns=["2"])
    path = tmp_path / "a.csv"
    path.write_text("a,a,b\n1,2,3\n")
    with pytest.raises(ReadError, match="2 columns are named 'a'"):
        read_matrix(path, columns=["a"])
    with pytest.raises(ReadError, match="no column named 'c'; there are: a, a, b"):
        read_matrix(path, columns=["c"])


def test_a_compressed_table_inflates_to_no_more_than_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"1,2\n" * 50_000))
    assert read_matrix(path).shape == (50_000, 2)
    monkeypatch.setenv("LPGEOM_MAX_INFLATED", "100000")
    with pytest.raises(ReadError, match="LPGEOM_MAX_INFLATED"):
        read_matrix(path)
    path.write_bytes(path.read_bytes()[:-20])
    monkeypatch.undo()
    with pytest.raises(ReadError, match="no table"):
        read_matrix(path)


def test_pyarrow_reads_what_the_other_ways_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow")
    rng = np.random.default_rng(0)
    A = rng.standard_normal((300, 4)) * 10.0 ** rng.integers(-300, 300, (300, 4))
    lines = [f"r{i}," + ",".join(map(repr, row)) for i, row in enumerate(A.tolist())]
    path = tmp_path / "a.csv"
    path.write_text("\n\nwho,a,b,c,d\n" + "\n\n".join(lines) + "\n")
    monkeypatch.setattr(delimited, "LARGE", 0)
    taken = []
    by_arrow = delimited.Table.by_arrow
    monkeypatch.setattr(
        delimited.Table, "by_arrow", lambda self: taken.append(by_arrow(self)) or taken[-1]
    )
    np.testing.assert_array_equal(read_matrix(path, index_col="who"), A)
    assert taken[-1] is not None
    np.testing.assert_array_equal(read_matrix(path, columns=["d", "a"]), A[:, [3, 0]])
    path.write_text(path.read_text().replace(repr(A[1, 1].item()), "NA"))
    A[1, 1] = np.nan
    np.testing.assert_array_equal(read_matrix(path, index_col="who", missing="ignore"), A)
    assert taken[-1] is not None
    with pytest.raises(ReadError, match="column 3: 'NA' is not a number"):
        read_matrix(path, index_col="who")


def test_columns_and_missing_values_of_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pyarrow.table({"who": ["x", "y"], "a": [1, None], "b": [2.5, 4.0]})
    parquet.write_table(table, tmp_path / "a.parquet")
    path = tmp_path / "a.parquet"
    found = read_matrix(path, index_col="who", missing="ignore")
    np.testing.assert_array_equal(np.asarray(found), [[1.0, 2.5], [np.nan, 4.0]])
    np.testing.assert_array_equal(np.asarray(read_matrix(path, columns=["b"])), [[2.5], [4.0]])
    with pytest.raises(ValueError, match="'a' has missing values"):
        np.asarray(read_matrix(path, columns=["b", "a"]))
    with pytest.raises(ReadError, match="no column named 'c'"):
        read_matrix(path, columns=["c"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no rows of numbers"),
        ("\n\n", "no rows of numbers"),
        ("a,b\n", "no rows of numbers"),
        ("a,b\n1,2\n3,x\n", "line 3, column 2: 'x' is not a number"),
        ("1,2\n\n3,x\n", "line 3, column 2: 'x' is not a number"),
        ("1,2\n3,\n", "line 2, column 2: empty"),
        ("1,2\n3,4,5\n", "line 2 has 3 fields, expected 2"),
        ("a,b,c\n1,2\n", "line 2 has 2 fields, expected 3"),
        ("1,2\n3,1_000\n", "line 2, column 2: '1_000' is not a number"),
        (",a,b\n0,1,2\n", "line 1, column 1: empty field .*row index"),
        ("1\n2\n", "one column only"),
        ("a,b\n1,2\n3,NA\n", "line 3, column 2: 'NA' is not a number .*--missing ignore"),
        ("a;b\n1;2\n3;4,5\n", "line 3, column 2: '4,5' is not a number: it has a decimal comma"),
        ("name,a\nx,1\n", "line 2, column 1: 'x' is not a number .*--index-col 1"),
        ("a b\nx 1 2\n", "line 2 has 3 fields, expected 2 .*--index-col 1"),
        ("0,1,2\n4,5,5\n", "may be a header, or a row of numbers: say --header or --no-header"),
        ("900,902,904,906\n.1,.2,.2,.1\n", "say --header or --no-header"),
    ],
)
def test_csv_errors_name_line_and_column(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(ReadError, match=message):
        read_matrix(path)


# ---------------------------------------------------------------- vectors


def test_vectors_from_every_format(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    w = sample("f8", (5,))
    np.save(tmp_path / "flat.npy", w)
    np.save(tmp_path / "column.npy", w[:, None])
    np.savez(tmp_path / "w.npz", w=w)
    save_file({"w": w}, tmp_path / "w.safetensors")
    (tmp_path / "w.csv").write_text("weight\n" + "\n".join(map(str, w)))
    for path in tmp_path.iterdir():
        np.testing.assert_array_equal(read_vector(path), w)


def test_a_matrix_is_no_vector(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", sample("f8"))
    with pytest.raises(ReadError, match="not one dimension"):
        read_vector(tmp_path / "a.npy")


# ---------------------------------------------------------------- files that are not what they say


class _Trap:
    def __reduce__(self) -> Any:
        return (pytest.fail, ("reading ran code",))


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def npz_with(name: str, data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, data)
    return buffer.getvalue()


TENSOR = {"w": ("F32", (2, 2), np.eye(2, dtype="f4").tobytes())}
BAD = {
    "empty.npy": (b"", "not a NumPy .npy file"),
    "empty.npz": (b"", "not an .npz file"),
    "empty.safetensors": (b"", "empty file"),
    "text.npy": (b"1,2\n3,4\n", "not a NumPy .npy file"),
    "text.npz": (b"1,2\n3,4\n", "not an .npz file"),
    "text.safetensors": (b"1,2\n3,4\n5,6\n", "not a safetensors file"),
    "binary.csv": (bytes(range(128, 256)), "not a text file"),
    "zeros.csv": (bytes(10), "not a|no rows"),
    "pickle.npy": (pickle.dumps(_Trap()), "not a NumPy .npy file"),
    "objects.npy": (npy(np.array([[_Trap()]], dtype=object)), "holds Python objects"),
    "objects.npz": (
        npz_with("a.npy", npy(np.array([[_Trap()]], dtype=object))),
        "holds Python objects",
    ),
    "truncated.npy": (npy(np.eye(9))[:-1], "truncated: 647 of the 648 bytes"),
    "header.npy": (npy(np.eye(9))[:40], "header is damaged"),
    "truncated.npz": (npz_with("a.npy", npy(np.eye(9)))[:-30], "not an .npz file, or truncated"),
    "inner.npz": (npz_with("a.npy", npy(np.eye(9))[:-1]), "damaged .npz"),
    "member.npz": (npz_with("readme.txt", b"hello"), "not an array"),
    "none.npz": (npz_with("x", b"")[-22:].replace(b"\x01\x00\x01\x00", bytes(4)), ".npz"),
    "truncated.safetensors": (safetensors_bytes(TENSOR)[:-1], "not a safetensors file"),
    "header.safetensors": (safetensors_bytes(TENSOR)[:20], "not a safetensors file"),
    "length.safetensors": (b"\xff" * 8 + b"{}", "not a safetensors file"),
    "json.safetensors": (safetensors_bytes({}, b"{not json"), "not a safetensors file"),
    "none.safetensors": (safetensors_bytes({}), "holds no arrays"),
    "complex.npy": (npy(np.eye(2) * 1j), "dtype complex128; expected real numbers"),
    "text_array.npy": (npy(np.array([["a", "b"]])), "expected real numbers"),
    "records.npy": (npy(np.zeros((2, 2), dtype=[("x", "f8")])), "expected real numbers"),
    "vector.npy": (npy(np.zeros(3)), r"shape \(3,\), not two dimensions"),
    "cube.npy": (npy(np.zeros((2, 2, 2))), "not two dimensions"),
    "scalar.npy": (npy(np.float64(1)), "not two dimensions"),
    "weights.pt": (b"PK", "unknown file type '.pt'; known: .npy, .npz, .safetensors, .csv, .tsv"),
    "nothing": (b"", "unknown file type"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_told_in_one_line(tmp_path: Path, name: str) -> None:
    content, message = BAD[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ReadError, match=message) as caught:
        read_matrix(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors", ".csv"])
def test_missing_files_and_directories(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(ReadError, match="No such file"):
        read_matrix(tmp_path / f"none{suffix}")
    (tmp_path / f"folder{suffix}").mkdir()
    with pytest.raises(ReadError, match="is a directory"):
        read_matrix(tmp_path / f"folder{suffix}")


@pytest.mark.parametrize("suffix", [".npy", ".csv"])
def test_a_name_for_a_file_of_one_array_is_refused(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(ReadError, match="holds one array"):
        read_matrix(tmp_path / f"a{suffix}", "w")


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_empty_arrays_are_left_to_validation(tmp_path: Path, shape: tuple[int, int]) -> None:
    from safetensors.numpy import save_file

    np.save(tmp_path / "a.npy", np.zeros(shape))
    save_file({"w": np.zeros(shape)}, tmp_path / "a.safetensors")
    assert read_matrix(tmp_path / "a.npy").shape == shape
    assert read_matrix(tmp_path / "a.safetensors").shape == shape


@pytest.mark.parametrize("shape", [[0, 2**61], [2**61, 0], [0, 2**64 - 1], [0] * 70])
def test_an_empty_tensor_of_an_impossible_shape(tmp_path: Path, shape: list[int]) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(safetensors_bytes({"a": ("F32", tuple(shape), b"")}))
    with pytest.raises(ReadError, match="shape"):
        read_matrix(path)


def test_every_truncation_of_every_format_is_a_read_error(tmp_path: Path) -> None:
    whole = {
        ".npy": npy(np.eye(4)),
        ".npz": npz_with("a.npy", npy(np.eye(4))),
        ".safetensors": safetensors_bytes(TENSOR),
    }
    for suffix, data in whole.items():
        path = tmp_path / f"a{suffix}"
        for length in range(0, len(data), 3):
            path.write_bytes(data[:length])
            with pytest.raises(ReadError):
                read_matrix(path)


def test_what_inflates_beyond_the_limit_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few MB of zeros that claim to be 1.2 GB; the limit is an environment variable."""
    path = tmp_path / "bomb.npz"
    rows = 1_200_000_000 // 800
    header = io.BytesIO()
    shape = {"descr": "<f8", "fortran_order": False, "shape": (rows, 100)}
    np.lib.format.write_array_header_1_0(header, shape)
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("a.npy", "w", force_zip64=True) as member,
    ):
        member.write(header.getvalue())
        for _ in range(1200):
            member.write(bytes(1_000_000))
    assert path.stat().st_size < 8_000_000
    tracemalloc.start()
    for read in (read_matrix, read_vector):
        with pytest.raises(ReadError, match=r"at most 1073741824 .*LPGEOM_MAX_INFLATED to more"):
            read(path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 24
    tracemalloc.stop()
    np.savez_compressed(path, a=np.ones((1000, 10)))
    monkeypatch.setenv("LPGEOM_MAX_INFLATED", "80000")
    with pytest.raises(ReadError, match="stored bytes become 80128, and at most 80000 are allowed"):
        read_matrix(path)
    monkeypatch.setenv("LPGEOM_MAX_INFLATED", "1e5")
    assert read_matrix(path).shape == (1000, 10)
    np.savez(path, a=np.ones((2000, 10)))  # is as large as it says
    assert read_matrix(path).shape == (2000, 10)
    for text in ("much", "-1", "nan", "0"):
        monkeypatch.setenv("LPGEOM_MAX_INFLATED", text)
        np.savez_compressed(path, a=np.ones((2, 2)))
        with pytest.raises(ReadError, match="must be a number of bytes"):
            read_matrix(path)


def test_a_new_type_of_file_is_one_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(path: Any, tensor: str | None) -> Any:
        return np.loadtxt(path, ndmin=2)

    (tmp_path / "a.dat").write_text("1 2\n3 4\n")
    (tmp_path / "one.dat").write_text("1\n3\n")
    with pytest.raises(ReadError, match="unknown file type '.dat'"):
        read_matrix(tmp_path / "a.dat")
    monkeypatch.setitem(READERS, ".dat", Reader(read, names=False, least_columns=2))
    np.testing.assert_array_equal(read_matrix(tmp_path / "a.dat"), [[1.0, 2.0], [3.0, 4.0]])
    with pytest.raises(ReadError, match="has no name"):
        read_matrix(tmp_path / "a.dat", "a")
    with pytest.raises(ReadError, match="one column only"):
        read_matrix(tmp_path / "one.dat")
    with pytest.raises(ReadError, match="No such file"):
        read_matrix(tmp_path / "none.dat")

    def refuse(path: Any, tensor: str | None) -> Any:
        raise OSError("the disk is gone")

    monkeypatch.setitem(READERS, ".dat", Reader(refuse))
    with pytest.raises(ReadError, match=r"a\.dat: the disk is gone"):
        read_matrix(tmp_path / "a.dat")
