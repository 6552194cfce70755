"""Inputs at the ends of what float64 holds: an answer whose statements hold, or a clear error."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

import lpgeom
from lpgeom.io.readers import ReadError, read_matrix, read_vector
from tests.fuzz.calls import CHECKS, problems
from tests.fuzz.mutate import blind, mutated
from tests.fuzz.seeds import seeds
from tests.fuzz.targets import TARGETS


def gauss(n: int, d: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d))


# ---------------------------------------------------------------- found and fixed


@pytest.mark.parametrize("p", [3.0, 4.0, 20.0, 100.0])
@pytest.mark.parametrize("factor", [1e-150, 1e-300, 1e4, 1e14])
def test_weights_that_underflow_divide_nothing(p: float, factor: float) -> None:
    A = gauss(30, 4)
    A[:1] *= factor
    lewis = lpgeom.lewis_weights(A, p)
    assert 1.0 <= lewis.kappa < 1.1
    assert np.isclose(lewis.weights.sum(), 4.0)
    assert (lewis.weights > 0.0).all() or factor == 1e-300  # whose squares are 0


def spread_out(seed: int, kind: str) -> tuple[np.ndarray, int, np.ndarray]:
    """Data, k and row weights over 300 decades."""
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(8, 60)), int(rng.integers(3, 9))
    k = int(rng.integers(1, d - 1))
    A = rng.standard_normal((n, d))
    if kind == "lengths":
        A *= np.exp(rng.uniform(-8.0, 8.0, (n, 1)))
    elif kind == "one long":
        A[0] *= 1e6
    elif kind == "twice":
        A = A[rng.integers(0, n // 2, n)]
        A[: n // 4] = 0.0
    return A, k, 10.0 ** rng.uniform(-150.0, 150.0, n)


@pytest.mark.parametrize(
    ("p", "seed", "kind"),
    [
        (3.0, 18, "one long"),
        (3.0, 24, "twice"),
        (4.0, 10, "plain"),
        (8.0, 10, "plain"),
        (8.0, 24, "twice"),
        (20.0, 6, "lengths"),
        (50.0, 18, "one long"),
    ],
)
def test_bounds_stand_for_every_evaluation_of_their_witness(p: float, seed: int, kind: str) -> None:
    A, k, omega = spread_out(seed, kind)
    result = lpgeom.approx_subspace(A, k, p, row_weights=omega)
    assert result.certificate is not None
    result.certificate.verify(A)
    assert 0.0 <= result.lower_bound <= result.cost


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0, 8.0, np.inf])
@pytest.mark.parametrize("weight", [5e-324, 1e-310, 1e-200])
def test_some_weights_are_subnormal(p: float, weight: float) -> None:
    A = gauss(40, 5)
    omega = np.ones(40)
    omega[:5] = weight
    result = lpgeom.approx_subspace(A, 2, p, row_weights=omega)
    assert result.certificate is not None
    result.certificate.verify(A)
    assert 0.0 < result.lower_bound <= result.cost


@pytest.mark.parametrize("size", [5e-324, 1e-310, 1.7e308])
def test_weights_and_data_that_leave_float64_are_an_error(size: float) -> None:
    A = gauss(40, 5) * (100.0 if size > 1.0 else 0.01)
    with pytest.raises(OverflowError, match="row_weights"):
        lpgeom.approx_subspace(A, 2, 1.0, row_weights=np.full(40, size))


@pytest.mark.parametrize("p", [1.5, 3.0])
def test_all_weights_are_subnormal(p: float) -> None:
    A = gauss(40, 5)
    result = lpgeom.approx_subspace(A, 2, p, row_weights=np.full(40, 1e-310))
    assert result.certificate is not None
    result.certificate.verify(A)
    plain = lpgeom.approx_subspace(A, 2, p)
    assert result.ratio == pytest.approx(plain.ratio, rel=1e-9)


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("name", [name for name in TARGETS if name not in ("tensors",)])
def test_inputs_that_were_findings_and_mutations_of_valid_ones(name: str, tmp_path: Path) -> None:
    """What ``python -m tests.fuzz`` found, and a few inputs of its kind (the same each time)."""
    folder = tmp_path / "input"
    folder.mkdir()
    pool = seeds(name)
    rng = random.Random(0)
    inputs = [*pool, *(mutated(name, rng.choice(pool), rng, blind(rng)) for _ in range(60))]
    for data in inputs:
        TARGETS[name](data, folder)


# ---------------------------------------------------------------- one row far longer than the rest


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, np.inf])
@pytest.mark.parametrize("length", [1e15, 1e16, 1e18, 1e200])
def test_no_cost_of_zero_that_is_not_there(p: float, length: float) -> None:
    A = gauss(40, 5)
    A[0] *= length
    result = lpgeom.approx_subspace(A, 1, p)
    assert result.certificate is not None
    result.certificate.verify(A)
    assert result.method == "longest rows"
    assert (result.lower_bound, result.ratio, result.guarantee) == (0.0, np.inf, np.inf)
    # Residuals in longer arithmetic. The others cost 60 or so each power of their number.
    B, V = A.astype(np.longdouble), result.basis.astype(np.longdouble)
    y = np.sqrt(((B - (B @ V) @ V.T) ** 2).sum(axis=1))
    off = 1e-15 * np.sqrt((B**2).sum(axis=1))
    norm = float(np.max(y) if np.isinf(p) else (y**p).sum() ** np.longdouble(1.0 / p))
    slack = float(np.max(off) if np.isinf(p) else (off**p).sum() ** np.longdouble(1.0 / p))
    assert result.norm_error > 1.0
    assert abs(result.norm_error - norm) <= 1e-9 * norm + slack
    given = lpgeom.certify(A, result.basis, p)
    assert given.cost > 0.0
    assert given.ratio == np.inf
    if not np.isinf(p):
        (point,) = lpgeom.cost_curve(A, p=p, ks=[1]).results
        assert point.cost > 0.0
        assert point.ratio == np.inf


@pytest.mark.parametrize("shape", [(40, 6), (5, 40), (3000, 8)])
@pytest.mark.parametrize("spread", [0.0, 3.0, 30.0])
@pytest.mark.parametrize("p", [1.0, 3.0, np.inf])
def test_rows_in_a_subspace_cost_nothing_whatever_their_lengths(
    shape: tuple[int, int], spread: float, p: float
) -> None:
    rng = np.random.default_rng(1)
    A = rng.standard_normal((shape[0], 3)) @ rng.standard_normal((3, shape[1]))
    A *= np.exp(rng.uniform(-spread, spread, (shape[0], 1)))
    for k in (3, 4):
        result = lpgeom.approx_subspace(A, k, p)
        assert (result.cost, result.ratio, result.method) == (0.0, 1.0, "rank")
        assert result.certificate is not None
        result.certificate.verify(A)
        assert lpgeom.certify(A, result.basis, p).ratio == 1.0


@pytest.mark.parametrize("p", [3.0, 8.0])
@pytest.mark.parametrize("length", [1e8, 1e10])
def test_long_rows_leave_something_of_the_bound(p: float, length: float) -> None:
    A = gauss(40, 5)
    A[0] *= length
    result = lpgeom.approx_subspace(A, 1, p)
    assert result.certificate is not None
    result.certificate.verify(A)
    assert result.ratio < 1.5


def test_rounding_beside_a_long_row_does_not_take_the_bound() -> None:
    """In a fifth of these the search used to prefer a reference whose figure was rounding."""
    rng = np.random.default_rng(3)
    for _ in range(20):
        A = rng.standard_normal((40, 5))
        A[0] *= 1e10
        assert lpgeom.approx_subspace(A, 1, 3.0).ratio < 1.5


# ---------------------------------------------------------------- disks that are full or read-only


def _report() -> Any:
    import torch

    from lpgeom import nn

    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Embedding(2000, 16))
    return model, nn.compress(model, rank=3, p=2.0, layers="all", progress=False)


def _save_plot(path: Path) -> None:
    pytest.importorskip("matplotlib").use("Agg")
    from matplotlib import pyplot

    from lpgeom import plots

    _, ax = pyplot.subplots()
    try:
        plots.save(ax, path)
    finally:
        pyplot.close("all")


def _writers() -> dict[str, tuple[str, Callable[[Path], object]]]:
    """File name, and what writes it: at least 10 kB each."""
    A = gauss(2000, 6)
    result = lpgeom.approx_subspace(A, 2, 1.0, row_weights=np.ones(2000))
    factors = lpgeom.approx_factors(A[:700], 2, 2.0)
    stream = lpgeom.StreamingCoreset(p=1.0, size=300)
    stream.partial_fit(A)

    def pretrained(path: Path) -> None:
        from lpgeom import nn

        model, report = _report()
        nn.save_pretrained(model, path, report=report)

    return {
        "result": ("a.npz", result.save),
        "factors": ("a.npz", factors.save),
        "stream": ("a.npz", stream.save),
        "picture": ("a.png", _save_plot),
        "report": ("a.html", lambda path: _report()[1].save(path)),
        "model": ("model", pretrained),
    }


WRITERS = ("result", "factors", "stream", "picture", "report", "model")


@contextmanager
def full_disk(most: int = 2048) -> Iterator[None]:
    """Files cannot grow beyond that many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.fixture(scope="module")
