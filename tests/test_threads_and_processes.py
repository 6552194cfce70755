"""Several threads, several processes, and Ctrl-C: the same results, and nothing left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lpgeom
from lpgeom import threads

RNG = np.random.default_rng(0)
SMALL = RNG.standard_normal((60, 6))
LARGE = RNG.standard_normal((90_000, 12)) * 0.8 ** np.arange(12)
LARGE[::50] *= 20.0

CALLS: dict[str, Callable[[], Any]] = {
    "approx_subspace": lambda: lpgeom.approx_subspace(SMALL, 2, 1.0).basis,
    "approx_subspace, large": lambda: lpgeom.approx_subspace(LARGE, 3, 1.0).basis,
    "lewis_weights": lambda: lpgeom.lewis_weights(LARGE, 1.0).weights,
    "coreset": lambda: lpgeom.coreset(LARGE, size=400, p=1.0, k=3, seed=1).weights,
    "mvee": lambda: lpgeom.min_volume_ellipsoid(SMALL).axes,
}


def pools() -> list[int]:
    """Threads of every BLAS here that does as it is told: some are built for one thread alone."""
    return [library.num_threads for library in _obedient()]


@cache
def _obedient() -> list[Any]:
    found = []
    for library in threads._blas().lib_controllers:
        before = library.num_threads
        library.set_num_threads(before + 1)
        if library.num_threads == before + 1:
            found.append(library)
        library.set_num_threads(before)
    assert found
    return found


# ---------------------------------------------------------------- threads


def test_calls_at_once_give_what_they_give_alone_and_restore_the_limits() -> None:
    before = pools()
    alone = {name: call() for name, call in CALLS.items()}
    with ThreadPoolExecutor(4) as pool:
        for _ in range(2):
            running = {name: pool.submit(call) for name, call in CALLS.items()}
            for name, future in running.items():
                found = future.result(120)
                np.testing.assert_allclose(found, alone[name], rtol=1e-6, atol=1e-9, err_msg=name)
    assert pools() == before


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_limits_are_restored_in_whatever_order_callers_leave(
    monkeypatch: pytest.MonkeyPatch, order: tuple[int, int]
) -> None:
    monkeypatch.setenv(threads.VARIABLE, "3")
    before = pools()
    callers = [threads.limited(), threads.serial_blas()]
    found = []
    for caller in callers:
        caller.__enter__()
        found.append(set(pools()))
    for number in order:
        callers[number].__exit__(None, None, None)
        found.append(set(pools()))
    assert found[:3] == [{3}, {1}, {1 if order[0] == 0 else 3}]
    assert pools() == before


def test_threads_that_hold_different_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(threads.VARIABLE, "2")
    before = pools()
    rng = np.random.default_rng(0)
    delays = rng.uniform(0.0, 0.002, (8, 20))

    def work(i: int) -> None:
        for delay in delays[i]:
            with threads.limited() if i % 2 else threads.serial_blas():
                time.sleep(delay)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert pools() == before
    assert not threads._hold.all.wanted


def in_a_thread(function: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result(120)


def test_a_limit_holds_in_whatever_thread_it_is_set() -> None:
    """threadpoolctl 3.8 leaves the setting to the thread that came first."""
    solve(0)
    library = _obedient()[0]
    before = library.num_threads

    def held() -> list[int]:
        with threads.serial_blas():
            return pools()

    assert set(held()) == set(in_a_thread(held)) == {1}
    library.set_num_threads(before + 1)  # now this thread has the say
    try:
        assert set(in_a_thread(held)) == {1}
        assert library.num_threads == before + 1
    finally:
        library.set_num_threads(before)
    with threads._blas().limit(limits=1):  # as others do it
        assert set(pools()) == {1}
    assert set(in_a_thread(lambda: limited_by_others(1))) == {1}


def limited_by_others(n: int) -> list[int]:
    with threads._blas().limit(limits=n):
        return pools()


class PerThread:
    """A library whose limit is the calling thread's own."""

    internal_api = "mkl"

    def __init__(self) -> None:
        self._own = threading.local()

    @property
    def num_threads(self) -> int:
        return int(getattr(self._own, "n", 6))

    def set_num_threads(self, n: int) -> None:
        self._own.n = n


def test_limits_of_a_library_that_has_one_for_every_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    library = PerThread()
    blas = type("Blas", (), {"lib_controllers": [library]})
    monkeypatch.setattr(threads, "_blas", lambda: blas)
    monkeypatch.setattr(threads, "_of_the_thread", lambda _: True)
    assert threads.blas_threads() == 6
    with threads.serial_blas():
        assert library.num_threads == threads.blas_threads() == 1
        assert in_a_thread(threads.blas_threads) == 6
    seen = threads.spread(lambda i, workers, stopped: (library.num_threads, workers), 1e9)
    assert seen == [(1, 6)] * 6
    assert library.num_threads == 6


