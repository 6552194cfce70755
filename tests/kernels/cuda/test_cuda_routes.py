"""Whole routes through the device's kernels, against the CPU."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lpgeom

RTOL = 1e-9


def data(n: int = 70, d: int = 6) -> Any:
    rng = np.random.default_rng(0)
    A = rng.standard_normal((n, d)) * np.where(np.arange(d) < 2, 5.0 - np.arange(d), 0.5)
    A[::20] *= 20.0
    return A


def agree(found: Any, expected: Any) -> None:
    assert found.backend == "cuda"
    assert found.cost == pytest.approx(expected.cost, rel=RTOL)
    assert found.lower_bound == pytest.approx(expected.lower_bound, rel=RTOL)
    P, Q = found.basis @ found.basis.T, expected.basis @ expected.basis.T
    np.testing.assert_allclose(P, Q, atol=RTOL)


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0])
def test_approx_subspace(backend: Any, p: float) -> None:
    A = data()
    expected = lpgeom.approx_subspace(A, 2, p, method="irls", tol=1e-8)
    found = lpgeom.approx_subspace(
        backend.put(A), 2, p, method="irls", tol=1e-8, backend="cuda"
    )  # fmt: skip
    agree(found, expected)
    assert found.certificate is not None
    found.certificate.verify(A)


def test_row_weights_and_float32(backend: Any) -> None:
    A = data().astype(np.float32)
    omega = np.random.default_rng(1).random(len(A))
    options: Any = {"row_weights": omega, "method": "lewis"}
    expected = lpgeom.approx_subspace(A, 2, 1.0, **options)
    agree(lpgeom.approx_subspace(backend.put(A), 2, 1.0, backend="cuda", **options), expected)


def test_streamed(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that do not fit are sent block by block, in every pass."""
    from lpgeom.rows import device

    A = data(200, 6)
    fixed = 8 * (device.VECTORS * 200 + device.MATRICES * 36)
    monkeypatch.setattr(device, "free_bytes", lambda: fixed + 5 * 6 * 8 * 40)
    assert not device.layout(200, 6, 8, device.free_bytes(), there=False).resident
    expected = lpgeom.approx_subspace(A, 2, 1.0, method="svd", certify=False)
    found = lpgeom.approx_subspace(A, 2, 1.0, method="svd", certify=False, backend="cuda")
    assert found.cost == pytest.approx(expected.cost, rel=RTOL)


def test_lewis_weights(backend: Any) -> None:
    A = data()
    expected = lpgeom.lewis_weights(A, 1.0)
    found = lpgeom.lewis_weights(backend.put(A), 1.0, backend="cuda")
    np.testing.assert_allclose(found.weights, expected.weights, rtol=RTOL)


def test_coreset(backend: Any) -> None:
    A = data()
    expected = lpgeom.coreset(A, size=20)
    found = lpgeom.coreset(backend.put(A), size=20, backend="cuda")
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_allclose(found.weights, expected.weights, rtol=RTOL)


def test_certify_tight(backend: Any) -> None:
    A = data(40, 4)
    V = np.linalg.svd(A, full_matrices=False)[2][:1].T
    expected = lpgeom.certify(A, V, 1.0, "tight")
    found = lpgeom.certify(backend.put(A), V, 1.0, "tight", backend="cuda")
    assert found.lower_bound == pytest.approx(expected.lower_bound, rel=RTOL)
    found.verify(A)


@pytest.fixture
def no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Descents only: hundreds of passes less, which the simulator is slow at."""
    from lpgeom.subspace import solve

    monkeypatch.setattr(solve, "affordable", lambda n, d: 0)


def benchmark(*options: str) -> dict[str, Any]:
    from benchmarks import gpu

    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json")
    gpu.add_arguments(parser)
    return gpu.run(parser.parse_args(["--repeats", "1", "--size", "40x4", "--quick", *options]))


@pytest.mark.usefixtures("no_search")
def test_the_benchmark_runs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The harness checks every pass and times every way; in the simulator on tiny input."""
    kept = tmp_path / "gpu.json"
    body = benchmark("--json", str(kept))
    assert body["complete"]
    assert all(check["error"] <= check["allowed"] for check in body["checks"])
    assert {way["way"] for way in body["routes"]} >= {"lpgeom, device array", "lpgeom, CPU"}
    assert all(way["error"] is None for way in body["routes"])
    (parts,) = body["parts"]
    assert parts["calls"]["pass: weighted_gram"] > 0
    assert 0.0 < sum(parts["seconds"].values()) <= parts["whole_seconds"]
    assert "of roofline" in capsys.readouterr().out
    # Written after every part: all is there but what the caller adds at the end.
    written = json.loads(kept.read_text())
    assert len(written["passes"]) == len(body["passes"])
    assert not written["complete"]


@pytest.mark.usefixtures("no_search")
def test_a_benchmark_out_of_time_says_what_it_left_out(tmp_path: Path) -> None:
    kept = tmp_path / "gpu.json"
    body = benchmark("--json", str(kept), "--budget", "0")
    assert not body["complete"]
    assert "lpgeom, device array, 40 x 4" in body["left_out"]
    assert body["routes"] == []
    assert json.loads(kept.read_text())["checks"] == body["checks"]
