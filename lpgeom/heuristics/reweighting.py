"""Majorise and minimise by reweighted eigenvectors, for objectives concave in t = y^2."""

from __future__ import annotations

from collections.abc import Callable

from lpgeom.geometry.spectrum import eigen
from lpgeom.geometry.subspaces import Frame
from lpgeom.heuristics.base import Found, Task
from lpgeom.rows.base import Array


def reweighted(
    task: Task,
    start: Frame,
    weight: Callable[[Array], Array],
    objective: Callable[[Array], float],
) -> Found:
    """Minimise ``objective(t) = sum_i phi(t_i)`` over subspaces, t the squared residuals.

    phi is concave and increasing, `weight` proportional to phi'. Each step takes the k leading
    eigenvectors of ``sum_i weight(t_i) a_i a_i^T``, which minimise the tangent majoriser, so the
    objective never rises. One fused pass a step, O(n d (2 d - k)), and O(d^3).
    """

    def rule(t: Array, lo: int, hi: int) -> Array:
        return weight(t)

    frame = start
    t, G = task.rows.reweighted_gram(frame.W, rule)
    value = objective(t)
    history = [value]
    converged = value == 0.0
    n_iter = 0
    while not converged and n_iter < task.max_iter:
        trial = Frame.leading(eigen(G)[1], task.k)
        t, G = task.rows.reweighted_gram(trial.W, rule)
        n_iter += 1
        fall = value - objective(t)
        if fall < 0.0:  # by rounding
            converged = True
            break
        frame, value = trial, value - fall
        history.append(value)
        converged = fall <= task.tol * value
    return Found(frame.V, n_iter, converged, history=tuple(history))
