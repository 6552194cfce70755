"""How far a computed linear bound can lie above the true one: the rounding allowance.

Every linear bound of theory 3 ends as ``const + (sum of the m smallest eigenvalues of G)``, with
``G`` a sum over the rows. Three roundings enter, all proportional to

    size = sum_i (nuclear norm of row i's term of G) + sum_i |constant of row i|,

which for ``G = sum_i w_i a_i a_i^T`` is ``sum_i |w_i| ||a_i||^2``:

* *accumulation*. A sum of n terms carries a relative error of about ``sqrt(n) eps`` in the model
  of independent mean-zero roundings (Higham and Mary, SIAM J. Sci. Comput. 2019); blocked
  accumulation does better. What is needed is the error against one Q with ``0 <= Q <= I``, at
  most the nuclear norm of the error of G, hence at most this factor times `size`;
* *eigenvalues*. LAPACK's are those of G + E, the Frobenius norm of E below ``sqrt(d) eps ||G||_F``
  in practice; m of them are off by at most ``sqrt(m)`` times that, below ``d eps size``;
* *terms*. Weights, products and tangents of one row cost some tens of roundings of its term.

Hence ``allowance = 4 eps (sqrt(n) + d + 64) size``: 7e-13 of `size` at n = 30522, d = 384.
"""

from __future__ import annotations

import math

import numpy as np

from lpgeom.geometry.spectrum import eigenvalues
from lpgeom.rows.base import Array

EPS = float(np.finfo(np.float64).eps)


def allowance(n: int, d: int, size: float) -> float:
    """The rounding allowance of a linear bound over n rows in R^d whose terms total `size`."""
    return 4.0 * EPS * (math.sqrt(n) + d + 64.0) * size


def ky_fan(G: Array, m: int, n: int, size: float) -> float:
    """Sum of the m smallest eigenvalues of G, lowered by the rounding allowance.

    It is the minimum of ``<G, Q>`` over the Fantope, and so over the rank-m projections (Ky Fan).
    """
    return float(ky_fan_sums(G, n, size)[m - 1])


def ky_fan_sums(G: Array, n: int, size: float) -> Array:
    """`ky_fan` for m = 1, ..., d."""
    lam = eigenvalues(G)
    return np.asarray(np.cumsum(lam) - allowance(n, G.shape[0], size))
