"""The same seed and thread count give the same bits; other thread counts agree up to rounding."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SCRIPT = """
import hashlib, json, sys
import numpy as np
import lpgeom

rng = np.random.default_rng(0)
small = rng.standard_normal((300, 12)) * 0.8 ** np.arange(12)
small[::20] = 5.0 * rng.standard_normal((15, 12))
large = rng.standard_normal((70_000, 16)) * 0.8 ** np.arange(16)
large[::40] *= 20.0
groups = np.concatenate([rng.standard_normal((150, 2)) @ rng.standard_normal((2, 10))
                         + 0.05 * rng.standard_normal((150, 10)) for _ in range(2)])


def figures(result):
    out = {"cost": result.cost, "lower_bound": result.lower_bound}
    V = getattr(result, "basis", None)
    return out if V is None else {**out, "projection": (V @ V.T).tolist()}


def ellipsoid(points):
    found = lpgeom.min_volume_ellipsoid(points)
    return {"volume": found.log_volume, "axes": np.sort(found.lengths).tolist()}


calls = {
    "approx_subspace": lambda: figures(lpgeom.approx_subspace(small, 3, 1.0)),
    "approx_subspace, p = 3": lambda: figures(lpgeom.approx_subspace(small, 3, 3.0)),
    "approx_subspace, p = inf": lambda: figures(lpgeom.approx_subspace(small, 3, np.inf)),
    "approx_subspace, large": lambda: figures(lpgeom.approx_subspace(large, 3, 1.0)),
    "approx_subspace, large, p = 3": lambda: figures(lpgeom.approx_subspace(large, 3, 3.0)),
    "lewis_weights": lambda: {"weights": lpgeom.lewis_weights(large, 1.0).weights.tolist()},
    "coreset": lambda: {
        "weights": (c := lpgeom.coreset(large, size=500, p=1.0, k=3, seed=1)).weights.tolist(),
        "indices": c.indices.tolist(),
    },
    "certify tight": lambda: {
        "bounds": sorted(
            b.value for b in lpgeom.certify(large, np.eye(16, 3), 1.0, "tight").bounds
        )
    },
    "approx_factors": lambda: figures(lpgeom.approx_factors(small, 3)),
    "approx_clusters": lambda: figures(lpgeom.approx_clusters(groups, 2, subspaces=2)),
    "approx_mixed": lambda: figures(lpgeom.approx_mixed(groups, 800, subspaces=2)),
    "min_volume_ellipsoid": lambda: ellipsoid(large),
}
print(json.dumps({name: call() for name, call in calls.items()}))
"""


def run(threads: int, tmp_path: Path) -> dict[str, Any]:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    variables = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "LPGEOM_NUM_THREADS")
    done = subprocess.run(
        [sys.executable, str(script)],
        env=os.environ | dict.fromkeys(variables, str(threads)),
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def flat(values: dict[str, Any]) -> np.ndarray:
    return np.concatenate([np.ravel(values[name]) for name in sorted(values)])


@pytest.mark.slow
def test_one_two_and_four_threads(tmp_path: Path) -> None:
    one, again, two, two_again, four = (run(n, tmp_path) for n in (1, 1, 2, 2, 4))
    assert one == again
    assert two == two_again
    for other in (two, four):
        for name in one:
            a, b = flat(one[name]), flat(other[name])
            assert a.shape == b.shape, name
            np.testing.assert_allclose(b, a, rtol=2e-4, atol=2e-4 * np.abs(a).max(), err_msg=name)
            for key in ("cost", "lower_bound", "bounds", "volume"):
                if key in one[name]:
                    np.testing.assert_allclose(other[name][key], one[name][key], 1e-5, err_msg=name)
