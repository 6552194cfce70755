"""The SVD without centring."""

from __future__ import annotations

from lpgeom.geometry.grassmann import Frame
from lpgeom.geometry.spectrum import principal
from lpgeom.heuristics.base import BasisFound, RowsTask, heuristic


@heuristic()
def svd(task: RowsTask) -> BasisFound:
    """The k leading right singular vectors: minimises ``sum_i ||a_i - a_i V V^T||^2``.

    Exact for p = 2 (Eckart and Young 1936), and what most pipelines use for any p. One Gram and
    one eigendecomposition, O(n d^2 + d^3); by QR of the rows where squaring them would lose
    digits. No option changes the answer.

    Parameters
    ----------
    A : array_like, shape (n, d)
        Rows are points; read in blocks.
    k : int
        1 <= k <= d - 1.
    p, seed, max_iter, tol
        Checked, not used.

    Returns
    -------
    HeuristicResult

    Raises
    ------
    TypeError, ValueError
        Input that is not a finite real matrix, k or p out of range.

    Examples
    --------
    >>> from lpgeom.heuristics import svd
    >>> svd([[3.0, 0.0], [0.0, 1.0]], 1).V.round(12).ravel().tolist()
    [1.0, 0.0]
    """
    return BasisFound(Frame.leading(principal(task.rows, task.k, 2.0).U, task.k).V)
