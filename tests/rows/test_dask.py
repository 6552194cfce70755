"""Dask arrays: the same answers as in memory, with nothing but (d, d) matrices on the way."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lpgeom
from lpgeom.kernels.cpu import rowwise
from lpgeom.rows import vectors
from lpgeom.rows.array import ArrayRows

dask = pytest.importorskip("dask", reason="Dask is NOT tested: pip install 'lpgeom[dask]'")
distributed = pytest.importorskip(
    "distributed", reason="Dask is NOT tested: pip install 'lpgeom[dask]'"
)
da = pytest.importorskip("dask.array")

from lpgeom.rows.dask import DaskRows  # noqa: E402


def matrix(n: int = 600, d: int = 12, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, 3)) @ rng.standard_normal((3, d))
    A += 0.05 * rng.standard_normal((n, d))
    A[: n // 20] = 10.0 * rng.standard_normal((n // 20, d))
    return A


def cut(A: Any, rows: int = 170) -> Any:
    return da.from_array(A, chunks=(rows, *A.shape[1:]))


def same(ours: Any, theirs: Any) -> None:
    """The same subspace, cost and certificate."""
    P, Q = (r.basis @ r.basis.T for r in (ours, theirs))
    np.testing.assert_allclose(P, Q, atol=1e-8)
    assert ours.cost == pytest.approx(theirs.cost, rel=1e-12)
    assert ours.lower_bound == pytest.approx(theirs.lower_bound, rel=1e-6)
    assert ours.method == theirs.method
    assert ours.n_iter == theirs.n_iter


@pytest.fixture
def alone() -> Iterator[None]:
    with dask.config.set(scheduler="synchronous"):
        yield


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fetching what is as long as the rows is an error."""
    fetch = da.Array.__array__

    def short(self: Any, *args: Any, **options: Any) -> Any:
        assert self.size < 600, f"fetched {self.shape}"
        return fetch(self, *args, **options)

    monkeypatch.setattr(da.Array, "__array__", short)


@pytest.mark.parametrize("weighted", [False, True])
def test_every_pass(weighted: bool, alone: None) -> None:
    A = matrix()
    rng = np.random.default_rng(1)
    f = rng.random(600) if weighted else None
    w, X = rng.standard_normal(600), rng.standard_normal((12, 5))
    ours, theirs = DaskRows(cut(A), None if f is None else cut(f), 0.5), ArrayRows(A, f, 0.5)
    for a, b, tol in ((ours, theirs, 1e-13), (ours.single(), theirs.single(), 1e-5)):

        def close(x: Any, y: Any, tol: float = tol) -> None:
            np.testing.assert_allclose(np.asarray(x), y, rtol=0.0, atol=tol * np.abs(y).max())

        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        close(a.squared_norms(), b.squared_norms())
        close(a.scaled(4.0).squared_norms(), b.scaled(4.0).squared_norms())
        close(a.quadratic_form(X), b.quadratic_form(X))
        close(a.bilinear_form(X @ X.T), b.bilinear_form(X @ X.T))
        close(a.weighted_gram(), b.weighted_gram())
        close(a.weighted_gram(cut(w)), b.weighted_gram(w))
        close(np.abs(a.triangle(cut(w * w))), np.abs(b.triangle(w * w)), 1e-4)
        found = (rows.reweighted_gram(X, lambda t, lo, hi: (t, 2.0 * t)) for rows in (a, b))
        for x, y in zip(*found, strict=True):
            close(x, y, 10 * tol)
        index = np.array([599, 0, 169, 170, 0])
        close(a.take(index, w[:5])._A, b.take(index, w[:5])._A, 1e-6)
    assert ours.n_passes == pytest.approx(theirs.n_passes)


def test_vectors_say_the_same_in_both_places(alone: None) -> None:
    rng = np.random.default_rng(2)
    v, mask = rng.random(600), rng.random(600) < 0.7
    there = cut(v)
    some = vectors.compressed(there, cut(mask))
    np.testing.assert_array_equal(some, v[mask])
    np.testing.assert_array_equal(vectors.spread(some, cut(mask)), vectors.spread(v[mask], mask))
    np.testing.assert_array_equal(vectors.entries(there, np.array([1, 169, 170])), v[[1, 169, 170]])
    assert vectors.numbers(there.sum(), v.max()) == pytest.approx((v.sum(), v.max()))
    D, b = rng.standard_normal((600, 3)), rng.standard_normal(600)
    np.testing.assert_allclose(
        vectors.least_squares(cut(D), cut(b), 1e-12), vectors.least_squares(D, b, 1e-12)
    )


