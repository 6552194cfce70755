"""Majorise and minimise by reweighted eigenvectors, for objectives concave in t = y^2."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lpgeom.geometry.grassmann import Frame
from lpgeom.geometry.spectrum import eigen
from lpgeom.heuristics.base import BasisFound, RowsTask, monotone
from lpgeom.rows.base import Array, Rule
from lpgeom.subspace.irls import floored

Objective = Callable[[Array], float]

DELTA = 1e-10
"""Distances below this share of the root mean squared norm count as this: weights stay finite."""


def reweighted(
    task: RowsTask,
    start: Frame,
    weight: Rule,
    objective: Objective,
) -> BasisFound:
    """Minimise ``objective(t) = sum_i phi(t_i)`` over subspaces, t the squared residuals.

    phi is concave and increasing, `weight` proportional to phi'. Each step takes the k leading
    eigenvectors of ``sum_i weight(t_i) a_i a_i^T``, which minimise the tangent majoriser, so the
    objective never rises. One fused pass a step, O(n d (2 d - k)), and O(d^3).
    """

    def at(frame: Frame) -> tuple[tuple[Frame, Array], float]:
        t, G = task.rows.reweighted_gram(frame.W, weight)
        return (frame, G), objective(t)

    def step(state: tuple[Frame, Array]) -> tuple[tuple[Frame, Array], float]:
        return at(Frame.leading(eigen(state[1])[1], task.k))

    return monotone(task, *at(start), step, lambda state: state[0].V)


def powers(p: float, low: float) -> tuple[Rule, Objective]:
    """Weight and objective of ``t^(p/2)``, p <= 2, continued below `low` by its tangent.

    The weight is phi' up to the factor p / 2.
    """

    def objective(t: Array) -> float:
        c = np.maximum(t, low)
        return float((c ** (p / 2.0) + (p / 2.0) * c ** (p / 2.0 - 1.0) * (t - c)).sum())

    return floored(low, p), objective


def mean_square(task: RowsTask) -> float:
    """Mean squared norm of the rows that are not zero."""
    norms = task.rows.squared_norms()
    return float(norms.sum()) / max(1, int(np.count_nonzero(norms)))
