"""Records saved before the modules moved into rooms still load, verify and state what they stated.

`make_files.py` beside this file made them, once, with that code; `figures.json` has what each
stated then, and `data.npz` what they are about.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

import lpgeom
from lpgeom import records
from tests.records.make_files import FOLDER, figures

STATED = json.loads((FOLDER / "figures.json").read_text())
DATA = {
    "subspace-exact": "flat",
    "subspace-exact-bare": "flat",
    "subspace-tight": "long",
    "factors-missing": "holed",
}


def loaded(name: str) -> Any:
    """The record in a file."""
    path = FOLDER / f"{name}.npz"
    if name.startswith("curve"):
        return lpgeom.CostCurve.load(path)
    if name == "stream":
        return lpgeom.StreamingCoreset.load(path)
    return records.load(path)


def assert_close(found: Any, stated: Any, where: str) -> None:
    """The same structure, and numbers that differ by rounding at most."""
    if isinstance(stated, dict):
        assert set(found) >= set(stated), where  # a later version may state more
        for key, value in stated.items():
            assert_close(found[key], value, f"{where}.{key}")
    elif isinstance(stated, list):
        assert len(found) == len(stated), where
        for i, value in enumerate(stated):
            assert_close(found[i], value, f"{where}[{i}]")
    elif isinstance(stated, float) and isinstance(found, float):
        assert found == stated or math.isclose(found, stated, rel_tol=1e-14), where
    else:
        assert found == stated, where


@pytest.mark.parametrize("name", STATED)
def test_an_old_file_states_what_it_stated(name: str) -> None:
    now = json.loads(json.dumps(figures(loaded(name))))
    assert_close(now, STATED[name], name)


@pytest.mark.parametrize("name", [name for name in STATED if name != "stream"])
def test_an_old_file_verifies(name: str) -> None:
    record = loaded(name)
    with np.load(FOLDER / "data.npz") as arrays:
        A = arrays[DATA.get(name, "A")]
    if "bare" in name:
        bare = record.results if name.startswith("curve") else [record]
        assert all(r.certificate is None for r in bare)
        return
    checked = record if name.startswith("curve") else record.certificate
    checked.verify(A)
    with pytest.raises(lpgeom.CertificateError):
        checked.verify(A + np.eye(*A.shape))


def test_the_files_hold_every_kind_of_bound() -> None:
    bounds: set[str] = set()
    for name in STATED:
        record = loaded(name)
        if isinstance(record, lpgeom.SubspaceResult) and record.certificate is not None:
            bounds |= {b.name for b in record.certificate.bounds if b.witness or b.name == "chord"}
    assert bounds >= {
        "rank", "spectral", "chord", "lewis_trace", "lewis_sharpened", "relaxation", "mixed",
        "power", "john", "minimax",
    }  # fmt: skip
    assert any(name.startswith("radial") for name in bounds)
