""".safetensors files written one tensor at a time, read by the library that defines them."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models import same_bits
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from lpgeom.io.checksum import sha256_of
from lpgeom.nn.stored.tensors import DTYPES, aliases_of, write_tensors

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=40).filter(
    lambda name: name != "__metadata__"
)
shapes = st.lists(st.integers(0, 5), max_size=5).map(tuple)


def some(shape: tuple[int, ...], dtype: torch.dtype, seed: int = 0) -> Tensor:
    values = torch.randint(-90, 90, shape, generator=torch.Generator().manual_seed(seed))
    return (values > 0) if dtype == torch.bool else values.abs().to(dtype)


def written(path: Path, tensors: dict[str, Tensor]) -> None:
    write_tensors(path, list(tensors), tensors.items())


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.dictionaries(names, st.tuples(shapes, st.sampled_from(list(DTYPES))), max_size=6))
def test_read_back_by_safetensors(
    tmp_path_factory: pytest.TempPathFactory, what: dict[str, tuple[tuple[int, ...], torch.dtype]]
) -> None:
    path = tmp_path_factory.mktemp("tensors") / "a.safetensors"
    tensors = {name: some(*kind, seed=i) for i, (name, kind) in enumerate(what.items())}
    written(path, tensors)
    for found in (load_file(path), {k: opened(path, k) for k in tensors}):
        assert found.keys() == tensors.keys()
        for name, tensor in tensors.items():
            assert same_bits(found[name], tensor)


def opened(path: Path, name: str) -> Tensor:
    with safe_open(path, framework="pt") as file:
        return file.get_tensor(name)


def test_hard_names_and_shapes(tmp_path: Path) -> None:
    tensors = {
        "": torch.ones(1), "x" * 100_000: torch.ones(2), "\U0001f600" * 500: torch.ones(3),
        'quo"te\\n\n\0': torch.ones(4), "many.dims": torch.ones([1] * 64),
        "odd bytes": torch.ones(3, dtype=torch.uint8), "after odd": torch.ones(5).double(),
        "no rows": torch.ones(0, 2**40), "a.view": torch.arange(12.0).view(3, 4).T,
        "needs grad": torch.ones(2, requires_grad=True), "strided": torch.arange(10)[::3],
        "nan": torch.tensor([float("nan"), float("-inf")]),
    }  # fmt: skip
    path = tmp_path / "a.safetensors"
    written(path, tensors)
    found = load_file(path)
    for name, tensor in tensors.items():
        assert same_bits(found[name], tensor.detach()), name[:20]
    raw = path.read_bytes()
    (room,) = struct.unpack("<Q", raw[:8])
    assert room % 8 == 0
    header = json.loads(raw[8 : 8 + room])
    assert header.pop("__metadata__") == {"format": "pt"}
    ends = sorted(entry["data_offsets"] for entry in header.values())
    assert ends[-1][1] == len(raw) - 8 - room
    assert sha256_of(path) == sha256_of(path)


def test_incomplete_writes_leave_no_file(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    with pytest.raises(ValueError, match="b was not written"):
        write_tensors(path, "ab", [("a", torch.ones(2))])
    assert not path.exists()
    with pytest.raises(ZeroDivisionError):
        write_tensors(path, "abc", ((name, torch.ones(2 // (98 - ord(name)))) for name in "abc"))
    assert not path.exists()
    for name, tensor, error in (
        ("c", torch.ones(2), ValueError),
        ("__metadata__", torch.ones(2), ValueError),
        ("a", torch.ones(2, dtype=torch.complex64), TypeError),
        ("a", torch.eye(2).to_sparse(), TypeError),
    ):
        with pytest.raises(error, match=name):
            write_tensors(path, "a", [(name, tensor)])
        assert not path.exists()
    with pytest.raises(ValueError, match="a: not a tensor"):
        write_tensors(path, "a", [("a", torch.ones(2)), ("a", torch.ones(2))])
    assert not path.exists()
    path.write_bytes(b"someone else's")
    with pytest.raises(FileExistsError):
        write_tensors(path, "a", [("a", torch.ones(2))])
    assert path.read_bytes() == b"someone else's"


def test_aliases() -> None:
    a, b = torch.ones(2), torch.ones(2)
    assert aliases_of({"x": a, "y": b, "z": a, "w": a}) == {"z": "x", "w": "x"}
    assert aliases_of({}) == {}
