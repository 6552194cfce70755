"""An installed lpgeom, used as a user would: ``python -I smoke.py VERSION`` in an empty directory.

Knows nothing of the checkout; ends with an error at the first thing that is not so.
"""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from importlib import metadata, resources
from pathlib import Path

warnings.simplefilter("error")

import numpy as np  # noqa: E402

import lpgeom  # noqa: E402


def command(*arguments: str) -> str:
    program = Path(sys.executable).with_name("lpgeom")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise SystemExit(f"lpgeom {' '.join(arguments)}: {done.returncode}\n{done.stderr}")
    return done.stdout


def main(version: str) -> None:
    where = Path(lpgeom.__file__).resolve()
    assert where.is_relative_to(Path(sys.prefix).resolve()), f"imported from {where}"
    for name in ("py.typed", "nn/report/report.html.jinja"):
        assert resources.files("lpgeom").joinpath(name).is_file(), name
    stated = [lpgeom.__version__, metadata.version("lpgeom"), command("--version").split()[-1]]
    assert stated == [version] * 3, f"{stated}, expected {version}"
    assert not [name for name in lpgeom.__all__ if not hasattr(lpgeom, name)]

    rng = np.random.default_rng(0)
    A = rng.standard_normal((500, 3)) @ rng.standard_normal((3, 20))
    A[:25] = 20 * rng.standard_normal((25, 20))
    result = lpgeom.approx_subspace(A, k=3, p=1.0)
    assert result.basis.shape == (20, 3)
    assert 0.0 < result.lower_bound <= result.cost < result.svd_cost
    assert result.ratio < 1.001
    result.certificate.verify(A)
    try:
        result.certificate.verify(2.0 * A)
    except lpgeom.CertificateError:
        pass
    else:
        raise SystemExit("a certificate of other data was accepted")

    np.save("points.npy", A)
    line = ["approx", "points.npy", "-k", "3", "-p", "1", "--out", "result.npz", "--json"]
    assert abs(json.loads(command(*line))["cost"] - result.cost) < 1e-6 * result.cost
    command("verify", "result.npz", "points.npy")
    assert lpgeom.SubspaceResult.load("result.npz").cost > 0.0
    print(f"lpgeom {version} works on Python {sys.version.split()[0]}")


main(sys.argv[1])