def test_other_threads_do_not_change_how_work_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(threads.VARIABLE, "3")

    def workers() -> int:
        with threads.limited():
            return len(threads.spread(lambda i, workers, stopped: i, 1e9))

    with threads.serial_blas():
        assert in_a_thread(workers) == 3
        assert workers() == 1
    assert workers() == 3


def digest(name: str) -> bytes:
    return np.ascontiguousarray(CALLS[name]()).tobytes()


def digests() -> list[bytes]:
    return [digest(name) for name in CALLS]


@pytest.mark.slow
def test_who_calls_does_not_change_a_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    joblib, dask = pytest.importorskip("joblib"), pytest.importorskip("dask")
    distributed = pytest.importorskip("distributed")
    monkeypatch.setenv(threads.VARIABLE, "2")
    expected = digests()
    assert digests() == expected
    assert in_a_thread(digests) == expected
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(digest, list(CALLS) * 2)) == expected * 2
    for backend in ("threading", "loky"):
        found = joblib.Parallel(n_jobs=2, backend=backend)(joblib.delayed(digests)() for _ in "ab")
        assert found == [expected] * 2, backend
    from joblib.externals.loky import get_reusable_executor

    get_reusable_executor().shutdown(wait=True)
    tasks = [dask.delayed(digest)(name) for name in CALLS]
    assert list(dask.compute(*tasks, scheduler="threads")) == expected
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        assert list(client.gather(client.map(digest, list(CALLS)))) == expected


def test_an_error_in_a_pass_leaves_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "blas_threads", lambda: 4)
    before, count = pools(), threading.active_count()

    def work(i: int, workers: int, stopped: Callable[[], bool]) -> None:
        if i == 0:
            raise KeyboardInterrupt
        while not stopped():
            time.sleep(0.001)

    with pytest.raises(KeyboardInterrupt):
        threads.spread(work, 1e9)
    assert threading.active_count() == count
    assert pools() == before


# ---------------------------------------------------------------- processes


def solve(seed: int) -> float:
    A = np.random.default_rng(seed).standard_normal((300, 8))
    return lpgeom.approx_subspace(A, 2, 1.0).cost


def solve_large(_: int) -> float:
    return lpgeom.approx_subspace(LARGE, 3, 1.0, method="lewis", certify=False).cost


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("function", [solve, solve_large])
def test_forked_workers_after_a_solve_in_the_parent(function: Callable[[int], float]) -> None:
    expected = [function(seed) for seed in range(2)]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map_async(function, range(2)).get(120) == pytest.approx(expected, rel=1e-9)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_while_another_thread_holds_the_limits() -> None:
    """The child has neither that thread nor its hold."""
    before = pools()
    ready, done = threading.Event(), threading.Event()

    def hold() -> None:
        with threads.serial_blas():
            ready.set()
            done.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    ready.wait(60)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=lambda: queue.put((pools(), solve(0))))
    child.start()
    found, cost = queue.get(timeout=120)
    child.join(60)
    done.set()
    thread.join()
    assert found == before
    assert cost == pytest.approx(solve(0), rel=1e-9)


@pytest.mark.slow
def test_spawned_workers() -> None:
    code = """
import multiprocessing, numpy as np, lpgeom
def solve(seed):
    A = np.random.default_rng(seed).standard_normal((300, 8))
    return lpgeom.approx_subspace(A, 2, 1.0).cost
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map_async(solve, [0]).get(200) == [solve(0)]
    print("done")
"""
    assert "done" in in_a_process(code)


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_joblib(backend: str) -> None:
    joblib = pytest.importorskip("joblib")
    expected = [solve(seed) for seed in range(2)]
    found = joblib.Parallel(n_jobs=2, backend=backend)(joblib.delayed(solve)(i) for i in range(2))
    assert found == pytest.approx(expected, rel=1e-9)
    if backend == "loky":
        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor().shutdown(wait=True)


