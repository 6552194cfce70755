"""Streams: the same coreset however they are cut, kept and resumed; nothing half written."""

from __future__ import annotations

import io
import json
import math
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

import lpgeom
from benchmarks.coresets import relative_error
from lpgeom.coresets.streaming import FAN_IN, StreamingCoreset
from tests.problems import KINDS, matrix, random_bases
from tests.records.test_storage import make_result

few = settings(deadline=None, derandomize=True, max_examples=15)


def feed(stream: StreamingCoreset, A: Any, cuts: list[int]) -> StreamingCoreset:
    for block in np.split(A, cuts):
        if len(block):
            stream.partial_fit(block)
    return stream


def assert_same(a: Any, b: Any) -> None:
    """Two coresets, bit for bit."""
    for name in ("rows", "weights", "indices"):
        assert getattr(a, name).tobytes() == getattr(b, name).tobytes(), name
    assert repr(a.provenance) == repr(b.provenance)
    assert (a.shape, a.size, a.k, a.p, a.seed) == (b.shape, b.size, b.k, b.p, b.seed)


# ---------------------------------------------------------------- what comes out


@few
@given(
    st.sampled_from(KINDS),
    st.sampled_from([1.0, 1.5, 2.0, 3.0]),
    st.sampled_from([None, 1]),
    st.lists(st.integers(0, 300), max_size=6),
    st.integers(0, 1000),
)
def test_blocks_do_not_matter(
    kind: str, p: float, k: int | None, cuts: list[int], seed: int
) -> None:
    A = matrix(kind, 300, 4, seed)
    whole = StreamingCoreset(p, 12, k, seed).partial_fit(A)
    pieces = feed(StreamingCoreset(p, 12, k, seed), A, sorted(cuts))
    assert_same(pieces.coreset(), whole.coreset())


@few
@given(st.sampled_from(KINDS), st.integers(1, 40), st.integers(1, 200))
def test_a_coreset_is_made_of_rows_of_the_stream(kind: str, size: int, n: int) -> None:
    A = matrix(kind, max(n, 4), 4, n)
    c = StreamingCoreset(1.0, size).partial_fit(A).coreset()
    assert 1 <= len(c) <= size
    assert c.shape == A.shape
    assert (np.diff(c.indices) > 0).all()
    assert (c.weights > 0.0).all()
    np.testing.assert_array_equal(c.rows, A[c.indices])


def test_few_rows_are_kept_as_they_are() -> None:
    A = matrix("zero rows", 30, 4, 0)
    omega = np.arange(30.0)
    c = StreamingCoreset(1.0, 30).partial_fit(A, row_weights=omega).coreset()
    kept = np.flatnonzero(A.any(axis=1) & (omega > 0.0))
    np.testing.assert_array_equal(c.indices, kept)
    np.testing.assert_array_equal(c.weights, omega[kept])
    assert c.provenance.theorem == "exact"
    zero = StreamingCoreset(1.0, 5).partial_fit(np.zeros((100, 3))).coreset()
    assert (len(zero), zero.shape) == (1, (100, 3))


def test_memory_grows_with_the_logarithm() -> None:
    stream = StreamingCoreset(1.0, 20)
    rng = np.random.default_rng(0)
    for n in (1, 10, 100):
        while stream.n_rows < 20 * n:
            stream.partial_fit(rng.standard_normal((17, 3)))
        state = stream._state
        assert state is not None
        held = sum(len(b) for level in state.levels for b in level) + len(state.pending)
        assert held <= 20 * (FAN_IN - 1) * (math.log(n, FAN_IN) + 1) + 20
        # No bucket keeps the block it came from alive.
        assert all(b.rows.base is None for level in state.levels for b in level)


def test_costs_are_close_and_within_what_is_proved() -> None:
    rng = np.random.default_rng(0)
    A = rng.standard_t(2.0, (12_000, 3))
    for p in (1.0, 2.0):
        proved = []
        for seed in range(3):
            c = StreamingCoreset(p, 1500, seed=seed).partial_fit(A).coreset()
            errors = [relative_error(A, c, V) for V in random_bases(3, 1, 20, rng)]
            assert np.abs(errors).max() < 0.2
            assert np.abs(errors).max() <= c.provenance.eps
            assert c.provenance.failure_probability <= 0.01
            assert c.provenance.theorem == "C8"
            proved.append(c.provenance.eps_fixed)
        assert max(proved) < 1.0


