"""The lp-SVD: ``A = U D V^T`` with D and V from an ellipsoid around ``{x : ||A x||_p <= 1}``."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lpgeom.geometry.ellipsoids.dense import open_dense
from lpgeom.geometry.ellipsoids.loewner import METHODS, around_rows
from lpgeom.geometry.spectrum import EPS
from lpgeom.io import validation
from lpgeom.records.base import plain
from lpgeom.rows import device
from lpgeom.rows.base import Array
from lpgeom.threads import limited, sized

_TOL = 1e-6


@dataclass(frozen=True, eq=False)
class LpSVD:
    """``A = U diag(D) V^T`` with ``||D V^T x|| <= ||A x||_p <= alpha ||D V^T x||`` for every x.

    Attributes
    ----------
    U : ndarray, shape (n, r), float64
        ``A V D^-1``; its columns are not orthogonal for p != 2. ``||c|| <= ||U c||_p <= alpha
        ||c||`` for every c: the columns are as good as orthonormal in l_p, up to alpha.
    D : ndarray, shape (r,), float64
        Positive, descending, in units of A; r is the rank of A.
    V : ndarray, shape (d, r), float64
        Orthonormal columns.
    alpha : float
        Proved, >= 1.
    p : float
    method : str
        Of the ellipsoid.

    Examples
    --------
    >>> import numpy as np, lpgeom
    >>> A = np.random.default_rng(0).standard_normal((60, 4))
    >>> f = lpgeom.lp_svd(A, p=1.0)
    >>> bool(np.allclose(f.U * f.D @ f.V.T, A)), round(f.alpha, 3)
    (True, 2.0)
    >>> left, right = f.truncate(2)
    >>> left.shape, right.shape
    ((60, 2), (2, 4))
    """

    U: Array = field(repr=False)
    D: Array = field(repr=False)
    V: Array = field(repr=False)
    alpha: float
    p: float
    method: str

    @property
    def rank(self) -> int:
        """r, the rank of A."""
        return self.D.size

    def truncate(self, k: int) -> tuple[Array, Array]:
        """Factors (n, k) and (k, d) of ``A_k = U D_k V^T = A V_k V_k^T``, the k largest D kept.

        ``||A x - A_k x||_p <= alpha ||x|| D_(k+1)`` (D_(r+1) = 0), against ``||A x - B x||_p >=
        D_(k+1)`` for some unit x, whatever B of rank k: in the norm from l_2 to l_p this is
        within alpha of the best.

        Raises
        ------
        ValueError
            k outside [1, rank].
        """
        k = validation.check_positive_int("k", k)
        if k > self.rank:
            raise ValueError(f"k must be at most the rank, {self.rank}; got {k}")
        return self.U[:, :k] * self.D[:k], self.V[:, :k].T.copy()

    def summary(self) -> str:
        """A few lines of text."""
        n, d = self.U.shape[0], self.V.shape[0]
        span = f"{self.D[0]:.6g} to {self.D[-1]:.6g}" if self.rank else "none"
        return "\n".join(
            (
                f"lp-SVD of {n} x {d} rows, p = {self.p:g}, rank {self.rank}",
                f"  D            {span}",
                f"  alpha        {self.alpha:.6g}  (proved; {self.method} ellipsoid)",
            )
        )

    def __repr__(self) -> str:
        return (
            f"LpSVD(shape=({self.U.shape[0]}, {self.V.shape[0]}), rank={self.rank}, p={self.p:g}, "
            f"alpha={self.alpha:.6g}, method={self.method!r})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings, ready for JSON (U and V left out); inf is "inf"."""
        shape = [self.U.shape[0], self.V.shape[0]]
        return {"shape": shape} | plain(self, ("rank", "p", "alpha", "method", "D"))


def lp_svd(
    A: ArrayLike,
    p: float,
    method: str = "lewis",
    *,
    row_weights: ArrayLike | None = None,
    backend: str = "auto",
) -> LpSVD:
    """Factor A by an ellipsoid close to its l_p ball, as the SVD does by the l_2 ball.

    ``loewner_ellipsoid`` finds a shape with ``sqrt(x^T shape x) <= ||A x||_p <= alpha sqrt(x^T
    shape x)``; with ``shape = V D^2 V^T`` and ``U = A V D^-1`` that is the statement of `LpSVD`.
    For p = 2 it is the SVD (alpha = 1).

    Parameters
    ----------
    A : array_like, shape (n, d)
        Real, any rank.
    p : float
        1 <= p <= 100, or inf.
    method : {"lewis", "shallow-cut", "john"}
        Of ``loewner_ellipsoid``. "lewis": alpha = ``rank^|1/p - 1/2|``.
    row_weights : array_like, shape (n,), optional
        omega >= 0; row i enters the norm as ``omega_i^(1/p) a_i`` (p = inf: where omega_i > 0),
        that is ``||A x||_p^p = sum omega_i |a_i^T x|^p``. U is of A itself.
    backend : {"auto", "cpu", "cuda"}
        As in `loewner_ellipsoid`; U comes to the host block by block.

    Returns
    -------
    LpSVD
        ``A = U diag(D) V^T`` to rounding; where row weights vanish, U is only what A V D^-1 makes
        of those rows, and A's part outside the span of the others is lost.

    Raises
    ------
    TypeError, ValueError, OverflowError, ImportError, RuntimeError, MemoryError
        As ``loewner_ellipsoid``.

    Notes
    -----
    The ellipsoid, and O(n d r) for U. Source: Tukan, Maalouf, Weksler, Feldman, "No Fine-Tuning, No
    Cry: Robust SVD for Compressing Deep Networks", Sensors 2021, who take the ellipsoid from
    shallow cuts.

    Examples
    --------
    >>> import numpy as np, lpgeom
    >>> A = np.diag([3.0, 2.0, 1.0])
    >>> f = lpgeom.lp_svd(A, p=1.0)
    >>> f.D.round(6).tolist(), round(f.alpha, 6)
    ([3.0, 2.0, 1.0], 1.732051)
    """
    validation.check_choice("method", method, tuple(METHODS))
    with limited():
        problem = open_dense(A, p, row_weights, backend)
        E = around_rows(problem, method, _TOL, None)
    n, d = problem.rows.shape
    place = problem.rows.place
    with limited(), sized(n, d), device.algebra(problem.rows):
        _, D, Vt = np.linalg.svd(np.asarray(E.root), full_matrices=False)
        D = D[: E.rank]
        V = np.ascontiguousarray(Vt[: E.rank].T)
        U = np.empty((n, E.rank))
        # A and D scaled alike: entries may be near the ends of the range of float64.
        factor, X = place.xp.asarray(1.0 / (D * problem.scale)), place.xp.asarray(V)
        step = place.block_rows(d)
        for lo in range(0, n, step):
            block = place.xp.asarray(problem.A[lo : lo + step], dtype=np.float64) * problem.scale
            U[lo : lo + step] = place.host((block @ X) * factor)
        # The computed D V^T is off by some d eps D_1, at least D_r in any direction.
        slack = 8.0 * d * EPS * float(D[0] / D[-1]) if D.size else 0.0
    if slack >= 0.5 or E.rank < len(np.asarray(E.root)):
        return LpSVD(U, D, V, math.inf, problem.p, method)
    return LpSVD(
        U * (1.0 + slack), D / (1.0 + slack), V, E.alpha * (1.0 + slack) ** 2, problem.p, method
    )
