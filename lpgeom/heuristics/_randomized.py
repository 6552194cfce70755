"""Randomised SVD, by scikit-learn."""

from __future__ import annotations

import numpy as np

from lpgeom.geometry.grassmann import widened
from lpgeom.heuristics.base import BasisFound, RowsTask, heuristic

POWER_STEPS = 4


@heuristic(steps=POWER_STEPS)
def randomized_svd(task: RowsTask) -> BasisFound:
    """The SVD's subspace by random projection: ``sum_i y_i^2``, nearly minimised.

    Source: Halko, Martinsson, Tropp, "Finding structure with randomness", SIAM Review 53, 2011, as
    scikit-learn's ``sklearn.utils.extmath.randomized_svd`` has it: k + 10 random directions, power
    steps with LU between, and a small SVD. Cheaper than a Gram where k is small beside d.

    2 q + 2 passes of O(n d k), q power steps, over a float64 copy of A.

    Parameters
    ----------
    A : array_like, shape (n, d)
        Rows are points. Copied.
    k : int
        1 <= k <= d - 1.
    p, tol
        Checked, not used.
    seed : int
        Decides the random directions.
    max_iter : int, optional
        Power steps: 4 if not given.

    Returns
    -------
    HeuristicResult

    Raises
    ------
    TypeError, ValueError
        Input that is not a finite real matrix, k or p out of range.
    ImportError
        Without scikit-learn.

    Examples
    --------
    >>> from lpgeom.heuristics import randomized_svd
    >>> V = randomized_svd([[3.0, 0.0], [0.0, 1.0]], 1).V
    >>> abs(V).round(6).ravel().tolist()
    [1.0, 0.0]
    """
    try:
        from sklearn.utils.extmath import randomized_svd as sketched
    except ImportError as error:
        raise ImportError(
            "randomized_svd needs scikit-learn: pip install 'lpgeom[compare]'"
        ) from error

    state = int(np.random.default_rng(task.seed).integers(2**32))
    A = task.dense()
    Vt = sketched(A, task.k, n_iter=task.max_iter, random_state=state)[2]
    task.swept += 2.0 * task.max_iter + 2.0
    # Orthonormal to rounding; in as few columns as A has rows or columns.
    V = np.linalg.qr(np.asarray(Vt, dtype=np.float64).T)[0]
    return BasisFound(widened(V, task.k), n_iter=task.max_iter)