def test_reductions_are_unbiased_on_average() -> None:
    """The mean over seeds approaches the cost: 50 seeds, 5 standard errors."""
    A = matrix("heavy", 400, 3, 1)
    V = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 1)))[0]
    errors = [
        relative_error(A, StreamingCoreset(1.0, 25, seed=seed).partial_fit(A).coreset(), V)
        for seed in range(50)
    ]
    assert abs(np.mean(errors)) <= 5.0 * np.std(errors) / math.sqrt(len(errors))
    assert np.std(errors) < 0.3


def test_failure_probabilities_never_add_up_to_more_than_asked() -> None:
    stream = StreamingCoreset(1.0, 2, failure_probability=0.1)
    rng = np.random.default_rng(0)
    for _ in range(5):
        stream.partial_fit(rng.standard_normal((100, 2)))
        assert stream.coreset().provenance.failure_probability < 0.1


def test_threads_do_not_matter() -> None:
    A = matrix("heavy", 2600, 120, 0)
    done = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            done.append(StreamingCoreset(1.0, 600).partial_fit(A).coreset())
    assert_same(*done)


def test_a_stream_can_be_solved() -> None:
    A = matrix("heavy", 3000, 6, 0)
    c = StreamingCoreset(1.0, 400, k=2).partial_fit(A).coreset()
    result = lpgeom.approx_subspace(c, 2)
    assert "of 3000 rows" in result.method
    full = lpgeom.approx_subspace(A, 2)
    assert lpgeom.cost(A, result.basis) < 1.1 * full.cost


# ---------------------------------------------------------------- merging


def test_merging_counts_and_offsets() -> None:
    A = matrix("gauss", 1000, 4, 0)
    left = StreamingCoreset(1.0, 50, seed=1).partial_fit(A[:630])
    right = StreamingCoreset(1.0, 50, seed=2).partial_fit(A[630:])
    before = right.coreset()
    c = left.merge(right).coreset()
    assert_same(right.coreset(), before)
    assert c.shape == (1000, 4)
    np.testing.assert_array_equal(c.rows, A[c.indices])
    assert abs(c.weights.sum() / 1000.0 - 1.0) < 0.3
    assert 0.0 < c.provenance.failure_probability <= 0.02
    state = left._state
    assert state is not None
    assert all(len(level) < FAN_IN for level in state.levels)
    left.partial_fit(A)
    assert left.n_rows == 2000


def test_merging_with_nothing() -> None:
    A = matrix("gauss", 300, 4, 0)
    stream = StreamingCoreset(1.0, 20).partial_fit(A)
    c = stream.coreset()
    assert_same(stream.merge(StreamingCoreset(1.0, 20)).coreset(), c)
    assert_same(StreamingCoreset(1.0, 20).merge(stream).coreset(), c)


def test_only_like_streams_merge() -> None:
    A = matrix("gauss", 30, 4, 0)
    stream = StreamingCoreset(1.0, 20).partial_fit(A)
    for other in (StreamingCoreset(2.0, 20), StreamingCoreset(1.0, 21), StreamingCoreset(1, 20, 2)):
        with pytest.raises(ValueError, match="streams of different"):
            stream.merge(other)
    with pytest.raises(ValueError, match="columns"):
        stream.merge(StreamingCoreset(1.0, 20).partial_fit(A[:, :3]))
    with pytest.raises(TypeError, match="only a StreamingCoreset"):
        stream.merge(A)  # type: ignore[arg-type]


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("error", "message", "options"),
    [
        (ValueError, "p must be", {"p": 0.5}),
        (ValueError, "p must be", {"p": math.inf}),
        (ValueError, "size must be >= 1", {"size": 0}),
        (TypeError, "size must be an integer", {"size": 2.5}),
        (ValueError, "k must be >= 1", {"k": 0}),
        (ValueError, "seed must be", {"seed": -1}),
        (ValueError, "failure_probability", {"failure_probability": 1.0}),
    ],
)
def test_bad_options(error: type[Exception], message: str, options: dict[str, Any]) -> None:
    with pytest.raises(error, match=message):
        StreamingCoreset(**options)


