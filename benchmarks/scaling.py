"""Dask: a pass measured on two processes, modelled, and simulated for 1e9 rows on a cluster."""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import machine, report

FAN_IN = 8
"""Matrices added in one task of the tree, as in `lpgeom.rows.dask`."""

SPREAD = 0.15
"""Standard deviation of the logarithm of a task's time: workers are not all alike."""

PROCESSES = 2
TURNS = 7


@dataclass(frozen=True)
class Costs:
    """What things cost; seconds, bytes and operations.

    Attributes
    ----------
    flops : float
        Operations a second of one core in a reweighted pass, ``2 n d^2 + 2 n d r`` of them.
    chunk : float
        Seconds that the scheduler takes for all tasks of one chunk in one pass: they come one after
        another.
    turn : float
        Seconds that a pass takes at least.
    eigen : float
        Seconds of one (d, d) eigendecomposition, where the subspace is held.
    network : float
        Bytes a second into one worker.
    latency : float
        Seconds before the first byte of a message.
    read : float
        Bytes a second that one worker reads from storage.
    """

    flops: float
    chunk: float
    turn: float
    eigen: float
    network: float
    latency: float
    read: float


@dataclass(frozen=True)
class Plan:
    """A matrix of n x d on `workers` of `cores` cores each, in `chunks` chunks of whole rows.

    `resident`: whether the workers' memory holds it; otherwise each pass reads it again.
    """

    n: int
    d: int
    rank: int
    itemsize: int
    chunks: int
    workers: int
    cores: int
    resident: bool = True

    @property
    def operations(self) -> float:
        """Of one reweighted pass: distances to the subspace, and the weighted Gram."""
        return 2.0 * self.n * self.d * (self.d + self.rank)


def simulate(plan: Plan, costs: Costs, seed: int = 0) -> tuple[float, float]:
    """(seconds, bytes moved between workers) of one reweighted pass.

    Chunks lie on the workers in equal numbers and in no order, which is how Dask leaves them. The
    scheduler gives them out one by one; a worker runs one task a core and, if the rows are on
    storage, reads them one at a time. Then the (d, d) matrices are added up the tree, each sum
    where most of its terms are: those of other workers come over the network, one after another
    into each worker.
    """
    rng = np.random.default_rng(seed)
    own = rng.permutation(np.arange(plan.chunks) % plan.workers)
    compute = plan.operations / plan.chunks / costs.flops
    load = 0.0 if plan.resident else plan.n * plan.d * plan.itemsize / plan.chunks / costs.read
    slots = np.zeros((plan.workers, plan.cores))
    disk = np.zeros(plan.workers)
    done = np.empty(plan.chunks)
    for j, w in enumerate(own):
        given = (j + 1) * costs.chunk
        slot = int(slots[w].argmin())
        begin = max(given, slots[w, slot])
        if load:
            disk[w] = max(disk[w], given) + load
            begin = max(begin, disk[w])
        done[j] = begin + compute * rng.lognormal(0.0, SPREAD)
        slots[w, slot] = done[j]
    matrix = 8.0 * plan.d**2
    line = np.zeros(plan.workers)
    moved = 0.0
    while done.size > 1:
        ready, place = [], []
        for lo in range(0, done.size, FAN_IN):
            group = own[lo : lo + FAN_IN]
            homes, counts = np.unique(group, return_counts=True)
            here = int(rng.choice(homes[counts == counts.max()]))
            last = 0.0
            for w, arrival in zip(group, done[lo : lo + FAN_IN], strict=True):
                if w != here:
                    line[here] = max(line[here], arrival) + costs.latency + matrix / costs.network
                    arrival = line[here]
                    moved += matrix
                last = max(last, float(arrival))
            ready.append(last)
            place.append(here)
        done, own = np.array(ready), np.array(place)
    return float(done[0]) + costs.turn, moved


# ---------------------------------------------------------------- measured here


def core_speed(d: int, rank: int, dtype: Any, n: int = 40_000) -> float:
    """Operations a second of a reweighted pass on one core."""
    from lpgeom.rows.array import ArrayRows
    from lpgeom.threads import serial_blas

    A = np.random.default_rng(0).standard_normal((n, d)).astype(dtype)
    rows = ArrayRows(A, dtype=dtype)
    X = np.linalg.qr(np.random.default_rng(1).standard_normal((d, rank)))[0]
    seconds = []
    with serial_blas():
        for _ in range(4):
            begin = time.perf_counter()
            rows.weighted_gram(1.0 + rows.quadratic_form(X))
            seconds.append(time.perf_counter() - begin)
    return 2.0 * n * d * (d + rank) / min(seconds)