def test_the_same_rows_are_drawn(alone: None) -> None:
    prob = np.random.default_rng(3).random(600)
    here, there = np.random.default_rng(4), np.random.default_rng(4)
    for rng in (here, there):
        rng.integers(3, dtype=np.int32)  # leaves half a number in the buffer
    np.testing.assert_array_equal(vectors.drawn(cut(prob), there), vectors.drawn(prob, here))
    assert here.bit_generator.state == there.bit_generator.state


@pytest.mark.parametrize("method", ["irls", "lewis", "svd"])
@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0])
def test_approx_subspace(p: float, method: str, alone: None, watched: None) -> None:
    A = matrix()
    ours, theirs = (lpgeom.approx_subspace(M, 3, p, method=method) for M in (cut(A), A))
    same(ours, theirs)
    assert ours.certificate is not None
    ours.certificate.verify(A)


def test_a_certificate_is_checked_slice_by_slice(alone: None) -> None:
    A = matrix()
    certificate = lpgeom.approx_subspace(A, 3, method="svd").certificate
    assert certificate is not None
    certificate.verify(cut(A))


def test_the_search_runs_on_a_copy_of_small_data(alone: None) -> None:
    A = matrix(seed=5)
    same(lpgeom.approx_subspace(cut(A), 3), lpgeom.approx_subspace(A, 3))


def test_large_data(alone: None) -> None:
    """Samples and float32: the chunks decide how float32 Grams are rounded."""
    A = matrix(50_000, 24).astype(np.float32)
    for tol, digits in ((None, 1e-6), (1e-12, 1e-8)):
        ours, theirs = (lpgeom.approx_subspace(M, 3, tol=tol) for M in (cut(A, 6250), A))
        np.testing.assert_allclose(
            ours.basis @ ours.basis.T, theirs.basis @ theirs.basis.T, atol=digits
        )
        assert ours.cost == pytest.approx(theirs.cost, rel=1e-10)
        assert ours.method == theirs.method


@pytest.mark.parametrize("distant", [False, True])
def test_row_weights_and_zero_rows(distant: bool, alone: None) -> None:
    A = matrix()
    A[[0, 1, 400]] = 0.0
    A[170:340] = 0.0  # a whole chunk
    omega = np.random.default_rng(6).random(600)
    omega[5] = 0.0
    given = cut(omega, 100) if distant else omega
    for p in (1.0, 3.0):
        ours = lpgeom.approx_subspace(cut(A), 3, p, row_weights=given, method="lewis")
        same(ours, lpgeom.approx_subspace(A, 3, p, row_weights=omega, method="lewis"))
    cost = lpgeom.cost(cut(A), ours.basis, 3.0, row_weights=given)
    assert cost == pytest.approx(ours.cost)