def test_a_bad_block_leaves_the_stream_as_it_was() -> None:
    A = matrix("gauss", 100, 4, 0)
    stream = StreamingCoreset(1.0, 10).partial_fit(A)
    before = stream.coreset()
    bad = A.copy()
    bad[90, 1] = np.nan
    for block, message in ((bad, r"block\[90, 1\]"), (A[:, :3], "columns"), (A[:0], "empty")):
        with pytest.raises(ValueError, match=message):
            stream.partial_fit(block)
    with pytest.raises(ValueError, match="shape"):
        stream.partial_fit(A, row_weights=np.ones(3))
    assert_same(stream.coreset(), before)
    with pytest.raises(ValueError, match="no rows yet"):
        StreamingCoreset(1.0, 10).coreset()
    with pytest.raises(ValueError, match="k must lie between 1 and d - 1 = 3"):
        StreamingCoreset(1.0, 10, k=4).partial_fit(A)


def test_an_interrupted_block_is_not_taken_in(monkeypatch: pytest.MonkeyPatch) -> None:
    A = matrix("gauss", 200, 4, 0)
    stream = StreamingCoreset(1.0, 10).partial_fit(A)
    before = stream.coreset()
    reduce, left = StreamingCoreset._reduced, [2]

    def interrupted(self: StreamingCoreset, *call: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return reduce(self, *call)

    with monkeypatch.context() as patch:
        patch.setattr(StreamingCoreset, "_reduced", interrupted)
        with pytest.raises(KeyboardInterrupt):
            stream.partial_fit(A)
    assert_same(stream.coreset(), before)
    assert_same(
        stream.partial_fit(A).coreset(),
        StreamingCoreset(1.0, 10).partial_fit(np.vstack([A, A])).coreset(),
    )


# ---------------------------------------------------------------- to disk and back


@few
@given(
    st.sampled_from(KINDS), st.sampled_from([None, 1]), st.lists(st.integers(0, 300), max_size=4)
)
def test_resuming_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, kind: str, k: int | None, cuts: list[int]
) -> None:
    A = matrix(kind, 300, 4, 5)
    path = tmp_path_factory.mktemp("stream") / "stream.npz"
    stream = StreamingCoreset(1.5, 12, k, 3)
    for block in np.split(A, sorted(cuts)):
        stream.save(path)
        stream = StreamingCoreset.load(path)
        if len(block):
            stream.partial_fit(block)
    stream.save(path)
    straight = StreamingCoreset(1.5, 12, k, 3).partial_fit(A)
    assert_same(StreamingCoreset.load(path).coreset(), straight.coreset())
    first = path.read_bytes()
    straight.save(path)
    assert path.read_bytes() == first


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("stream") / "stream.npz"
    StreamingCoreset(1.0, 10).partial_fit(matrix("gauss", 137, 3, 0)).save(path)
    return path.read_bytes()


def test_a_truncated_file_is_refused(saved: bytes, tmp_path: Path) -> None:
    path = tmp_path / "cut.npz"
    for length in [0, 1, 100, *range(200, len(saved), 257), len(saved) - 1]:
        path.write_bytes(saved[:length])
        with pytest.raises(ValueError, match="not a readable lpgeom stream"):
            StreamingCoreset.load(path)


