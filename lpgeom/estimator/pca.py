"""``LpPCA``: principal components in an l_p norm, certified, as a scikit-learn transformer."""

from __future__ import annotations

import math
import numbers
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from lpgeom.affine.joint import power_of_two
from lpgeom.affine.lift import lifted
from lpgeom.affine.result import AffineResult
from lpgeom.affine.robust.distances import OutlierMap, outlier_map
from lpgeom.estimator.attributes import attributes
from lpgeom.estimator.missing import completed, fit_missing
from lpgeom.estimator.parameters import check_components, check_parameters, sample_weights
from lpgeom.estimator.stream import Stream
from lpgeom.io import validation
from lpgeom.records.subspace import Certificate
from lpgeom.rows.base import Array

DTYPES = (np.float64, np.float32)


# The types of scikit-learn's classes are not followed.
class LpPCA(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Principal component analysis in an l_p norm, with a proof of how good it is.

    Minimises ``sum_i omega_i dist(x_i, c + span V)^p`` over affine subspaces of dimension
    `n_components`: at p = 1 a sum of distances, which rows far away pull less than in PCA; at
    p = 2 this is PCA. Fitted attributes say what any other affine subspace could reach.

    Parameters
    ----------
    n_components : int, float, {"auto", "profile", "broken-stick"} or None
        An int: that many, at most ``min(n_samples, n_features)``. A float in (0, 1): the smallest k
        for which the subspace found costs at most ``(1 - n_components) * total_cost_``, and the one
        found for k - 1 more. "auto": as many as stand out from shuffled columns (parallel
        analysis), and at least 1; "profile", "broken-stick": by the profile likelihood of the
        scree, or a stick broken at random (docs/scikit-learn.md has what they find). None:
        ``min(n_distinct, n_features)``, where `n_distinct` counts different rows of positive
        weight.
    p : float
        1 <= p <= 100.
    center : {"median", "mean", None}
        "median": the centre is part of the problem. "mean": the weighted mean. None: no centring;
        subspaces then go through the origin, and all bounds are about those.
    refine : bool
        Only for center="median". If False, the centre is the point of least l_p cost to all rows
        (p = 1: their geometric median), whatever the subspace.
    certify : bool or "tight"
        False: no bounds, less time. "tight": bounds that hold with probability 1 - 1e-9.
    method : {"auto", "irls", "lewis", "svd"}
        The same as in `approx_subspace`.
    support_fraction : float, "auto" or None
        None: all rows count. A share in [0.5, 1]: a subspace that stands when the rest of the rows
        lie anywhere, in far clusters, too; rows that lie too far off it do not count, and costs and
        bounds are those of the others, `support_`. "auto": such a one (0.5) where it differs from
        that of all rows, which counts them all, by more than a tenth of the others' cost. See
        docs/outliers.md.
    whiten : bool
        Whether `transform` divides each column of scores by its `score_scales_`.
    missing : {"raise", "ignore"}
        "ignore": NaN is a missing entry, for all methods but `partial_fit`. A row costs its least
        distance over all that may stand there; bounds are those of the rows that miss nothing.
    coreset_size : int
        Rows kept by `partial_fit`; never fewer than ``2 * (n_components + 1)``, of which an affine
        subspace always holds half.
    random_state : int, RandomState or None
        For the search, the samples, the bounds of "tight", and shuffles.

    Attributes
    ----------
    components_ : ndarray, shape (n_components_, n_features), float64
        Orthonormal rows: the axes of the l_p scatter
        ``sum_i omega_i ||x_i - c||^(p-2) (x_i - c)(x_i - c)^T`` within the subspace, the largest
        first; entries of largest size are positive.
    mean_ : ndarray, shape (n_features,), float64
        The centre c; zeros where `center` is None.
    n_components_ : int
    n_supported_ : int
        How many the rule of "auto", "profile" or "broken-stick" found: 0 where nothing stands out
        from noise, and one component is kept all the same. Otherwise `n_components_`.
    cost_ : float
        ``sum_i omega_i dist(x_i, c + span V)^p``.
    lower_bound_ : float
        Proved: no affine subspace of that dimension costs less, whatever its centre (no linear one,
        where `center` is None). 0 if certify=False.
    certified_ratio_ : float
        ``(cost_ / lower_bound_)^(1/p) >= 1``; inf if certify=False.
    linear_ratio_ : float
        The same against the subspaces through `mean_` alone.
    centre_ratio_ : float
        The same against this very subspace moved to any other centre.
    certified_for_ : str
        The rows that costs, bounds and ratios are about: all of them, or those of `coreset_`.
    support_ : ndarray, shape (n_samples,), bool
        The rows that costs, bounds and ratios are about: with `support_fraction` those kept, else
        all of positive weight. After `partial_fit` of `coreset_.rows`.
    guarantee_ : float
        A-priori ratio against all affine subspaces, known without a bound; inf with refine=False.
    pca_cost_ : float
        What PCA's subspace of that dimension costs (p = 2, the mean; or the SVD's, without centre).
    total_cost_ : float
        What the centre alone costs: the least over all points (center="median"), or for the mean,
        or the origin.
    explained_cost_ : float
        ``1 - cost_ / total_cost_``.
    explained_cost_ratio_ : ndarray, shape (n_components_,)
        Share of the cost around `mean_` that an axis takes away after those before it. At p = 2
        this is PCA's explained_variance_ratio_.
    score_norms_ : ndarray, shape (n_components_,)
        l_p norms of the columns of scores, ``(sum_i omega_i |z_ij|^p)^(1/p)``; at p = 2 PCA's
        singular_values_.
    score_scales_ : ndarray, shape (n_components_,)
        Their p-th means ``(sum_i omega_i |z_ij|^p / sum_i omega_i)^(1/p)``, at p = 2 standard
        deviations (PCA's with n in place of n - 1); 1 where all scores are 0.
    certificate_, linear_certificate_ : Certificate or None
        What proves the two ratios. The first speaks of ``certified_rows(X)``, the second of
        ``X - mean_``; None where n_components_ = n_features, and if certify=False.
    result_ : AffineResult
        All of it, with how it was found.
    n_features_in_, feature_names_in_, n_samples_seen_
        As everywhere in scikit-learn.
    coreset_ : Coreset
        Only after `partial_fit`: the rows that costs and bounds are about.
    data_ratio_ : float
        Only after `partial_fit`: a ratio for all rows seen, which holds with probability
        ``1 - coreset_.provenance.failure_probability``; inf where the coreset proves none.

    Notes
    -----
    `fit` works on distinct rows in an order of its own: with the same random_state, repeated rows
    and weights, and rows in any order, give the same subspace. (With "auto" rows are shuffled, and
    a repeated row is not the same as a weight.) Theory: docs/theory/affine.md.

    Examples
    --------
    >>> import numpy as np, lpgeom
    >>> rng = np.random.default_rng(0)
    >>> X = 5.0 + rng.standard_normal((300, 2)) @ rng.standard_normal((2, 6))
    >>> X[:30] = 40.0 + 10.0 * rng.standard_normal((30, 6))
    >>> pca = lpgeom.LpPCA(n_components=2, random_state=0).fit(X)
    >>> cheaper = pca.cost_ < pca.pca_cost_
    >>> pca.transform(X).shape, cheaper, pca.certified_ratio_ < 1.1
    ((300, 2), True, True)
    >>> pca.certificate_.verify(pca.certified_rows(X))
    """

    components_: Array
    mean_: Array
    n_components_: int
    n_supported_: int
    cost_: float
    lower_bound_: float
    certified_ratio_: float
    linear_ratio_: float
    centre_ratio_: float
    certified_for_: str
    support_: NDArray[np.bool_]
    guarantee_: float
    pca_cost_: float
    total_cost_: float
    explained_cost_: float
    explained_cost_ratio_: Array
    score_norms_: Array
    score_scales_: Array
    certificate_: Certificate | None
    linear_certificate_: Certificate | None
    result_: AffineResult
    _stream: Stream

    def __init__(
        self,
        n_components: int | float | str | None = None,
        *,
        p: float = 1.0,
        center: str | None = "median",
        refine: bool = True,
        certify: bool | str = True,
        method: str = "auto",
        support_fraction: float | str | None = None,
        whiten: bool = False,
        missing: str = "raise",
        coreset_size: int = 1000,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.p = p
        self.center = center
        self.refine = refine
        self.certify = certify
        self.method = method
        self.support_fraction = support_fraction
        self.whiten = whiten
        self.missing = missing
        self.coreset_size = coreset_size
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> LpPCA:
        """Fit to the rows of X.

        Parameters
        ----------
        X : array-like, shape (n_samples, n_features)
        y : ignored
        sample_weight : array-like, shape (n_samples,), optional
            omega >= 0, not all zero.

        Returns
        -------
        self
        """
        check_parameters(self)
        X = validate_data(self, X, dtype=DTYPES, ensure_all_finite=self._finite)
        omega = sample_weights(sample_weight, X)
        check_components(self.n_components, *X.shape)
        self._forget()
        if np.isnan(X).any():
            fit_missing(self, X, omega)
            return self
        self.__dict__.update(attributes(self, X, omega, self._seed()))
        self.n_samples_seen_ = X.shape[0]
        self.certified_for_ = f"all {X.shape[0]} rows"
        if self.result_.support is not None:
            self.certified_for_ = f"the {self.support_.sum()} rows of support_, of {len(X)}"
        return self

    @property
    def _finite(self) -> bool | str:
        """What scikit-learn's checks let in."""
        return "allow-nan" if self.missing == "ignore" else True

    def _rows(self, X: Any) -> Array:
        """Rows for a fitted subspace, completed from it."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=DTYPES, reset=False, ensure_all_finite=self._finite)
        return completed(X, self.mean_, self.components_) if self.missing == "ignore" else X

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> LpPCA:
        """Take in more rows, and fit to a coreset of all rows seen.

        Rows are kept in a `StreamingCoreset` (of the lifted rows, so that it serves every affine
        subspace). Up to `coreset_size` rows nothing is lost, and a fit is that of all rows. Beyond,
        costs and bounds are those of the coreset's weighted rows, `coreset_`; see `data_ratio_`.
        Until there are n_components rows they are kept, and nothing is fitted.

        Parameters
        ----------
        X : array-like, shape (n_samples, n_features)
        y : ignored
        sample_weight : array-like, shape (n_samples,), optional

        Returns
        -------
        self

        Warns
        -----
        RuntimeWarning
            If the rows kept all lie in the subspace, so that they say nothing of what it costs the
            other rows: `cost_` is NaN and the ratios are inf then.
        """
        check_parameters(self)
        stream: Stream | None = getattr(self, "_stream", None)
        X = validate_data(self, X, dtype=DTYPES, reset=stream is None)
        omega = sample_weights(sample_weight, X)
        check_components(self.n_components, X.shape[1], X.shape[1])
        k = int(self.n_components) if isinstance(self.n_components, numbers.Integral) else None
        if stream is None:
            least = 1 if isinstance(self.n_components, float | str) else k
            stream = Stream.started(
                X, omega, self.p, self.coreset_size, self.center, self._seed(), least
            )
        elif stream.settings != (self.p, self.coreset_size, self.center):
            raise ValueError(
                "p, coreset_size and center cannot change between calls of partial_fit; call fit, "
                "or partial_fit on a clone"
            )
        stream = stream.extended(X, omega)
        if k is not None and stream.n_rows < k:
            self.__dict__.pop("result_", None)
            self._stream = stream
            return self
        coreset = stream.coreset()
        mean = stream.mean if self.center == "mean" and self.support_fraction is None else None
        self.__dict__.update(attributes(self, coreset.rows, coreset.weights, stream.seed, mean))
        self._stream = stream
        self.coreset_ = coreset
        self.n_samples_seen_ = stream.n_rows
        eps = coreset.provenance.eps
        spread = ((1.0 + eps) / (1.0 - eps)) ** (1.0 / self.p) if eps < 1.0 else math.inf
        self.certified_for_ = stream.held(coreset)
        if eps > 0.0 and self.cost_ == 0.0 and self.n_components_ < X.shape[1]:
            self.cost_ = self.explained_cost_ = math.nan
            self.certified_ratio_ = self.linear_ratio_ = self.centre_ratio_ = math.inf
            self.guarantee_ = math.inf
            warnings.warn(
                f"{self.certified_for_} all lie in the subspace, and do not say what it costs the "
                f"others: choose a coreset_size above {self.coreset_size}",
                RuntimeWarning,
                stacklevel=2,
            )
        self.data_ratio_ = self.certified_ratio_ * spread
        if self.result_.support is not None:
            self.certified_for_ = f"the {self.support_.sum()} rows of support_, of the coreset_"
            self.data_ratio_ = math.inf
        return self

    def transform(self, X: Any) -> Any:
        """Scores ``(X - mean_) @ components_.T``, shape (n_samples, n_components_).

        With `whiten` in units of `score_scales_`. float32 for a float32 X, computed in float64.
        """
        X = self._rows(X)
        scores = (np.asarray(X, dtype=np.float64) - self.mean_) @ self.components_.T
        if self.whiten:
            scores /= self.score_scales_
        return scores.astype(X.dtype, copy=False)

    def inverse_transform(self, X: Any) -> Any:
        """Points of the subspace with the scores X: ``X @ components_ + mean_``.

        A dataframe (pandas, polars) of scores gives one of points, with the names of the columns
        that were fitted, and the index.
        """
        check_is_fitted(self)
        given, X = X, validation.check_matrix(X, "X")
        if X.shape[1] != self.n_components_:
            raise ValueError(
                f"X has {X.shape[1]} columns; this {type(self).__name__} has "
                f"{self.n_components_} components"
            )
        scores = np.asarray(X, dtype=np.float64)
        if self.whiten:
            scores = scores * self.score_scales_
        points = scores @ self.components_ + self.mean_
        points = points.astype(X.dtype if X.dtype == np.float32 else np.float64, copy=False)
        library = type(given).__module__.split(".")[0]
        if library not in ("pandas", "polars"):
            return points
        numbers = (f"x{j}" for j in range(self.n_features_in_))
        names = list(getattr(self, "feature_names_in_", numbers))
        if library == "polars":
            return type(given)(points, schema=names)
        return type(given)(points, index=given.index, columns=names)

    def score_samples(self, X: Any) -> Any:
        """``-dist(x_i, subspace)^p`` of each row: smaller for rows farther off. (n_samples,)"""
        X = self._rows(X)
        B = np.asarray(X, dtype=np.float64) - self.mean_
        unit = power_of_two(B) or 1.0
        B /= unit
        B -= (B @ self.components_.T) @ self.components_
        with np.errstate(over="ignore"):
            return -((np.sqrt(np.einsum("ij,ij->i", B, B)) * unit) ** self.p)

    def outlier_map(self, X: Any, **options: Any) -> OutlierMap:
        """Both distances of the rows that it was fitted to, their cut-offs and kinds.

        `lpgeom.outlier_map`, which has the options; `lpgeom.plots.outlier_map` draws it.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=DTYPES, reset=False)
        return outlier_map(X, self.result_, **options)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Weighted mean of `score_samples`; 0 at best. More components never score worse."""
        samples = self.score_samples(X)
        weights = None if sample_weight is None else sample_weights(sample_weight, samples)
        return float(np.average(samples, weights=weights))

    def certified_rows(self, X: Any) -> Array:
        """The rows `certificate_` speaks of: ``(x_i - mean_, lift)``, or X without centring.

        ``certificate_.verify(certified_rows(X))`` checks cost and bounds with independent code.
        After `partial_fit` X is ``coreset_.rows``.
        """
        rows = np.asarray(self._rows(X), dtype=np.float64)
        return rows if self.result_.linear else lifted(rows, self.mean_, self.result_.lift)

    def verify(self, X: Any, *, rtol: float = 1e-9) -> None:
        """Recompute cost, bounds and ratios from X with independent NumPy code.

        Parameters
        ----------
        X : array-like, shape (n_samples, n_features)
            What `fit` was given; after `partial_fit` ``coreset_.rows``. Weights are known.
        rtol : float
            The same as in `Certificate.verify`.

        Raises
        ------
        CertificateError
            What `AffineResult.verify` raises: X is not what this was fitted to, something does not
            hold, or there is no certificate.
        """
        check_is_fitted(self)
        self.result_.verify(self._rows(X), rtol=rtol)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "result_")

    @property
    def _n_features_out(self) -> int:
        return int(self.components_.shape[0])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.input_tags.allow_nan = self.missing == "ignore"
        return tags

    def _seed(self) -> int:
        return int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))

    def _forget(self) -> None:
        """No trace of earlier calls of partial_fit."""
        for name in ("_stream", "coreset_", "data_ratio_"):
            self.__dict__.pop(name, None)
