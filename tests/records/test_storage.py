"""Results to disk and back: nothing lost, nothing believed unchecked, nothing half written."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import io
import itertools
import json
import math
import os
import pickle
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lpgeom.io.atomic import write_atomically
from lpgeom.records.subspace import Bound, Certificate, SubspaceResult
from tests.records.make_files import FOLDER


def make_result(
    *,
    d: int = 5,
    k: int = 2,
    n: int = 7,
    p: float = 1.25,
    seed: int = 0,
    unit: float = 4.0,
    certified: bool = True,
    row_weights: bool = True,
    witness: dict[str, Any] | None = None,
    guarantee: float = math.inf,
) -> SubspaceResult:
    """A consistent result with invented numbers."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((d, k)))[0]
    scaled_cost, scaled_bound = 3.0, 2.9
    bounds = (
        Bound("relaxation", "3d", scaled_bound, 0.0, witness or {"Q0": np.eye(d)}, unit, p),
        Bound("radial", "3g", 2.8, 1e-9, {"seed": 3, "H": rng.standard_normal((d, d))}, unit, p),
    )
    certificate = Certificate(
        p=p,
        k=k,
        shape=(n, d),
        basis=basis,
        scaled_cost=scaled_cost,
        bounds=bounds,
        guarantee=guarantee,
        unit=unit,
        row_weights=rng.random(n) if row_weights else None,
    )
    cost = certificate.cost
    return SubspaceResult(
        statement=certificate,
        certified=certified,
        method="irls",
        backend="cpu",
        history=(cost * 1.5, cost),
        n_iter=2,
        n_passes=7.25,
        converged=True,
        seconds=0.125,
        svd_cost=cost * 1.01,
        seed=0,
    )


def save_result(result: SubspaceResult, path: Path) -> None:
    result.save(path)


def load_result(path: Path) -> SubspaceResult:
    return SubspaceResult.load(path)


def assert_same(a: Any, b: Any, where: str = "result") -> None:
    """Equal in type, shape, dtype and every bit (NaN equals NaN, -0.0 is not 0.0)."""
    assert type(a) is type(b), where
    if dataclasses.is_dataclass(a):
        for field in dataclasses.fields(a):
            x, y = getattr(a, field.name), getattr(b, field.name)
            assert_same(x, y, f"{where}.{field.name}")
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype, where
        assert a.shape == b.shape, where
        assert a.tobytes() == b.tobytes(), where
    elif isinstance(a, dict):
        assert list(a) == list(b), where
        for key in a:
            assert_same(a[key], b[key], f"{where}[{key!r}]")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{where}[{i}]")
    elif isinstance(a, float):
        assert repr(a) == repr(b), where
    else:
        assert a == b, where


@pytest.mark.parametrize("certified", [True, False])
@pytest.mark.parametrize("row_weights", [True, False])
@pytest.mark.parametrize("guarantee", [math.inf, 1.5])
def test_every_field_comes_back(
    tmp_path: Path, certified: bool, row_weights: bool, guarantee: float
) -> None:
    result = make_result(certified=certified, row_weights=row_weights, guarantee=guarantee)
    path = tmp_path / "result.npz"
    result.save(path)
    assert_same(SubspaceResult.load(path), result)


floats = st.floats(allow_nan=True, allow_infinity=True)
arrays = hnp.arrays(
    dtype=st.sampled_from(["f8", "f4", "i8", "i4", "u1", "?"]),
    shape=hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)
