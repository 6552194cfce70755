"""The simulated cluster of benchmarks/scaling.py: what can be counted by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.scaling import Costs, Plan, simulate

COSTS = Costs(flops=1e9, chunk=0.0, turn=0.0, eigen=0.0, network=1e9, latency=0.0, read=1e8)
PLAN = Plan(n=64_000, d=100, rank=10, itemsize=4, chunks=64, workers=4, cores=2)


def test_arithmetic_is_shared() -> None:
    seconds, _ = simulate(PLAN, COSTS)
    ideal = PLAN.operations / (COSTS.flops * PLAN.workers * PLAN.cores)
    assert ideal * 0.9 < seconds < ideal * 1.6  # the slowest core, and the tree after it


def test_bytes_are_those_of_the_tree() -> None:
    # One worker: nothing moves. A worker for each chunk: all but one of every eight, twice.
    assert simulate(replace(PLAN, workers=1), COSTS)[1] == 0.0
    _, moved = simulate(replace(PLAN, workers=64), COSTS)
    assert moved == 8 * 100**2 * (7 * 8 + 7)
    # Eight chunks, two on each of four workers, are added on one of these: six are elsewhere.
    assert simulate(replace(PLAN, chunks=8), COSTS)[1] == 8 * 100**2 * 6
    # In no order, eight of 64 chunks have at least two on some worker, whatever the seed.
    for seed in range(5):
        assert 0.0 < simulate(PLAN, COSTS, seed)[1] <= 8 * 100**2 * (8 * 6 + 6)


def test_the_scheduler_is_the_limit_for_many_small_chunks() -> None:
    slow = replace(COSTS, chunk=1e-2)
    few, many = (simulate(replace(PLAN, chunks=c), slow)[0] for c in (64, 640))
    assert few < many
    assert many == pytest.approx(640 * 1e-2, rel=0.05)


def test_rows_on_storage_cost_their_reading() -> None:
    seconds, _ = simulate(replace(PLAN, resident=False), COSTS)
    assert seconds >= PLAN.n * PLAN.d * PLAN.itemsize / (PLAN.workers * COSTS.read)
    assert seconds > simulate(PLAN, COSTS)[0]
