"""``MadScaler``: columns about their median, in units of their median absolute deviation."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.preprocessing import RobustScaler
from sklearn.utils.validation import validate_data

NORMAL = 1.4826
"""The standard deviation of normal numbers over their median absolute deviation."""


# The types of scikit-learn's classes are not followed.
class MadScaler(RobustScaler):  # type: ignore[misc]
    """Scale every column by its median and its median absolute deviation (MAD).

    scikit-learn's `RobustScaler` with another scale: ``1.4826 * median |x - median|`` in place of
    the interquartile range, which a quarter of the rows can make as large as they like; for the
    MAD, as for the median, it takes half of them. For normal columns both are the standard
    deviation. All else is `RobustScaler`'s: NaN is ignored in `fit` and kept in `transform`,
    `inverse_transform`, and names of columns (``set_output(transform="pandas")``).

    Parameters
    ----------
    copy : bool
        False: scale in place where possible.

    Attributes
    ----------
    center_ : ndarray, shape (n_features,)
        Medians.
    scale_ : ndarray, shape (n_features,)
        ``1.4826 * MAD``; where more than half of a column's values are equal, `RobustScaler`'s
        scale (of normal numbers), which is a constant where that is 0 as well.
    n_features_in_, feature_names_in_
        As everywhere in scikit-learn.

    Notes
    -----
    O(n d) time and memory. Source: F. Hampel, "The influence curve and its role in robust
    estimation", JASA 1974.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.pipeline import make_pipeline
    >>> from lpgeom import LpPCA, MadScaler
    >>> size = np.array([1.0, 10.0, 100.0, 1000.0])
    >>> X = size * np.random.default_rng(0).standard_normal((100, 4))
    >>> X[:30] += 1e6
    >>> bool((MadScaler().fit(X).scale_ < 2.0 * size).all())
    True
    >>> make_pipeline(MadScaler(), LpPCA(2, random_state=0)).fit_transform(X).shape
    (100, 2)
    """

    def __init__(self, *, copy: bool = True) -> None:
        super().__init__(copy=copy, unit_variance=True)

    def fit(self, X: Any, y: Any = None) -> MadScaler:
        """Medians and deviations of the columns of X.

        Parameters
        ----------
        X : array-like, shape (n_samples, n_features)
        y : ignored

        Returns
        -------
        self
        """
        found: Any = super().fit(X)  # which refuses what is sparse, as it is to be centred
        X = validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan", reset=False)
        away = np.abs(X - self.center_)
        mad = NORMAL * np.nanmedian(away, axis=0)
        self.scale_ = np.where(mad > 0.0, mad, found.scale_)
        return self
