"""Where fuzzing starts: small valid files of every format, made here rather than stored."""

from __future__ import annotations

import io
import json
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

import lpgeom

CRASHES = Path(__file__).parent / "crashes"
"""Inputs that once were findings, ``crashes/<target>/<name>``."""


def seeds(name: str) -> list[bytes]:
    """Valid and nearly valid inputs of a target, and the findings of the past."""
    folder = CRASHES / name
    past = [path.read_bytes() for path in sorted(folder.iterdir())] if folder.is_dir() else []
    return [*_MAKERS[name](), *past]


def _arrays() -> list[Any]:
    A = np.random.default_rng(0).standard_normal((5, 3))
    return [A, A.astype("f4"), np.asfortranarray(A), A.astype("f2"), A.astype(">i4"), A[0]]


def _npy() -> list[bytes]:
    out = []
    for array in _arrays():
        for version in ((1, 0), (2, 0)):
            file = io.BytesIO()
            np.lib.format.write_array(file, array, version=version)
            out.append(file.getvalue())
    file = io.BytesIO()
    np.save(file, np.array([[{"a": 1}, 2]], dtype=object), allow_pickle=True)
    return [*out, file.getvalue()]


def _npz() -> list[bytes]:
    out = []
    for save in (np.savez, np.savez_compressed):
        for arrays in ({"a": _arrays()[0]}, {"a": _arrays()[1], "b": _arrays()[3]}):
            file = io.BytesIO()
            save(file, **arrays)
            out.append(file.getvalue())
    return out


def safetensors(entries: dict[str, tuple[str, list[int], bytes]]) -> bytes:
    """A file by the format's layout: length, JSON, data."""
    header: dict[str, Any] = {}
    data = b""
    for name, (code, shape, raw) in entries.items():
        offsets = [len(data), len(data) + len(raw)]
        header[name] = {"dtype": code, "shape": shape, "data_offsets": offsets}
        data += raw
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def _safetensors() -> list[bytes]:
    A = _arrays()[0]
    return [
        safetensors({"a": ("F64", [5, 3], A.tobytes())}),
        safetensors({"a": ("BF16", [5, 3], bytes(30)), "b": ("I8", [3], bytes(3))}),
        safetensors({"a": ("F32", [0, 3], b""), "b": ("F16", [2, 2], bytes(8))}),
        safetensors({"a": ("BOOL", [2, 2], bytes(4))}),
    ]


def _csv() -> list[bytes]:
    return [
        b"1,2\n3,4\n",
        b"x,y\n1,2\n3.5,-4e300\n",
        b'"1","2"\r\n"3","4"\r\n',
        b"\xef\xbb\xbf1,nan\n\n2,inf\n",
        b",x\n0,1\n",
        b"1\n2\n",
    ]


def _h5() -> list[bytes]:
    import h5py

    out = []
    for options in ({}, {"chunks": (2, 3), "compression": "gzip"}, {"chunks": (2, 3)}):
        file = io.BytesIO()
        with h5py.File(file, "w") as h5:
            h5.create_dataset("a", data=_arrays()[0], **options)
            if options:
                h5.create_group("g")["b"] = _arrays()[1]
        out.append(file.getvalue())
    return out


def _parquet() -> list[bytes]:
    import pyarrow as pa
    from pyarrow import parquet

    A = _arrays()[0]
    tables = [
        pa.table({"a": A[:, 0], "b": A[:, 1].astype("f4")}),
        pa.table({"b": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]}),
        pa.table({"b": pa.FixedSizeListArray.from_arrays(pa.array(A.ravel()), 3)}),
        pa.table({"a": [1, None, 3], "b": [1, 2, 3]}),
    ]
    out = []
    for table in tables:
        for compression in ("none", "snappy"):
            file = io.BytesIO()
            parquet.write_table(table, file, compression=compression, row_group_size=2)
            out.append(file.getvalue())
    return out


def _zarr() -> list[bytes]:
    import zarr

    out = []
    for compressors in (None, "auto"):
        with TemporaryDirectory() as folder:
            path = Path(folder) / "a.zarr"
            made = zarr.create_array(
                str(path), shape=(5, 3), chunks=(5, 3), dtype="f8", compressors=compressors
            )
            made[:] = _arrays()[0]
            meta, chunk = (path / "zarr.json").read_bytes(), (path / "c" / "0" / "0").read_bytes()
            out.append(meta + b"\n---\n" + chunk)
    return out


@cache
def _records() -> dict[str, list[bytes]]:
    A = np.random.default_rng(0).standard_normal((8, 3))
    stream = lpgeom.StreamingCoreset(p=1.0, size=4, seed=0)
    for _ in range(4):
        stream.partial_fit(A)
    made = {
        "result": [
            lpgeom.approx_subspace(A, 1, p, certify=c)
            for p, c in ((1.0, "tight"), (3.0, True), (2.0, False), (np.inf, True))
        ],
        "factors": [lpgeom.approx_factors(A, 1, 1.0, certify=c) for c in (True, False)],
        "stream": [stream, lpgeom.StreamingCoreset(p=1.0, size=4)],
    }
    out: dict[str, list[bytes]] = {}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.npz"
        for name, items in made.items():
            for item in items:
                item.save(path)  # type: ignore[attr-defined]
                out.setdefault(name, []).append(path.read_bytes())
    return out


def _recipes() -> list[bytes]:
    from .models import saved

    return [saved()[0]]


def _tensors() -> list[bytes]:
    from .models import saved

    return [saved()[1]]


_MAKERS: dict[str, Any] = {
    "npy": _npy,
    "npz": _npz,
    "safetensors": _safetensors,
    "csv": _csv,
    "h5": _h5,
    "parquet": _parquet,
    "zarr": _zarr,
    "result": lambda: _records()["result"],
    "factors": lambda: _records()["factors"],
    "stream": lambda: _records()["stream"],
    "recipe": _recipes,
    "tensors": _tensors,
    "directory": lambda: [*_safetensors(), *_tensors()],
}
