"""L1-PCA of all directions at once."""

from __future__ import annotations

import numpy as np

from lpgeom.heuristics._l1_greedy import ascend
from lpgeom.heuristics.base import BasisFound, RowsTask, heuristic, monotone
from lpgeom.rows.base import Array
from lpgeom.threads import serial_blas


@heuristic(steps=200, tol=1e-9)
def l1_pca_nongreedy(task: RowsTask) -> BasisFound:
    """Non-greedy L1-PCA: maximises ``sum_i ||V^T a_i||_1`` over orthonormal V.

    Source: Nie, Huang, Ding, Luo, Wang, "Robust principal component analysis with non-greedy
    l1-norm maximization", IJCAI 2011. From the SVD, the step takes the polar factor of ``A^T
    sign(A V)``, which maximises the sum for fixed signs: it never falls. The sum depends on the
    basis V, not on its span alone.

    Some 10 to 100 steps of one pass, O(n d k), over a float64 copy of A.

    Parameters
    ----------
    A : array_like, shape (n, d)
        Rows are points. Copied.
    k : int
        1 <= k <= d - 1.
    p, seed
        Checked, not used.
    max_iter : int, optional
        200 if not given.
    tol : float, optional
        Relative rise of the sum at which it stops; 1e-9 if not given.

    Returns
    -------
    HeuristicResult
        `history` holds the sum, and never falls.

    Raises
    ------
    TypeError, ValueError
        Input that is not a finite real matrix, k or p out of range.

    Examples
    --------
    >>> from lpgeom.heuristics import l1_pca_nongreedy
    >>> V = l1_pca_nongreedy([[3.0, 0.0], [-4.0, 0.0], [0.0, 5.0]], 1).V
    >>> abs(V).round(3).ravel().tolist()
    [0.814, 0.581]
    """
    V = task.svd_start().V
    A = task.dense()

    def at(V: Array) -> tuple[tuple[Array, Array], float]:
        sums, pull, _ = ascend(A, V, V[:, :0])
        task.swept += 1.0
        return (V, pull), float(sums.sum())

    def step(state: tuple[Array, Array]) -> tuple[tuple[Array, Array], float]:
        with serial_blas():
            X, _, Zt = np.linalg.svd(state[1], full_matrices=False)
        return at(X @ Zt)

    return monotone(task, *at(V), step, lambda state: state[0], rising=True)
