"""Top eigenvalue of a positive semidefinite operator on symmetric matrices, from above.

Lanczos underestimates. After q steps from a start that is uniform on the sphere of a
D-dimensional space, the top eigenvalue is at most ``estimate / (1 - e)`` except with probability
at most ``1.648 sqrt(D) exp(-sqrt(e) (2 q - 1))`` (Kuczynski and Wozniakowski, SIAM J. Matrix
Anal. Appl. 13, 1992, theorem 4.2).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
from scipy.linalg import eigh_tridiagonal

from lpgeom.rows.base import Array


def uniform_start(d: int, stream: int | list[int]) -> Array:
    """A symmetric (d, d) matrix, uniform on the unit sphere of the Frobenius norm.

    The theorem needs it independent of the operator: `stream` must seed nothing else.
    """
    G = np.random.default_rng(stream).standard_normal((d, d))
    # (G + G^T) / 2 is the projection of an isotropic Gaussian on the symmetric matrices.
    Z: Array = 0.5 * (G + G.T)
    return Z / np.linalg.norm(Z)


def top_ritz_value(
    operator: Callable[[Array], Array], start: Array, steps: int, bar: Iterable[int] | None = None
) -> float:
    """Largest Ritz value after `steps` products, with full reorthogonalisation."""
    basis = [start.ravel()]
    diagonal: list[float] = []
    off: list[float] = []
    for _ in range(steps) if bar is None else bar:
        w = operator(basis[-1].reshape(start.shape)).ravel()
        diagonal.append(float(w @ basis[-1]))
        for _twice in range(2):
            for z in basis:
                w = w - (w @ z) * z
        norm = float(np.linalg.norm(w))
        if norm <= 1e-12 * max(abs(diagonal[0]), 1e-300):
            break  # an invariant subspace: the Ritz values are eigenvalues
        off.append(norm)
        basis.append(w / norm)
    size = len(diagonal)
    values = eigh_tridiagonal(np.array(diagonal), np.array(off[: size - 1]), eigvals_only=True)
    return float(values[-1])


def loss(d: int, steps: int, failure_probability: float) -> float:
    """The e for which the failure probability after `steps` products is the one given.

    1.0 or more: too few steps to say anything.
    """
    D = d * (d + 1) / 2
    root = math.log(1.648 * math.sqrt(D) / failure_probability) / (2 * steps - 1)
    return root * root
