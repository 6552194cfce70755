"""Ellipsoids as frozen records, with no algorithm that finds them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lpgeom.geometry.ellipsoids.measure import Rounding, verify_ellipsoid
from lpgeom.records.base import EPS, Array, plain


@dataclass(frozen=True, eq=False)
class Ellipsoid:
    """The set ``{x : (x - center)^T shape (x - center) <= 1}``, and what is proved about it.

    For the l_p ball ``K = {x : ||A x||_p <= 1}`` the claim is, for every x,
    ``sqrt(x^T shape x) <= ||A x||_p <= alpha sqrt(x^T shape x)``: the ellipsoid contains K, and
    shrunk by alpha it lies in K.

    Attributes
    ----------
    shape : ndarray, shape (d, d), float64
        Symmetric, positive semidefinite; in squared units of A (inverse squared units of x).
    center : ndarray, shape (d,), float64
        Zeros for symmetric bodies.
    alpha : float
        Proved rounding factor, >= 1; inf if none was proved: then that the ball is inside is not
        proved either (A is too ill-conditioned for float64, beyond about 1e13).
    p : float or None
        Exponent of the l_p ball the ellipsoid is about; None for a general body or points.
    method : str
        ``"lewis"``, ``"shallow-cut"``, ``"john"``, ``"khachiyan"``...
    n_iter : int
    converged : bool
    gap : float or None
        Where the method bounds it: how far the volume is from optimal, in units of log-volume.
    basis : ndarray, shape (d, r), or None
        Orthonormal. The ellipsoid is flat: it lies in ``center + span(basis)``, and `shape` speaks
        of that span only. None: no such restriction.
    root : ndarray, shape (r, d), or None
        R with ``R^T R = shape`` up to rounding. Where it is there it is what the claims are about,
        and what every method here uses: `shape` itself cannot hold axes whose lengths differ by
        more than about 1e8, since its entries have their squares in them.

    Examples
    --------
    >>> import numpy as np
    >>> from lpgeom.geometry.ellipsoids.record import Ellipsoid
    >>> S = np.diag([1.0, 0.25])
    >>> E = Ellipsoid(S, np.zeros(2), 1.0, None, "by hand", 0, True)
    >>> E.lengths
    array([2., 1.])
    >>> E.contains([[0.0, 1.9], [0.0, 2.1]])
    array([ True, False])
    """

    shape: Array = field(repr=False)
    center: Array = field(repr=False)
    alpha: float
    p: float | None
    method: str
    n_iter: int
    converged: bool
    gap: float | None = None
    basis: Array | None = field(default=None, repr=False)
    root: Array | None = field(default=None, repr=False)

    @cached_property
    def _axes(self) -> tuple[Array, Array, int]:
        """Directions as columns, lengths descending, and how many are finite and positive."""
        d = self.center.shape[0]
        span = np.eye(d) if self.basis is None else self.basis
        if self.root is not None:
            _, s, Vt = np.linalg.svd(self.root @ span)
            s = np.concatenate([s, np.zeros(Vt.shape[0] - s.size)])
            U = Vt.T
            s[s <= max(self.root.shape) * EPS * s.max(initial=0.0)] = 0.0
        else:
            # A power of two near the largest entry: the products below stay in range.
            top = math.frexp(float(np.abs(self.shape).max(initial=0.0)))[1]
            scaled = self.shape * 2.0 ** -(2 * (top // 2)) if top else self.shape
            lam, U = np.linalg.eigh(span.T @ scaled @ span)
            lam[lam <= d * EPS * lam.max(initial=0.0)] = 0.0
            s = np.sqrt(lam)[::-1] * 2.0 ** (top // 2 if top else 0)
            U = U[:, ::-1]
        with np.errstate(divide="ignore"):
            lengths = np.where(s > 0.0, 1.0 / s, math.inf)[::-1]
        directions = span @ U[:, ::-1]
        rank = int(np.count_nonzero(s))
        if self.basis is not None:  # the directions in which it is flat come last
            full = np.linalg.qr(self.basis, mode="complete")[0]
            flat = full[:, self.basis.shape[1] :]
            directions = np.concatenate([directions, flat], axis=1)
            lengths = np.concatenate([lengths, np.zeros(flat.shape[1])])
        return np.ascontiguousarray(directions), lengths, rank

    @property
    def axes(self) -> Array:
        """Unit vectors along the semi-axes as columns, the longest first: (d, d), orthonormal.

        The semi-axis vectors themselves are ``axes * lengths`` where the lengths are finite.
        """
        return self._axes[0].copy()

    @property
    def lengths(self) -> Array:
        """Lengths of the semi-axes, descending: (d,).

        inf where `shape` is singular (the ellipsoid is a cylinder: the ball of a rank-deficient A
        is unbounded there), 0 in the directions outside `basis`.
        """
        return self._axes[1].copy()

    @property
    def rank(self) -> int:
        """How many semi-axes have a length that is neither 0 nor inf."""
        return self._axes[2]

    @property
    def log_volume(self) -> float:
        """Natural logarithm of the d-dimensional volume; -inf if flat, else +inf if unbounded."""
        _, lengths, rank = self._axes
        d = lengths.size
        if rank < d:
            return -math.inf if (lengths == 0.0).any() else math.inf
        unit = 0.5 * d * math.log(math.pi) - math.lgamma(0.5 * d + 1.0)
        return unit + float(np.log(lengths).sum())

    def gauge(self, x: ArrayLike) -> Array:
        """``sqrt((x - center)^T shape (x - center))``: at most 1 inside.

        Parameters
        ----------
        x : array_like, shape (..., d)

        Returns
        -------
        ndarray, shape (...), float64
            inf for points outside the span of a flat ellipsoid.
        """
        y = np.asarray(x, dtype=np.float64)
        if y.shape[-1:] != self.center.shape:
            raise ValueError(f"x has shape {y.shape}; its last axis must be {self.center.shape[0]}")
        z = y - self.center
        if self.root is not None:
            value = np.linalg.norm(z @ self.root.T, axis=-1)
        else:
            value = np.sqrt(np.maximum(np.einsum("...i,...i->...", z @ self.shape, z), 0.0))
        if self.basis is not None:
            rest = vector_lengths(z - (z @ self.basis) @ self.basis.T)
            longest = self._axes[1].max(initial=0.0)  # the basis is as exact as the whole is large
            size = vector_lengths(y) + vector_lengths(self.center) + longest
            value = np.where(rest <= 16.0 * self.center.size * EPS * size, value, math.inf)
        return np.asarray(value, dtype=np.float64)

    def contains(self, x: ArrayLike, tol: float = 0.0) -> NDArray[np.bool_]:
        """Whether ``gauge(x) <= 1 + tol``, for x of shape (..., d); shape (...)."""
        return np.asarray(self.gauge(x) <= 1.0 + tol)

    def verify(
        self,
        A: ArrayLike,
        *,
        row_weights: ArrayLike | None = None,
        seed: int = 0,
        starts: int = 32,
    ) -> Rounding:
        """Measure ``||A x||_p / sqrt(x^T shape x)`` over directions, and hold it to the claim.

        Independent of what found the ellipsoid. The extremes are searched for by monotone ascent
        and descent from many starts, see `lpgeom.geometry.ellipsoids.measure`.

        Parameters
        ----------
        A : array_like, shape (n, d)
            The data the ellipsoid is about.
        row_weights : array_like, shape (n,), optional
            The row weights it was made with.
        seed : int
            Of the random starts.
        starts : int
            How many random directions to start from, beside the axes and rows of A.

        Returns
        -------
        Rounding
            The smallest and the largest ratio found, with their directions.

        Raises
        ------
        CertificateError
            If the ellipsoid is not a proper one, or a ratio is below 1 or above alpha by more than
            rounding.
        """
        return verify_ellipsoid(self, A, row_weights=row_weights, seed=seed, starts=starts)

    def summary(self) -> str:
        """A few lines of text."""
        about = "" if self.p is None else f" of the l_p ball, p = {self.p:g}"
        lengths = self.lengths
        lines = [
            f"ellipsoid{about}, dimension {lengths.size}, rank {self.rank}",
            f"  alpha        {self.alpha:.6g}  (proved)",
            f"  semi-axes    {lengths[0]:.6g} to {lengths[-1]:.6g}",
            f"  log-volume   {self.log_volume:.6g}"
            + ("" if self.gap is None else f"  (at most {self.gap:.3g} from optimal)"),
            f"  method       {self.method}: {self.n_iter} steps"
            + ("" if self.converged else ", not converged"),
        ]
        return "\n".join(lines)

    def __repr__(self) -> str:
        p = "None" if self.p is None else f"{self.p:g}"
        return (
            f"Ellipsoid(d={self.center.size}, p={p}, alpha={self.alpha:.6g}, "
            f"method={self.method!r})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings and lists, ready for JSON; inf is the string "inf"."""

        names = (
            "method", "p", "alpha", "rank", "log_volume", "gap", "n_iter", "converged", "center",
            "shape", "basis",
        )  # fmt: skip
        return plain(self, names)


def vector_lengths(x: Array) -> Array:
    """Norms along the last axis, of vectors of any length that is a float."""
    top = np.abs(x).max(axis=-1, keepdims=True)
    unit = np.where(top > 0.0, top, 1.0)
    return np.asarray(np.linalg.norm(x / unit, axis=-1) * unit[..., 0])