def test_a_damaged_file_is_refused_or_the_same(saved: bytes, tmp_path: Path) -> None:
    """A changed byte is found, or lies where nothing is read (dates, flags of the archive)."""
    path = tmp_path / "damaged.npz"
    path.write_bytes(saved)
    expected = StreamingCoreset.load(path).coreset()
    rng = np.random.default_rng(0)
    refused = 0
    for at in rng.integers(0, len(saved), 150):
        damaged = bytearray(saved)
        damaged[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            found = StreamingCoreset.load(path).coreset()
        except ValueError:
            refused += 1
            continue
        assert_same(found, expected)
    assert refused > 100


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "foreign.npz"
    np.savez(path, x=np.zeros(3))
    with pytest.raises(ValueError, match="another program"):
        StreamingCoreset.load(path)
    make_result().save(path)
    with pytest.raises(ValueError, match="it holds a SubspaceResult"):
        StreamingCoreset.load(path)
    with pytest.raises(FileNotFoundError):
        StreamingCoreset.load(tmp_path / "nowhere.npz")


def rewritten(saved: bytes, change: Any) -> bytes:
    """The file with its header changed, checksums and all."""
    with zipfile.ZipFile(io.BytesIO(saved)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    text = np.lib.format.read_array(io.BytesIO(members["header.npy"])).tobytes()
    header = json.loads(text)
    change(header)
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.frombuffer(json.dumps(header).encode(), np.uint8))
    members["header.npy"] = stream.getvalue()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def put(*keys: Any, value: Any) -> Any:
    def change(header: Any) -> None:
        for key in keys[:-1]:
            header = header[key]
            header = header.get("$tuple", header)
        header[keys[-1]] = value

    return change


def crowd(header: Any) -> None:
    """As many leaves as are reduced."""
    level = header["result"]["state"]["levels"]["$tuple"][0]
    level["$tuple"] = [level["$tuple"][0]] * FAN_IN


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("version", value=3), "format version 3"),
        (put("result", "p", value=0.5), "p must be"),
        (put("result", "size", value="ten"), "size must be an integer"),
        (put("result", "size", value=1), "at most"),
        (put("result", "extra", value=1), "unknown field 'extra'"),
        (put("result", "state", "n_rows", value=5), "between 0 and 5"),
        (put("result", "state", "d", value=4), "unknown field 'd'"),
        (put("result", "state", "pending", "rows", value={"$array": "a1"}), "float64 array"),
        (put("result", "state", "spent", value=-1.0), "finite number"),
        (put("result", "state", "reductions", value=[-1]), ">= 0"),
        (crowd, f"a level has {FAN_IN}"),
        (put("result", "state", "levels", 0, 0, "growth", value=None), "a number"),
        (put("result", "state", "pending", "weights", value={"$array": "header"}), "float64"),
        (put("result", "state", "pending", value=3), "not a record"),
    ],
)
def test_a_doctored_file_is_refused(
    saved: bytes, tmp_path: Path, change: Any, message: str
) -> None:
    path = tmp_path / "doctored.npz"
    path.write_bytes(rewritten(saved, lambda header: None))
    StreamingCoreset.load(path)  # rewriting alone does no harm
    path.write_bytes(rewritten(saved, change))
    with pytest.raises(ValueError, match=message):
        StreamingCoreset.load(path)


# ---------------------------------------------------------------- kill -9

WORKER = """
import sys
import numpy as np
import lpgeom
path, mode = sys.argv[1:]
if mode == "save":  # stopped in the middle of the second save
    import lpgeom.io.atomic as atomic
    real = atomic.os.fsync
    saves = [0]
    def fsync(descriptor):
        real(descriptor)
        saves[0] += 1
        if saves[0] == 2:
            print("ready", flush=True)
            sys.stdin.read()
    atomic.os.fsync = fsync
if mode == "fit":
    reduced, calls = lpgeom.StreamingCoreset._reduced, [0]
    def slow(self, *call):
        calls[0] += 1
        if calls[0] == 8:
            print("ready", flush=True)
            sys.stdin.read()
        return reduced(self, *call)
    lpgeom.StreamingCoreset._reduced = slow
A = np.random.default_rng(0).standard_normal((600, 3))
stream = lpgeom.StreamingCoreset(1.0, 15)
for i in range(3):
    stream.partial_fit(A[200 * i : 200 * i + 200])
    stream.save(path)
    if mode == "between" and i == 1:
        print("ready", flush=True)
        sys.stdin.read()
"""


@pytest.mark.slow
@pytest.mark.unchanged
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
@pytest.mark.parametrize("mode", ["between", "fit", "save"])
def test_kill_9(tmp_path: Path, mode: str) -> None:
    """The last complete save loads, and goes on to what an undisturbed stream gives."""
    path = tmp_path / "stream.npz"
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(path), mode],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        os.kill(process.pid, signal.SIGKILL)
        process.wait(timeout=60)
        assert process.returncode == -signal.SIGKILL
    stream = StreamingCoreset.load(path)
    assert stream.n_rows == {"between": 400, "fit": 400, "save": 200}[mode]
    A = np.random.default_rng(0).standard_normal((600, 3))
    straight = StreamingCoreset(1.0, 15).partial_fit(A)
    assert_same(stream.partial_fit(A[stream.n_rows :]).coreset(), straight.coreset())
    stream.save(path)
    assert StreamingCoreset.load(path).n_rows == 600
