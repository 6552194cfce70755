"""k >= rank(A) as float64 tells it: a subspace that holds the rows, or nearly does.

Singular values are known to ``max(n, d) eps`` times the largest one. Where the rows are of similar
lengths those below that are rounding, and the optimum is 0. Where one row is 1e15 times as long as
the others they may be all that the others have: whether the subspace costs nothing is therefore
asked of each row, at its own length.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lpgeom.geometry.grassmann import Frame
from lpgeom.geometry.spectrum import EPS, Spectrum, spectrum
from lpgeom.records.subspace import Certificate
from lpgeom.rows.base import Array, Rows
from lpgeom.rows.door import Problem
from lpgeom.rows.vectors import numbers
from lpgeom.subspace.assemble import Candidate, Solution, exact_certificate
from lpgeom.subspace.scale import exponents_left, rescaled
from lpgeom.subspace.span import Span

ROUNDING = 4.0 * EPS
"""A residual below this times sqrt(d) of its row's length is rounding; the independent check
allows twice as much."""

SHORT = 1e-250
"""Squared lengths below this are looked at in larger units: squares of residuals would be 0."""

LARGER = 480
"""Those units, as a power of two: the squares of entries below 1 stay below 2^960."""

EXACT, NEARLY = "rank", "longest rows"
"""Names of the method: every row lies in the subspace; the directions of short rows are lost."""

LEAST = 5e-324
"""The least cost of what is not rounding: one that underflows is not 0."""


@dataclass(frozen=True)
class Held:
    """A rank-k subspace, and the residuals that it leaves (norms, in scaled units)."""

    V: Array
    y: Array
    exact: bool


def spanned(
    problem: Problem[Rows], inner: Problem[Rows], span: Span, pca: Spectrum, k: int
) -> tuple[Problem[Rows], Solution, Certificate]:
    """The subspace of rank(A) <= k, in the sense of `pca`, that the rows lie in.

    The problem is given back in units in which the cost is a float; costs are 0 where every
    residual is rounding of its row.

    The SVD's, if every row lies in it; else the cheapest of it and of the SVD's of the rows at
    equal lengths, and in between. A pass for residuals each, two for those.
    """
    d = problem.rows.shape[1]
    found = svd = _held(inner, pca, k, span, d)
    if not found.exact:
        for balanced in _balanced(inner.rows, problem.p):
            other = _held(inner, balanced, k, span, d)
            if not found.exact and (other.exact or _less(other.y, found.y, problem.p)):
                found = other
    if found.exact:
        method, cost, svd_cost = EXACT, 0.0, 0.0 if svd.exact else _cost(svd.y, problem.p)
    else:
        problem, cost = measured(problem, found.y)
        method, svd_cost = NEARLY, _cost(svd.y * (problem.scale / inner.scale), problem.p)
    certificate = exact_certificate(problem, pca.rank, found.V, cost)
    frame = Frame(found.V, found.V[:, :0])  # its complement is not needed
    end = Candidate(method, frame, found.y**2, cost, True, (cost,))
    return problem, Solution(end, svd_cost, None, certificate.guarantee), certificate


def measured(problem: Problem[Rows], y: Array) -> tuple[Problem[Rows], float]:
    """The cost of residuals that are not rounding, and the problem in units where it is a float."""
    factor = 1.0 if problem.p <= 2.0 else _room(y, problem.scale)
    cost = max(_cost(y * factor, problem.p), LEAST)
    return rescaled(problem, problem.unit / factor), cost


def residuals(rows: Rows, W: Array, scale: float, d: int) -> tuple[Array, bool]:
    """``||a_i W||``, and whether all of them are rounding of ``||a_i||`` in d dimensions.

    One pass over A; three where there are rows so short that squares leave float64. `scale` is what
    the rows are scaled by already.
    """
    Y2 = rows.squared_norms()
    y, Y = np.sqrt(rows.quadratic_form(W)), np.sqrt(Y2)
    short = Y2 < SHORT
    if numbers(short.sum())[0] > 0.0:
        # The rows may have been enlarged already.
        room = (1000.0 - math.log2(max(numbers(Y2.max())[0], 1.0))) / 2.0
        factor = math.ldexp(1.0, min(LARGER, exponents_left(scale), int(room)))
        larger = rows.scaled(factor)
        y = np.where(short, np.sqrt(larger.quadratic_form(W)) / factor, y)
        Y = np.where(short, np.sqrt(larger.quadratic_form(np.eye(len(W)))) / factor, Y)
    (beyond,) = numbers((y > ROUNDING * math.sqrt(d) * Y).sum())
    return y, beyond == 0.0


def _held(inner: Problem[Rows], pca: Spectrum, k: int, span: Span, d: int) -> Held:
    """The leading directions of the rows, and others where k exceeds the number of coordinates."""
    V = np.ascontiguousarray(span.lifted(pca.U[:, max(pca.U.shape[1] - k, 0) :], k))
    if k >= len(pca.U):  # more directions than coordinates
        return Held(V, np.zeros(1), True)
    y, exact = residuals(inner.rows, Frame.leading(pca.U, k).W, inner.scale, d)
    return Held(V, y, exact)


def _balanced(rows: Rows, p: float) -> list[Spectrum]:
    """Spectra of the rows at lengths that lie closer together."""
    Y2 = rows.squared_norms()
    alive = Y2 >= SHORT
    safe = np.where(alive, Y2, 1.0)
    powers = (-1.0,) if p >= 2.0 else (-1.0, p / 2.0 - 1.0)
    return [spectrum(rows, np.where(alive, safe**power, 0.0)) for power in powers]


def _less(a: Array, b: Array, p: float) -> bool:
    """Whether residuals a cost less than b, in units in which both costs are floats."""
    (top,) = numbers(b.max())
    return _cost(a / top, p) < _cost(b / top, p)


def _cost(y: Array, p: float) -> float:
    """``sum y^p``; the largest y for p = inf."""
    with np.errstate(over="ignore", under="ignore"):
        return numbers(y.max() if math.isinf(p) else (y**p).sum())[0]


def _room(y: Array, scale: float) -> float:
    """The power of two that brings the largest residual near 1, as far as the rows allow."""
    (top,) = numbers(y.max())
    return math.ldexp(1.0, min(max(-math.frexp(top)[1], -480), 480, exponents_left(scale)))
