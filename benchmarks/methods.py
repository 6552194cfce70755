"""What is compared: lpgeom's whole call, and the SVDs people use, each giving a (d, k) basis."""

from __future__ import annotations

from collections.abc import Callable
from importlib import util
from typing import Any

import numpy as np
from numpy.typing import NDArray

BASE = "numpy.linalg.svd"


def lpgeom_certified(A: NDArray, k: int) -> Any:
    """approx_subspace with its fast certificate, p = 1."""
    import lpgeom

    return lpgeom.approx_subspace(A, k, 1.0)


def lpgeom_uncertified(A: NDArray, k: int) -> Any:
    """approx_subspace without lower bounds, p = 1."""
    import lpgeom

    return lpgeom.approx_subspace(A, k, 1.0, certify=False)


def numpy_svd(A: NDArray, k: int) -> NDArray:
    return np.linalg.svd(A, full_matrices=False)[2][:k].T


def scipy_gesdd(A: NDArray, k: int) -> NDArray:
    from scipy.linalg import svd

    return svd(A, full_matrices=False, lapack_driver="gesdd")[2][:k].T


def sklearn_randomized(A: NDArray, k: int) -> NDArray:
    from sklearn.utils.extmath import randomized_svd

    return randomized_svd(A, n_components=k, random_state=0)[2].T


def torch_lowrank(A: NDArray, k: int) -> NDArray:
    import torch

    torch.manual_seed(0)
    return torch.svd_lowrank(torch.from_numpy(A), q=k)[2].numpy()


def available() -> dict[str, Callable[[NDArray, int], Any]]:
    """Name -> method, for the libraries that are installed."""
    methods: dict[str, Callable[[NDArray, int], Any]] = {
        "lpgeom (certified)": lpgeom_certified,
        "lpgeom (certify=False)": lpgeom_uncertified,
        BASE: numpy_svd,
        "scipy gesdd": scipy_gesdd,
    }
    if util.find_spec("sklearn"):
        methods["sklearn randomized_svd"] = sklearn_randomized
    if util.find_spec("torch"):
        methods["torch.svd_lowrank"] = torch_lowrank
    return methods


def warm_up(method: Callable[[NDArray, int], Any], dtype: Any) -> None:
    """Import and compile everything on a small matrix, so that a timing holds only the work."""
    A = np.random.default_rng(0).standard_normal((300, 12)).astype(dtype)
    method(A, 4)


def basis_of(result: Any) -> NDArray:
    """The (d, k) basis of what a method returned."""
    return np.asarray(getattr(result, "basis", result))