@pytest.mark.parametrize("p", [1.0, 1.5, 4.0, 6.0])
def test_lewis_weights(p: float, alone: None) -> None:
    A = matrix()
    A[7] = 0.0
    ours, theirs = (lpgeom.lewis_weights(M, p, tol=1e-9) for M in (cut(A), A))
    assert vectors.is_distant(ours.weights)
    assert ours.weights.chunks == cut(A).chunks[:1]
    np.testing.assert_allclose(np.asarray(ours.weights), theirs.weights, rtol=1e-8)
    np.testing.assert_allclose(ours.M, theirs.M, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(
    "options",
    [
        {"size": 90},
        {"size": 90, "p": 3.0},
        {"size": 90, "k": 3},
        {"size": 90, "k": 2, "p": 5.0},
        {"eps": 0.9, "p": 2.0},
        {"size": 90, "method": "norm"},
        {"size": 90, "method": "uniform"},
        {"size": 5000},
    ],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_coresets(options: dict[str, Any], weighted: bool, alone: None) -> None:
    A = matrix(700, 6).astype(np.float32)
    A[:20] = 0.0
    omega = np.linspace(0.0, 2.0, len(A)) if weighted else None
    ours, theirs = (lpgeom.coreset(M, row_weights=omega, **options) for M in (cut(A, 90), A))
    np.testing.assert_array_equal(ours.indices, theirs.indices)
    np.testing.assert_array_equal(ours.rows, theirs.rows)
    np.testing.assert_allclose(ours.weights, theirs.weights, rtol=1e-6)
    assert (ours.rows.dtype, ours.shape) == (np.dtype(np.float32), A.shape)
    assert ours.provenance.theorem == theirs.provenance.theorem


def test_refine_and_what_takes_too_many_passes(alone: None) -> None:
    A = matrix(700, 6)
    V = np.linalg.svd(A)[2][:2].T
    ours, theirs = (lpgeom.refine(M, V, passes=2) for M in (cut(A), A))
    np.testing.assert_allclose(ours @ ours.T, theirs @ theirs.T, atol=1e-10)
    with pytest.raises(TypeError, match="a pass for each row chosen"):
        lpgeom.coreset(cut(A), size=20, method="deterministic")


def test_certify_and_cost(alone: None, watched: None) -> None:
    A = matrix(600, 6)
    V = np.linalg.svd(A)[2][:2].T
    for p in (1.0, 2.0, 3.0):
        ours, theirs = (lpgeom.certify(M, V, p) for M in (cut(A), A))
        assert ours.cost == pytest.approx(theirs.cost)
        assert ours.lower_bound == pytest.approx(theirs.lower_bound, rel=1e-6)
    for p in (1.0, 1.7, math.inf):
        assert lpgeom.cost(cut(A), V, p) == pytest.approx(lpgeom.cost(A, V, p))


def test_the_tight_bound(alone: None, watched: None) -> None:
    A = matrix(600, 6)
    V = lpgeom.approx_subspace(A, 2).basis
    ours, theirs = (lpgeom.certify(M, V, 1.0, "tight") for M in (cut(A, 300), A))
    assert ours.lower_bound == pytest.approx(theirs.lower_bound, rel=5e-3)
    ours.verify(A)


def test_infinite_p(alone: None, watched: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Brought here where they fit, the rows are solved as an array; else only the farthest are."""
    A = matrix(4000, 8)
    theirs = lpgeom.approx_subspace(A, 3, math.inf)
    ours = lpgeom.approx_subspace(cut(A, 1500), 3, math.inf)
    assert ours.cost == theirs.cost
    assert ours.lower_bound == theirs.lower_bound
    monkeypatch.setattr("lpgeom.rows.dask.LOCAL_BYTES", 0)
    for exchange in (2e7, 0.0):
        monkeypatch.setattr("lpgeom.subspace.minimax.EXCHANGE", exchange)
        far = lpgeom.approx_subspace(cut(A, 1500), 3, math.inf)
        # Rounding may lead a descent to another minimum; the bound's problem has none.
        assert far.lower_bound == pytest.approx(theirs.lower_bound, rel=1e-2)
        assert far.lower_bound <= min(far.cost, theirs.cost)
        assert far.cost <= 1.05 * theirs.cost
        far.certificate.verify(A)
    certified = lpgeom.certify(cut(A, 1500), theirs.basis, math.inf)
    assert certified.cost == pytest.approx(theirs.cost)
    assert certified.lower_bound == pytest.approx(theirs.lower_bound, rel=1e-2)


@pytest.mark.parametrize("p", [1.0, 3.0, math.inf])
@pytest.mark.parametrize("distant", [False, True])
def test_records_with_weights_stand_alone(
    p: float, distant: bool, alone: None, tmp_path: Path
) -> None:
    A = matrix(300, 6)
    omega = np.random.default_rng(1).integers(0, 3, len(A)).astype(float)
    given = cut(omega, 100) if distant else omega
    ours = lpgeom.approx_subspace(cut(A), 2, p, row_weights=given, method="irls", max_iter=5)
    curve = lpgeom.cost_curve(cut(A), p, [2], row_weights=given, method="svd")
    certified = lpgeom.certify(cut(A), ours.basis, p, row_weights=given)
    ours.save(tmp_path / "r.npz")
    again = lpgeom.SubspaceResult.load(tmp_path / "r.npz")
    for certificate in (
        ours.certificate, certified, again.certificate, *(r.certificate for r in curve.results)
    ):  # fmt: skip
        np.testing.assert_array_equal(certificate.row_weights, omega)
        certificate.verify(A)
        certificate.verify(cut(A))
        with pytest.raises(lpgeom.CertificateError):
            certificate.verify(2.0 * A)


@given(
    v=hnp.arrays(float, st.integers(1, 60), elements=st.floats(0.0, 1e3)),
    count=st.integers(1, 70),
    chunk=st.integers(1, 60),
)
def test_the_largest_entries(v: np.ndarray, count: int, chunk: int) -> None:
    with dask.config.set(scheduler="synchronous"):
        index, values = vectors.largest(da.from_array(v, chunks=chunk), count)
    assert (np.diff(index) > 0).all()
    np.testing.assert_array_equal(v[index], values)
    np.testing.assert_array_equal(np.sort(values), np.sort(v)[max(v.size - count, 0) :])


def test_odd_shapes(alone: None) -> None:
    A = matrix()
    pieces = da.concatenate([cut(A[:0]), cut(A[:40]), cut(A[40:40]), cut(A[40:])])
    same(
        lpgeom.approx_subspace(pieces, 3, method="svd"), lpgeom.approx_subspace(A, 3, method="svd")
    )
    wide = matrix(9, 12)
    same(lpgeom.approx_subspace(cut(wide, 4), 3), lpgeom.approx_subspace(wide, 3))
    assert lpgeom.approx_subspace(cut(np.outer(np.arange(99.0), np.ones(5)), 20), 2).cost == 0.0


def test_what_is_refused(alone: None) -> None:
    A = cut(matrix())
    V = np.eye(12)[:, :3]
    with pytest.raises(ValueError, match=r"unknown chunk sizes .*compute_chunk_sizes\(\) first"):
        lpgeom.approx_subspace(A[A[:, 0] > 0.0], 3)
    with pytest.raises(ValueError, match=r"cut along its columns into chunks of \(7, 5\)"):
        lpgeom.cost(A.rechunk((170, 7)), V)
    with pytest.raises(ValueError, match="two-dimensional"):
        lpgeom.lewis_weights(A[:, 0], 1.0)
    with pytest.raises(ValueError, match="A is empty"):
        lpgeom.lewis_weights(A[:0], 1.0)
    with pytest.raises(TypeError, match="real numbers, got dtype complex128"):
        lpgeom.lewis_weights(A * 1j, 1.0)
    with pytest.raises(TypeError, match="A is masked; fill or drop"):
        lpgeom.cost(da.ma.masked_greater(A, 1.0), V)
    with pytest.raises(TypeError, match=r"A is a Dask Array, .*A\.compute\(\)"):
        lpgeom.loewner_ellipsoid(A, 1.0)
    with pytest.raises(TypeError, match="A is a Dask Array"):
        lpgeom.approx_factors(A, 3, 1.0)
    for weights, words in (
        (np.ones(5), "one per row"),
        (da.ones(5), "one per row"),
        (-da.ones(600), "negative, NaN or infinite"),
        (da.zeros(600), "all zero"),
    ):
        with pytest.raises(ValueError, match=words):
            lpgeom.cost(A, V, row_weights=weights)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_entry_is_named(bad: float, alone: None) -> None:
    A = matrix()
    A[[333, 500], 4] = bad
    with pytest.raises(ValueError, match=rf"A\[333, 4\] is {bad}; every entry must be finite"):
        lpgeom.approx_subspace(cut(A), 3)


def test_threads() -> None:
    with dask.config.set(scheduler="threads", num_workers=3):
        A = matrix()
        same(
            lpgeom.approx_subspace(cut(A, 50), 3, method="irls"),
            lpgeom.approx_subspace(A, 3, method="irls"),
        )


# ---------------------------------------------------------------- processes


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def sent(client: Any) -> int:
    """Bytes that have left workers, to one another or to the client, and the scheduler's streams.

    The latter carry tasks to the workers, and the subspace with them.
    """

    def of_one(dask_worker: Any) -> int:
        return int(dask_worker.transfer_outgoing_bytes_total)

    def of_the_scheduler(dask_scheduler: Any) -> int:
        return int(sum(stream.byte_count for stream in dask_scheduler.stream_comms.values()))

    data = sum(client.run(of_one).values())
    return int(data + client.run_on_scheduler(of_the_scheduler))


def bytes_of_an_iteration(client: Any, n: int, d: int, chunks: int) -> float:
    """Median over seven; Dask may move a whole chunk once, to even out the load."""
    rows = DaskRows(cut(matrix(n, d), n // chunks).persist())
    X = np.linalg.qr(np.random.default_rng(7).standard_normal((d, 9)))[0]
    rows.reweighted_gram(X, lambda t, lo, hi: np.sqrt(t))
    totals = [sent(client)]
    for turn in range(7):
        rows.reweighted_gram((1.0 + turn) * X, lambda t, lo, hi: np.sqrt(t))
        totals.append(sent(client))
    return float(np.median(np.diff(totals)))


def test_only_small_matrices_travel(client: Any) -> None:
    """Bytes in one iteration: O(chunks d^2) and the tasks, whatever the number of rows."""
    tasks = 20_000  # bytes a chunk
    for d, chunks in ((16, 6), (64, 12)):
        few, many = (bytes_of_an_iteration(client, n, d, chunks) for n in (1500, 15_000))
        assert 8 * d * d < few < chunks * (3 * 8 * d * d + tasks)
        assert many < 1.5 * few


def test_a_killed_worker_changes_nothing(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    A = matrix(1200, 12)
    there = cut(A, 300).persist()
    few: dict[str, Any] = {"method": "irls", "max_iter": 3}
    whole = lpgeom.approx_subspace(there, 3, **few)
    same(whole, lpgeom.approx_subspace(A, 3, **few))
    calls = []
    killed = []
    step = DaskRows.reweighted_gram

    def with_a_loss(self: DaskRows, *args: Any) -> Any:
        calls.append(self)
        if len(calls) == 3:
            killed.append(next(iter(client.run(os.getpid).values())))
            os.kill(killed[0], signal.SIGKILL)
        return step(self, *args)

    monkeypatch.setattr(DaskRows, "reweighted_gram", with_a_loss)
    again = lpgeom.approx_subspace(there, 3, **few)
    assert len(calls) > 3
    assert killed[0] not in client.run(os.getpid).values()
    np.testing.assert_array_equal(again.basis, whole.basis)
    assert again.cost == whole.cost
    assert again.lower_bound == whole.lower_bound


def test_a_worker_that_dies_inside_a_pass_changes_nothing(client: Any, tmp_path: Path) -> None:
    """The chunk's own task kills its process, in one pass out of the middle of the solve."""
    A = matrix(1200, 12)
    turns, order = tmp_path / "turns", tmp_path / "order"

    def read(block: Any, turns: Path = turns, order: Path = order) -> Any:
        with turns.open("a") as file:
            file.write("x")
        if turns.stat().st_size > 20 and order.exists():
            order.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return block

    read_anew = cut(A, 300).map_blocks(read, dtype=A.dtype, meta=A[:0])  # in every pass
    few: dict[str, Any] = {"method": "irls", "max_iter": 3}
    whole = lpgeom.approx_subspace(cut(A, 300), 3, **few)
    order.touch()
    again = lpgeom.approx_subspace(read_anew, 3, **few)
    assert not order.exists()
    assert turns.stat().st_size > 30
    np.testing.assert_array_equal(again.basis, whole.basis)
    assert again.cost == whole.cost
    assert again.lower_bound == whole.lower_bound


def test_chunks_that_are_not_aligned(alone: None) -> None:
    """As they come out of a socket: the same numbers, by the same kernels."""
    A = matrix()
    raw = np.empty(A.nbytes + 1, np.uint8)
    raw[1:] = np.frombuffer(A.tobytes(), np.uint8)
    odd = raw[1:].view(np.float64).reshape(A.shape)
    assert not odd.flags.aligned
    same(*(lpgeom.approx_subspace(M, 3, method="irls") for M in (odd, A)))
    for kernel in (rowwise.scale_rows, rowwise.add_row_squares):
        assert all(array.aligned for call in kernel.signatures for array in call)