plain = st.none() | st.booleans() | st.integers() | floats | st.text()
keys = st.text(min_size=1).filter(lambda key: not key.startswith("$"))
values = st.recursive(
    plain | arrays,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(keys, inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(witness=st.dictionaries(keys, values, max_size=4), p=st.floats(1, 10), seed=st.integers(0))
def test_any_witness_comes_back(
    tmp_path_factory: pytest.TempPathFactory, witness: dict[str, Any], p: float, seed: int
) -> None:
    path = tmp_path_factory.mktemp("s") / "result.npz"
    result = make_result(p=p, witness={"x": 1, **witness}, seed=seed % 1000)
    save_result(result, path)
    assert_same(load_result(path), result)


def test_byte_order_becomes_native(tmp_path: Path) -> None:
    save_result(make_result(witness={"x": np.arange(3, dtype=">i4")}), tmp_path / "r.npz")
    certificate = load_result(tmp_path / "r.npz").certificate
    assert certificate is not None
    assert_same(certificate.bounds[0].witness["x"], np.arange(3, dtype="i4"))


def test_the_same_result_gives_the_same_bytes(tmp_path: Path) -> None:
    save_result(make_result(), tmp_path / "a.npz")
    save_result(make_result(), tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_numpy_reads_the_arrays(tmp_path: Path) -> None:
    result = make_result()
    result.save(tmp_path / "r.npz")
    with np.load(tmp_path / "r.npz", allow_pickle=False) as archive:
        header = json.loads(archive["header"].tobytes())
        basis = archive[header["result"]["statement"]["basis"]["$array"]]
    np.testing.assert_array_equal(basis, result.basis)


def test_equal_arrays_are_stored_once(tmp_path: Path) -> None:
    result = make_result()
    result.save(tmp_path / "r.npz")
    with zipfile.ZipFile(tmp_path / "r.npz") as archive:
        # header, basis, row weights, and the two witnesses' matrices
        assert len(archive.namelist()) == 5


@pytest.mark.parametrize(
    "value", [object(), np.array(["text"]), np.array([1j]), {1: 2}, {"$array": "a0"}]
)
def test_what_cannot_be_stored_is_a_type_error_and_writes_nothing(
    tmp_path: Path, value: Any
) -> None:
    result = make_result(witness={"x": value})
    with pytest.raises(TypeError, match="cannot save"):
        result.save(tmp_path / "r.npz")
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- damaged and foreign files


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("saved") / "r.npz"
    make_result().save(path)
    return path.read_bytes()


def test_every_truncation_is_a_value_error(tmp_path: Path, saved: bytes) -> None:
    path = tmp_path / "r.npz"
    for length in range(0, len(saved), 7):
        path.write_bytes(saved[:length])
        with pytest.raises(ValueError, match=r"r\.npz: not a readable lpgeom result"):
            load_result(path)


def test_a_flipped_byte_is_a_value_error_or_changes_nothing(tmp_path: Path, saved: bytes) -> None:
    path = tmp_path / "r.npz"
    truth = make_result()
    refused = 0
    for position in range(0, len(saved), 5):
        damaged = bytearray(saved)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        try:
            loaded = load_result(path)
        except ValueError:
            refused += 1
        else:  # only the archive's idle fields (dates, attributes) may pass
            assert_same(loaded, truth)
    assert refused > 0.8 * len(saved) / 5


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def header_bytes(header: Any) -> np.ndarray:
    text = header if isinstance(header, str) else json.dumps(header)
    return np.frombuffer(text.encode(), dtype=np.uint8)


class _Trap:
    def __reduce__(self) -> Any:
        return (pytest.fail, ("loading ran code",))


def foreign_files() -> dict[str, bytes]:
    compressed = io.BytesIO()
    np.savez_compressed(compressed, header=np.zeros(10_000_000, dtype=np.uint8))
    objects = io.BytesIO()
    with zipfile.ZipFile(objects, "w") as archive, archive.open("header.npy", "w") as member:
        np.lib.format.write_array(member, np.array([_Trap()], dtype=object), allow_pickle=True)
    huge = io.BytesIO()
    with zipfile.ZipFile(huge, "w") as archive, archive.open("header.npy", "w") as member:
        shape = {"descr": "|u1", "fortran_order": False, "shape": (1 << 50,)}
        np.lib.format.write_array_header_1_0(member, shape)
    good = {"format": "lpgeom.SubspaceResult", "version": 1}
    return {
        "empty": b"",
        "text": b"not an archive at all",
        "pickle": pickle.dumps(_Trap()),
        "pickled objects": objects.getvalue(),
        "bomb": compressed.getvalue(),
        "huge claim": huge.getvalue(),
        "npz of another program": npz(x=np.eye(3)),
        "header of another program": npz(header=header_bytes({"format": "other"})),
        "header is a list": npz(header=header_bytes([1, 2])),
        "header not JSON": npz(header=header_bytes("{")),
        "NaN in JSON": npz(header=header_bytes('{"format": NaN}')),
        "deeply nested": npz(header=header_bytes("[" * 100_000)),
        "later version": npz(header=header_bytes({**good, "version": 3, "result": {}})),
        "version in words": npz(header=header_bytes({**good, "version": [2], "result": {}})),
        "no result": npz(header=header_bytes(good)),
        "no fields": npz(header=header_bytes({**good, "result": {}})),
        "missing array": npz(header=header_bytes({**good, "result": {"$array": "a9"}})),
        "unknown tag": npz(header=header_bytes({**good, "result": {"$call": "a9"}})),
    }


@pytest.mark.parametrize("kind", foreign_files())
def test_a_foreign_file_is_a_value_error(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "r.npz"
    path.write_bytes(foreign_files()[kind])
    with pytest.raises(ValueError, match=r"r\.npz: not a readable lpgeom result"):
        load_result(path)


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_result(tmp_path / "none.npz")


def rewrite(data: bytes, change: Any) -> bytes:
    """The same archive, with `change` applied to the result in its header."""
    with np.load(io.BytesIO(data)) as archive:
        arrays = {name: archive[name] for name in archive.files}
    header = json.loads(arrays.pop("header").tobytes())
    change(header["result"], arrays)
    return npz(header=header_bytes(header), **arrays)


def _set(name: str, value: Any) -> Any:
    return lambda result, arrays: result.__setitem__(name, value)


def _in_certificate(name: str, value: Any) -> Any:
    return lambda result, arrays: _certificate(result).__setitem__(name, value)


def _in_bound(name: str, value: Any) -> Any:
    def change(result: Any, arrays: Any) -> None:
        bounds = _certificate(result)["bounds"]
        bounds = bounds["$tuple"] if isinstance(bounds, dict) else bounds
        bounds[0][name] = value

    return change


def _certificate(result: Any) -> Any:
    """Version 1 called it the certificate."""
    return result["statement" if "statement" in result else "certificate"]


OLD_CHANGES = {
    "p below 1": _set("p", 0.5),
    "p a string": _set("p", "1"),
    "p true": _set("p", True),
    "k zero": _set("k", 0),
    "k not the basis's": _set("k", 3),
    "k a float": _set("k", 2.0),
    "negative cost": _set("cost", -1.0),
    "NaN cost": _set("cost", {"$float": "nan"}),
    "better ratio than certified": _set("ratio", 1.0),
    "larger bound than certified": _set("lower_bound", 17.0),
    "smaller norm than certified": _set("norm_error", 1e-3),
    "shape of three": _set("shape", {"$tuple": [7, 5, 1]}),
    "shape a list": _set("shape", [7, 5]),
    "certificate a number": _set("certificate", 5),
    "certificate of another p": _in_certificate("p", 2.0),
    "certificate of another k": _in_certificate("k", 1),
    "better bound, same figures": _in_bound("scaled_value", 2.99),
}
"""What can be wrong in a file of version 1 only: figures that the certificate does not have."""

CHANGES = {
    "converged a number": _set("converged", 1),
    "history with NaN": _set("history", {"$tuple": [{"$float": "nan"}]}),
    "history a number": _set("history", 1.0),
    "n_iter a float": _set("n_iter", 2.0),
    "n_iter true": _set("n_iter", True),
    "seconds negative": _set("seconds", -1.0),
    "svd_cost NaN": _set("svd_cost", {"$float": "nan"}),
    "method a number": _set("method", 1),
    "unknown field": _set("extra", 1),
    "missing field": lambda result, arrays: result.pop("seed"),
    "basis not finite": lambda result, arrays: arrays["a0"].__setitem__((0, 0), np.nan),
    "basis float32": lambda result, arrays: arrays.__setitem__("a0", arrays["a0"].astype("f4")),
    "basis flat": lambda result, arrays: arrays.__setitem__("a0", arrays["a0"].ravel()),
    "exponent below 1": _in_certificate("p", 0.5),
    "exponent a string": _in_certificate("p", "1"),
    "exponent true": _in_certificate("p", True),
    "rank zero": _in_certificate("k", 0),
    "rank not the basis's": _in_certificate("k", 3),
    "rank a float": _in_certificate("k", 2.0),
    "shape of two others": _in_certificate("shape", {"$tuple": [7, 6]}),
    "shape of three numbers": _in_certificate("shape", {"$tuple": [7, 5, 1]}),
    "shape in a list": _in_certificate("shape", [7, 5]),
    "negative scaled cost": _in_certificate("scaled_cost", -1.0),
    "infinite scaled cost": _in_certificate("scaled_cost", {"$float": "inf"}),
    "scaled cost beyond floats": _in_certificate("scaled_cost", 10**400),
    "certificate without bounds": _in_certificate("bounds", None),
    "row weights missing": _in_certificate("row_weights", {"$array": "a0"}),
    "bound a string": _in_bound("scaled_value", "1"),
    "bound infinite": _in_bound("scaled_value", {"$float": "inf"}),
    "failure probability 2": _in_bound("failure_probability", 2.0),
    "witness a list": _in_bound("witness", []),
    "unit zero in words": _in_bound("unit", "0"),
}


@pytest.mark.parametrize("change", [*CHANGES, "statement a number", "certified a number"])
def test_fields_that_cannot_be_are_refused(tmp_path: Path, saved: bytes, change: str) -> None:
    path = tmp_path / "r.npz"
    path.write_bytes(rewrite(saved, lambda result, arrays: None))
    assert_same(load_result(path), make_result())  # the rewriting itself changes nothing
    more = {"statement a number": _set("statement", 5), "certified a number": _set("certified", 1)}
    path.write_bytes(rewrite(saved, (CHANGES | more)[change]))
    with pytest.raises(ValueError, match=r"r\.npz: not a readable lpgeom result"):
        load_result(path)


@pytest.mark.parametrize("change", [*CHANGES, *OLD_CHANGES])
def test_fields_of_old_files_that_cannot_be_are_refused(tmp_path: Path, change: str) -> None:
    path, old = tmp_path / "r.npz", (FOLDER / "invented.npz").read_bytes()
    path.write_bytes(rewrite(old, lambda result, arrays: None))
    loaded, wanted = load_result(path), make_result()
    # LAPACK's QR has other last bits on other processors.
    np.testing.assert_allclose(loaded.basis, wanted.basis, rtol=1e-14)
    statement = dataclasses.replace(wanted.statement, basis=loaded.basis)
    assert_same(loaded, dataclasses.replace(wanted, statement=statement))
    path.write_bytes(rewrite(old, (CHANGES | OLD_CHANGES)[change]))
    with pytest.raises(ValueError, match=r"r\.npz: not a readable lpgeom result"):
        load_result(path)


# ---------------------------------------------------------------- writing


@pytest.mark.parametrize("trouble", [KeyboardInterrupt, OSError, MemoryError])
def test_an_interrupted_write_leaves_what_was_there(tmp_path: Path, trouble: type) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")

    def write(file: Any) -> None:
        file.write(b"half")
        raise trouble

    with pytest.raises(trouble):
        write_atomically(path, write)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


class InterruptAt:
    """Ctrl-C on the n-th line that Python runs, whoever's line it is."""

    def __init__(self, line: int) -> None:
        self.left = line

    def __call__(self, frame: Any, event: str, arg: Any) -> Any:
        if event == "line":
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
        return self

    def __enter__(self) -> InterruptAt:
        self.before = sys.gettrace()
        sys.settrace(self)
        return self

    def __exit__(self, *raised: object) -> None:
        sys.settrace(self.before)


def ctrl_c_on_every_line(act: Callable[[], object]) -> Iterator[bool]:
    """Runs `act` with Ctrl-C on each of its lines in turn, until it has no further line.

    Yields whether Ctrl-C came out. Inside of a finalizer Python itself cannot raise it: it reports
    it to sys.unraisablehook and goes on. One that is lost in any other way is an AssertionError.
    """
    reported: list[type[BaseException]] = []

    def report(what: Any) -> None:
        reported.append(what.exc_type)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "unraisablehook", report)
        # Collected between the runs alone: no finalizer of others has its lines among those of act.
        gc.disable()
        gc.freeze()
        try:
            for line in itertools.count(1):
                gc.collect()
                reported.clear()
                interrupt, came_out = InterruptAt(line), False
                try:
                    with interrupt:
                        act()
                except KeyboardInterrupt:
                    came_out = True
                if interrupt.left > 0:
                    return
                assert came_out or KeyboardInterrupt in reported, f"swallowed on line {line}"
                yield came_out
        finally:
            gc.unfreeze()
            gc.enable()


@pytest.mark.slow
@pytest.mark.unchanged
def test_ctrl_c_on_any_line_of_a_save_is_ctrl_c(tmp_path: Path) -> None:
    path, result = tmp_path / "r.npz", make_result(seed=2)
    save_result(result, path)
    after = path.read_bytes()
    save_result(make_result(seed=1), path)
    before = path.read_bytes()
    lines = 0
    for came_out in ctrl_c_on_every_line(lambda: save_result(result, path)):
        assert os.listdir(tmp_path) == ["r.npz"]
        assert path.read_bytes() in ((before, after) if came_out else (after,))
        path.write_bytes(before)
        lines += came_out
    assert lines > 1000
    assert path.read_bytes() == after


def test_ctrl_c_that_is_swallowed_is_told_from_one_that_python_cannot_raise() -> None:
    def swallows() -> None:
        with contextlib.suppress(BaseException):
            str(1)

    class Finalized:
        def __del__(self) -> None:
            str(1)

    with pytest.raises(AssertionError, match="swallowed"):
        list(ctrl_c_on_every_line(swallows))
    assert set(ctrl_c_on_every_line(lambda: bool(Finalized()))) == {True, False}


def test_a_link_is_followed_and_the_mode_is_ordinary(tmp_path: Path) -> None:
    path, link = tmp_path / "file", tmp_path / "link"
    path.write_bytes(b"before")
    link.symlink_to(path)
    write_atomically(link, lambda file: file.write(b"after"))
    assert link.is_symlink()
    assert path.read_bytes() == b"after"
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    assert path.stat().st_mode == plain.stat().st_mode