def in_a_process(code: str, *arguments: str, env: dict[str, str] | None = None) -> str:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script.py"
        script.write_text(code)
        done = subprocess.run(
            [sys.executable, str(script), *arguments],
            capture_output=True, text=True, timeout=300, env=os.environ | (env or {}), check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


# ---------------------------------------------------------------- Ctrl-C

INTERRUPTED = """
import os, random, signal, sys, threading, time
import numpy as np
import lpgeom
from lpgeom import threads

# A shell's background jobs ignore SIGINT, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
rng = np.random.default_rng(0)
A = rng.standard_normal((400, 10))
B = rng.standard_normal((60_000, 16)) * 0.8 ** np.arange(16)
B[::50] *= 20.0
out = sys.argv[1]
calls = {
    "approx_subspace": lambda: lpgeom.approx_subspace(A, 3, 1.0, certify="tight"),
    "approx_subspace, p = 3": lambda: lpgeom.approx_subspace(A, 3, 3.0, certify="tight"),
    "approx_subspace, p = inf": lambda: lpgeom.approx_subspace(A, 3, np.inf),
    "large": lambda: lpgeom.approx_subspace(B, 3, 1.0),
    "lewis_weights": lambda: lpgeom.lewis_weights(B, 8.0, tol=1e-9),
    "approx_factors": lambda: lpgeom.approx_factors(A, 3),
    "approx_clusters": lambda: lpgeom.approx_clusters(A, 2, subspaces=3),
    "lp_regression": lambda: lpgeom.lp_regression(B[:, :15], B[:, 15], p=1.0),
    "min_volume_ellipsoid": lambda: lpgeom.min_volume_ellipsoid(B, eps=1e-9),
    "lp_svd": lambda: lpgeom.lp_svd(A[:, :5], 1.0),
    "coreset": lambda: lpgeom.coreset(B, size=500, p=1.0),
    "verify": lambda: result.certificate.verify(A),
    "save": lambda: [result.save(os.path.join(out, "a.npz")) for _ in range(200)],
}
result = lpgeom.approx_subspace(A, 3, 1.0)
pools = lambda: [library.num_threads for library in threads._blas().lib_controllers]
before = pools()
names = calls if len(sys.argv) < 3 else sys.argv[2:]
random.seed(0)
for name in names:
    started = time.perf_counter()
    calls[name]()  # compiled, and timed
    took = time.perf_counter() - started
    interrupted = 0
    for share in (0.1, 0.3, 0.6, 0.9):
        running = True
        # An alarm that is late by the last few steps must not hit the script instead.
        signal.signal(signal.SIGALRM, lambda *_: running and signal.raise_signal(signal.SIGINT))
        try:
            signal.setitimer(signal.ITIMER_REAL, max(share * min(took, 0.5), 1e-4))
            calls[name]()
            running = False
        except KeyboardInterrupt:
            interrupted += 1
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
        assert threading.active_count() == 1, (name, threading.enumerate())
        assert pools() == before, (name, pools(), before)
        assert not threads._hold.all.wanted, name
        assert sorted(os.listdir(out)) in ([], ["a.npz"]), os.listdir(out)
        if os.path.exists(os.path.join(out, "a.npz")):
            lpgeom.SubspaceResult.load(os.path.join(out, "a.npz"))
    print(name, interrupted, flush=True)
calls["approx_subspace"]()
"""


@pytest.mark.slow
def test_ctrl_c_anywhere_leaves_no_thread_no_limit_and_no_half_file(tmp_path: Path) -> None:
    printed = in_a_process(INTERRUPTED, str(tmp_path), env={"LPGEOM_NUM_THREADS": "2"})
    counts = {
        line.rpartition(" ")[0]: int(line.rpartition(" ")[2]) for line in printed.splitlines()
    }
    assert len(counts) == 13
    assert sum(counts.values()) >= 26, counts


# ---------------------------------------------------------------- one file, several writers

SAVER = """
import sys, numpy as np, lpgeom
A = np.random.default_rng(int(sys.argv[2])).standard_normal((60, 6))
result = lpgeom.approx_subspace(A, 2, 1.0)
for _ in range(40):
    result.save(sys.argv[1])
"""


@pytest.mark.slow
def test_processes_that_save_into_one_file_leave_one_of_theirs(tmp_path: Path) -> None:
    path = tmp_path / "result.npz"
    script = tmp_path / "script.py"
    script.write_text(SAVER)
    writers = [
        subprocess.Popen([sys.executable, str(script), str(path), str(seed)]) for seed in range(3)
    ]
    costs = set()
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            costs.add(lpgeom.SubspaceResult.load(path).cost)
        time.sleep(0.01)
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    expected = {
        lpgeom.approx_subspace(np.random.default_rng(s).standard_normal((60, 6)), 2, 1.0).cost
        for s in range(3)
    }
    assert {round(cost, 8) for cost in costs} <= {round(cost, 8) for cost in expected}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["result.npz", "script.py"]


def test_forked_writers_do_not_share_names_for_temporary_files() -> None:
    import secrets

    with multiprocessing.get_context("fork").Pool(2) as pool:
        names = pool.map(secrets.token_hex, [6] * 40)
    assert len(set(names)) == 40


def test_signal_handlers_are_as_they_were() -> None:
    before = signal.getsignal(signal.SIGINT)
    solve(0)
    assert signal.getsignal(signal.SIGINT) is before
