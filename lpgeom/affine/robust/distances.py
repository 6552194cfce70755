"""The two distances of every row from an affine subspace, and what they make of it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lpgeom.affine.joint import power_of_two
from lpgeom.affine.robust.cutoffs import LEVEL, adjusted_cutoff, orthogonal_cutoff, score_cutoff
from lpgeom.io import validation
from lpgeom.records.base import EPS
from lpgeom.rows.base import Array

KINDS = ("regular", "good leverage", "orthogonal outlier", "bad leverage")
"""Neither distance large; the score distance; the orthogonal one; both."""


@dataclass(frozen=True, eq=False)
class OutlierMap:
    """Orthogonal and score distances of rows, where each is called large, and the rows' kinds.

    Attributes
    ----------
    orthogonal : ndarray, shape (n,), float64
        Distance from the subspace, in units of the data.
    score : ndarray, shape (n,), float64
        Distance within it from the scores' robust location, in the metric of their robust scatter
        (no unit); inf for a row outside of the flat that more than half of the scores lie in.
    orthogonal_cutoff, score_cutoff : float
    flagged : ndarray, shape (n,), bool
        Rows with either distance above its cut-off.
    kinds : ndarray, shape (n,), str
        "regular", "good leverage" (far out along the subspace, close to it), "orthogonal outlier"
        (off it, not far out) or "bad leverage" (both).

    Examples
    --------
    >>> import numpy as np, lpgeom
    >>> A = np.random.default_rng(0).standard_normal((60, 4))
    >>> A *= [5.0, 3.0, 0.1, 0.1]
    >>> A[0] = [0.0, 0.0, 2.0, 0.0]
    >>> A[1] = [90.0, 0.0, 0.0, 0.0]
    >>> found = lpgeom.outlier_map(A, lpgeom.approx_affine(A, 2))
    >>> found.kinds[:2].tolist()
    ['orthogonal outlier', 'good leverage']
    """

    orthogonal: Array = field(repr=False)
    score: Array = field(repr=False)
    orthogonal_cutoff: float
    score_cutoff: float
    _slack: Array = field(repr=False)

    @property
    def _off(self) -> NDArray[np.bool_]:
        return self.orthogonal > np.maximum(self.orthogonal_cutoff, self._slack)

    @property
    def flagged(self) -> NDArray[np.bool_]:
        """Whether either distance of a row is large."""
        return self._off | (self.score > self.score_cutoff)

    @property
    def kinds(self) -> NDArray[np.str_]:
        """The kind of every row."""
        return np.array(KINDS)[2 * self._off + (self.score > self.score_cutoff)]


def outlier_map(
    A: ArrayLike,
    result: Any,
    *,
    row_weights: ArrayLike | None = None,
    level: float = LEVEL,
    skewed: bool = False,
    seed: int = 0,
) -> OutlierMap:
    """Both distances of every row from an affine subspace, with robust cut-offs.

    A row may be wrong and yet lie near the subspace, because it draws the subspace to itself: at p
    = 1 a few rows far out do. Their score distance shows them.

    Parameters
    ----------
    A : array_like, shape (n, d)
        The rows that it was found for.
    result : AffineResult or fitted LpPCA
        If it has a `support`, locations, scatters and cut-offs rest on the rows of that.
    row_weights : array_like, shape (n,), optional
        Rows of weight 0 decide nothing; the others count alike.
    level : float
        In (0, 1): the share of regular rows that each cut-off lets pass, were they normal.
    skewed : bool
        Cut-offs for skewed data instead: the upper end of the adjusted boxplot of each distance,
        which has no level.
    seed : int
        Of the search for the scores' scatter.

    Returns
    -------
    OutlierMap

    Raises
    ------
    ImportError
        scikit-learn is missing.
    TypeError, ValueError
        An A that is not a finite real matrix or has another number of columns; weights or a level
        out of range.

    Notes
    -----
    Location and scatter of the scores are scikit-learn's `MinCovDet` (the minimum covariance
    determinant, reweighted). Cut-offs are ``sqrt(chi2_{k, level})`` for score distances and
    ``(location + z_level scale)^(3/2)``, location and scale of the orthogonal distances to the
    power 2/3, for the others (Hubert, Rousseeuw and Vanden Branden, "ROBPCA", Technometrics 2005).
    Skewed: Hubert, Rousseeuw and Verdonck, "Robust PCA for skewed data and its outlier map", CSDA
    2009.

    Examples
    --------
    >>> import numpy as np, lpgeom
    >>> A = np.random.default_rng(0).standard_normal((60, 4))
    >>> A *= [5.0, 3.0, 0.1, 0.1]
    >>> A[:3] += [60.0, 0.0, 9.0, 0.0]
    >>> found = lpgeom.approx_affine(A, 2, support_fraction=0.5)
    >>> lpgeom.outlier_map(A, found).kinds[:3].tolist()
    ['bad leverage', 'bad leverage', 'bad leverage']
    """
    found = getattr(result, "result_", result)
    rows = np.asarray(validation.check_matrix(A), dtype=np.float64)
    validation.largest_entries(rows)
    d, k = found.basis.shape
    if rows.shape[1] != d:
        raise ValueError(f"A has {rows.shape[1]} columns; the subspace lies in {d} dimensions")
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must be between 0 and 1, got {level!r}")
    omega = validation.check_weights(row_weights, len(rows))
    skewed = validation.check_flag("skewed", skewed)
    counts = np.ones(len(rows), dtype=bool) if omega is None else omega > 0.0
    sound = counts if found.support is None else counts & _same(found.support, len(rows))
    B = rows - found.centre
    unit = power_of_two(B) or 1.0
    B /= unit
    scores = B @ found.basis
    B -= scores @ found.basis.T
    orthogonal = np.sqrt(np.einsum("ij,ij->i", B, B)) * unit
    slack = 64.0 * d**0.5 * EPS * (np.abs(rows).max(axis=1) + np.abs(found.centre).max())
    score = _score_distances(scores, sound, validation.check_seed(seed))
    if skewed:
        limits = adjusted_cutoff(orthogonal[counts]), adjusted_cutoff(score[counts])
    else:
        limits = orthogonal_cutoff(orthogonal[counts], None, 0.5, level), score_cutoff(k, level)
    return OutlierMap(orthogonal, score, *limits, slack)


def _same(support: NDArray[np.bool_], n: int) -> NDArray[np.bool_]:
    if len(support) != n:
        raise ValueError(f"A has {n} rows; the subspace was found for {len(support)}")
    return support


def _score_distances(scores: Array, sound: NDArray[np.bool_], seed: int) -> Array:
    """Mahalanobis distances of scores from the MCD of the sound ones, (n,)."""
    try:
        from sklearn.covariance import MinCovDet
    except ImportError as error:
        raise ImportError(
            "score distances need scikit-learn: pip install 'lpgeom[sklearn]'"
        ) from error
    size = float(np.abs(scores[sound]).max(initial=0.0)) or 1.0
    inner, k = scores[sound] / size, scores.shape[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of singular scatters, which are dealt with here
        try:
            fitted = MinCovDet(random_state=seed).fit(inner) if len(inner) > 2 * k else None
        except ValueError:  # most scores are equal
            location, scatter = np.median(inner, axis=0), np.zeros((k, k))
        else:  # of too few rows no part has a scatter
            location = inner.mean(axis=0) if fitted is None else fitted.location_
            scatter = np.cov(inner.T, ddof=0) if fitted is None else fitted.covariance_
    lam, U = np.linalg.eigh(np.atleast_2d(scatter))
    Y = (scores / size - location) @ U
    tiny = 1e-12 * max(float(lam[-1]), 0.0)
    flat = lam > tiny
    out = np.sqrt(np.einsum("ij,j->i", Y[:, flat] ** 2, 1.0 / lam[flat]))
    beside = (np.abs(Y[:, ~flat]) > 1e-9).any(axis=1)
    return np.where(beside, np.inf, out)