def writers() -> dict[str, tuple[str, Callable[[Path], object]]]:
    return _writers()


def _contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("there", [False, True])
def test_a_full_disk_is_an_error_and_changes_nothing(
    name: str, there: bool, tmp_path: Path, writers: Any
) -> None:
    file, write = writers[name]
    write(tmp_path / "warm" / file) if name == "model" else write(tmp_path / file)  # imports
    folder = tmp_path / "full"
    folder.mkdir()
    if there:
        write(folder / file)
    before = _contents(folder)
    with full_disk(), pytest.raises(OSError, match="File too large"):
        write(folder / file)
    assert _contents(folder) == before
    write(folder / file)
    assert _contents(folder)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs another user in a child")
def test_a_read_only_directory_is_an_error(writers: Any) -> None:
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    try:
        writers["result"][1](folder / "a.npz")
        before = _contents(folder)
        folder.chmod(0o555)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                if os.geteuid() == 0:
                    os.setuid(65534)
                for name in ("result", "stream"):
                    try:
                        writers[name][1](folder / "a.npz")
                    except PermissionError:
                        code = 0
                    else:
                        code = 2
                        break
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert _contents(folder) == before
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


# ---------------------------------------------------------------- files that ask for too much


def _npy_header(shape: str, descr: str = "'<f8'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


HUGE = "(1000000000000000000, 3)"


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors", ".h5", ".zarr"])
def test_a_header_of_1e18_rows_is_refused_and_nothing_taken(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    n = 10**18
    if suffix == ".npy":
        path.write_bytes(_npy_header(HUGE) + bytes(24))
    elif suffix == ".npz":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.npy", _npy_header(HUGE) + bytes(24))
    elif suffix == ".safetensors":
        header = {"a": {"dtype": "F64", "shape": [n, 3], "data_offsets": [0, 24 * n]}}
        text = json.dumps(header).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(24))
    elif suffix == ".h5":
        h5py = pytest.importorskip("h5py")
        with h5py.File(path, "w") as file:
            file.create_dataset("a", (n, 3), "f8", chunks=(1000, 3))
    else:
        zarr = pytest.importorskip("zarr")
        zarr.create_array(str(path), shape=(n, 3), chunks=(1000, 3), dtype="f8")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ReadError):
        read_matrix(path)
    with pytest.raises(ReadError):
        read_vector(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10


def test_members_that_claim_to_be_larger_than_they_are(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(path, "w", method) as archive:
            archive.writestr("a.npy", _npy_header("(1000000000, 3)") + bytes(24))
        data = bytearray(path.read_bytes())
        at = data.rindex(b"PK\x01\x02")
        data[at + 24 : at + 28] = (2**32 - 2).to_bytes(4, "little")  # the size in the directory
        path.write_bytes(bytes(data))
        with pytest.raises(ReadError, match="claims to be larger|truncated"):
            read_matrix(path)


class _Payload:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.write_text, (self.path, "code ran"))


@pytest.mark.parametrize("suffix", [".npy", ".npz", "result", "stream", "factors"])
def test_pickles_are_refused_and_do_not_run(suffix: str, tmp_path: Path) -> None:
    trap = np.array([[_Payload(tmp_path / "ran")]], dtype=object)
    path = tmp_path / ("a.npy" if suffix == ".npy" else "a.npz")
    with open(path, "wb") as file:
        if suffix == ".npy":
            np.save(file, trap, allow_pickle=True)
        else:
            np.savez(file, allow_pickle=True, header=trap, a=trap)
    loaders: dict[str, Callable[[Path], object]] = {
        "result": lpgeom.SubspaceResult.load,
        "stream": lpgeom.StreamingCoreset.load,
        "factors": lpgeom.FactorResult.load,
    }
    if suffix == ".npz":
        with pytest.raises(ReadError, match="Python objects"):
            read_matrix(path, "a")
    else:
        with pytest.raises(ValueError, match="objects"):
            loaders.get(suffix, read_matrix)(path)
    assert not (tmp_path / "ran").exists()


# ---------------------------------------------------------------- calls


@pytest.mark.parametrize("name", [name for name in CHECKS if name != "approx_factors"])
def test_an_answer_that_holds_or_a_clear_error(name: str) -> None:
    """`fuzz.calls`: every kind of array, k, p and weights."""

    @settings(deadline=None, derandomize=True, max_examples=40, database=None)
    @given(problem=problems())
    def holds(problem: dict[str, Any]) -> None:
        CHECKS[name](problem)

    holds()


@pytest.mark.parametrize("p", [8.0, 100.0])
@pytest.mark.parametrize("size", [1e-300, 1.0, 1e300])
def test_a_subspace_whose_cost_is_far_beyond_the_best(p: float, size: float) -> None:
    rng = np.random.default_rng(0)
    A = rng.standard_normal((40, 2)) @ rng.standard_normal((2, 5)) * size
    A += 1e-9 * size * rng.standard_normal(A.shape)
    certificate = lpgeom.certify(A, np.eye(5, 2), p)
    assert 0.0 < certificate.scaled_cost < np.inf
    certificate.verify(A)
    assert certificate.ratio > 1e3


def test_kappa_near_p_2_is_compared_where_it_was_computed() -> None:
    rng = np.random.default_rng(3)
    A = rng.standard_normal((12, 3)) @ rng.standard_normal((3, 6))
    A += 1e-9 * rng.standard_normal(A.shape)
    for p in (1.9, 1.99, 1.999):
        result = lpgeom.approx_subspace(A, 2, p)
        assert result.certificate is not None
        result.certificate.verify(A)


def test_a_flat_ellipsoid_of_any_size_contains_its_points() -> None:
    A = np.array([[8.2e159, 1.1e160, 2e160, 5.8e158, -1.3e160]])
    with np.errstate(all="raise", under="ignore"):
        assert lpgeom.min_volume_ellipsoid(A).contains(A, 1e-6).all()


def test_regressions_on_columns_that_are_nearly_nothing() -> None:
    rng = np.random.default_rng(0)
    V, B = rng.standard_normal((20, 2)), rng.standard_normal((3, 20))
    V[:, 1] *= 5e-324
    with np.errstate(all="raise", under="ignore"):
        found = lpgeom.lp_regression(V, B, 1.0)
        only = lpgeom.lp_regression(V[:, 1:], B, 1.0)
    assert np.isfinite(found.X).all()
    assert np.allclose(only.cost, np.abs(B).sum(axis=1))


def test_factors_at_weights_and_powers_that_overflow() -> None:
    A = np.array([[1.38330452e-20, -1.08096595e-20]] * 2)
    omega = np.array([1.0, 5e-324])
    with np.errstate(all="raise", under="ignore"):
        for p, w in ((20.0, None), (1.0 + 1e-12, omega), (3.0, omega)):
            result = lpgeom.approx_factors(A, 1, p, row_weights=w, max_iter=20)
            assert result.certificate is not None
            result.certificate.verify(A)


def test_factors_of_tiny_data_are_not_nothing() -> None:
    A = np.array([[5.22404199e-301, -6.31535538e-301]] * 2)
    result = lpgeom.approx_factors(A, 1, 100.0)
    assert np.allclose(result.left @ result.right / 1e-301, A / 1e-301)
    assert result.certificate is not None
    result.certificate.verify(A)