def pass_seconds(client: Any, A: NDArray, chunks: int, rank: int) -> tuple[float, float]:
    """(median seconds, median bytes sent) of a reweighted pass over A in that many chunks."""
    import dask.array as da

    from lpgeom.rows.dask import DaskRows

    size = -(-len(A) // chunks)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a large graph: sent once, not timed
        there = da.from_array(A, chunks=(size, -1)).persist()
    rows = DaskRows(there)
    X = np.linalg.qr(np.random.default_rng(1).standard_normal((A.shape[1], rank)))[0]
    seconds, sent = [], []
    for turn in range(TURNS):
        before = _sent(client)
        begin = time.perf_counter()
        rows.reweighted_gram((1.0 + 0.1 * turn) * X, _rule)
        seconds.append(time.perf_counter() - begin)
        sent.append(_sent(client) - before)
    return statistics.median(seconds[1:]), statistics.median(sent[1:])


def _rule(t: Any, lo: int, hi: int) -> Any:
    return 1.0 / (1.0 + np.sqrt(t))


def _sent(client: Any) -> int:
    def of_one(dask_worker: Any) -> int:
        return int(dask_worker.transfer_outgoing_bytes_total)

    return int(sum(client.run(of_one).values()))


def eigen_seconds(d: int) -> float:
    """Of one eigendecomposition of (d, d)."""
    M = np.random.default_rng(0).standard_normal((4 * d, d))
    M = M.T @ M
    begin = time.perf_counter()
    np.linalg.eigh(M)
    return time.perf_counter() - begin


def measure(quick: bool) -> tuple[dict[str, Any], Costs]:
    """Runs on a LocalCluster of two processes, and the costs fitted to them."""
    import distributed

    d, rank = 64, 8
    n = 20_000 if quick else 200_000
    rng = np.random.default_rng(0)
    A = rng.standard_normal((n, d))
    counts = (8, 32, 128) if quick else (8, 32, 128, 512)
    with (
        distributed.LocalCluster(
            n_workers=PROCESSES, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        # Next to no rows: what is left is the scheduler's.
        idle = [(c, pass_seconds(client, A[: 4 * c], c, rank)[0]) for c in counts]
        real = [(c, *pass_seconds(client, A, c, rank)) for c in counts]
        bytes_by_d = []
        for width in (16, 64, 128):
            B = rng.standard_normal((4096, width))
            for c in (16, 64):
                moved = pass_seconds(client, B, c, rank)[1]
                bytes_by_d.append(
                    {"d": width, "chunks": c, "bytes": moved, "of": moved / (8 * width**2 * c)}
                )
        at_once = client.map(core_speed, [d] * PROCESSES, rank=rank, dtype=np.float64, pure=False)
        flops = min(client.gather(at_once))
    # Weighted: few chunks tell what a pass takes at least, many what a chunk takes.
    counted, seconds = np.array(idle).T
    slope, base = np.polyfit(counted, seconds, 1, w=1.0 / seconds)
    costs = Costs(
        flops=flops,
        chunk=float(slope),
        turn=max(float(base), 0.0),
        eigen=eigen_seconds(d),
        network=1e9,
        latency=1e-3,
        read=1e9,
    )
    checked = []
    for c, seconds, moved in real:
        plan = Plan(n, d, rank, 8, c, PROCESSES, 1)
        expected, expected_bytes = simulate(plan, costs)
        checked.append(
            {
                "chunks": c,
                "seconds": seconds,
                "simulated": expected,
                "MB": moved / 1e6,
                "simulated_MB": expected_bytes / 1e6,
            }
        )
    return {
        "shape": [n, d],
        "rank": rank,
        "idle": [{"chunks": c, "seconds": s} for c, s in idle],
        "checked": checked,
        "bytes": bytes_by_d,
    }, costs


# ---------------------------------------------------------------- the cluster

ROWS, COLUMNS, RANK, CORES = 1_000_000_000, 768, 128, 16
NETWORK, STORAGE = 10e9 / 8, 1e9
"""Bytes a second into a worker: 10 Gbit/s; and from its storage."""

CHUNK_ROWS = (250_000, 1_000_000)
"""768 MB and 3 GB of float32."""

MEMORY = 128e9
"""Bytes of one worker."""

PASSES = 40
"""Of a certified solve at p = 1: see docs/scaling.md."""


def cluster(local: Costs) -> list[dict[str, Any]]:
    """Passes over 1e9 x 768 float32 on more and more workers."""
    costs = Costs(
        flops=core_speed(COLUMNS, RANK, np.float32, 20_000),
        chunk=local.chunk,
        turn=local.turn,
        eigen=eigen_seconds(COLUMNS),
        network=NETWORK,
        latency=1e-3,
        read=STORAGE,
    )
    print(f"\n1e9 x 768 on a cluster: {asdict(costs)}")
    rows = []
    for workers in (4, 16, 64, 256):
        for size in CHUNK_ROWS:
            chunks = ROWS // size
            bytes_ = 4.0 * ROWS * COLUMNS
            resident = bytes_ <= 0.6 * MEMORY * workers
            plan = Plan(ROWS, COLUMNS, RANK, 4, chunks, workers, CORES, resident)
            seconds, moved = simulate(plan, costs)
            total = PASSES * (seconds + costs.eigen)
            first = bytes_ / (workers * STORAGE) if resident else 0.0
            ideal = plan.operations / (costs.flops * workers * CORES)
            rows.append(
                {
                    "workers": workers,
                    "chunks": chunks,
                    "in_memory": resident,
                    "pass_seconds": seconds,
                    "of_arithmetic": ideal / seconds,
                    "scheduler": chunks * costs.chunk / seconds,
                    "moved_GB": moved / 1e9,
                    "solve_minutes": (total + first) / 60.0,
                }
            )
    return rows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None beyond the common ones."""


def run(options: argparse.Namespace) -> dict[str, Any]:
    print(report.machine_line(machine.describe()), flush=True)
    measured, costs = measure(options.quick)
    print(f"\ncosts here: {asdict(costs)}")
    _show(measured["checked"], f"a pass over {measured['shape']}, two processes")
    _show(measured["bytes"], "bytes sent in a pass")
    simulated = cluster(costs)
    _show(simulated, "1e9 x 768 float32, simulated")
    return {"quick": options.quick, **measured, "costs": asdict(costs), "cluster": simulated}


def _show(rows: list[dict[str, Any]], title: str) -> None:
    cells = [list(row.values()) for row in rows]
    print(report.table(list(rows[0]), cells, f"\n{title}"), flush=True)
