"""Where descents of the entrywise cost start: projections, sets of columns and rows, by chance."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from lpgeom.entries.alternating import fit_left, fit_right
from lpgeom.entries.bounds import solved, whole_is_worth_it
from lpgeom.entries.problem import Entries
from lpgeom.entries.run import FactorsRun, orthonormal
from lpgeom.geometry.spectrum import LARGE
from lpgeom.records.factors import EntriesBlock
from lpgeom.rows.base import Array
from lpgeom.rows.place import place_of
from lpgeom.rows.vectors import beside

SMALL = 1 << 16
"""Up to this many entries of A every start is followed to its end, above only the best two."""

CLIP = 3.0
"""Entries beyond this many times their median size count no more than that in one of the starts."""

EXHAUSTIVE = 200
"""Up to this many sets of columns all are tried."""


def started(entries: Entries, name: str, left: Any, right: Any) -> FactorsRun:
    """A run of no steps, from factors as they are."""
    left, right = orthonormal(left, right)  # the cost is theirs, where all of it is rounding
    return FactorsRun(left, right, entries.cost(left, right), name=name)


# ---------------------------------------------------------------- projections


@dataclass(frozen=True)
class Projection:
    """Factors to start from, and what comes with them.

    Attributes
    ----------
    left, right
    guarantee : float
        Theorem: no factors cost less by more than this ratio of norms.
    proof : EntriesBlock or None
        The whole matrix's certificate for rows.
    """

    left: Any
    right: Any
    guarantee: float = math.inf
    proof: EntriesBlock | None = None


def projections(
    entries: Entries, certify: bool | str, seed: int
) -> tuple[dict[str, FactorsRun], EntriesBlock | None, float]:
    """Projections to start from by name, the whole matrix's certificate for rows, the guarantee."""
    tried = ((name, start(entries, certify, seed)) for name, start in STARTS.items())
    found = {name: projection for name, projection in tried if projection is not None}
    runs = {}
    for name, projection in found.items():
        run = started(entries, name, projection.left, projection.right)
        runs[name] = replace(run, history=(run.cost,))
    proof = next((each.proof for each in found.values() if each.proof is not None), None)
    return runs, proof, min(each.guarantee for each in found.values())


def _svd(entries: Entries, certify: bool | str, seed: int) -> Projection:
    return Projection(*entries.projected(entries.k))


def _clipped(entries: Entries, certify: bool | str, seed: int) -> Projection | None:
    """The SVD of A with its entries cut off."""
    if entries.p >= 2.0:
        return None
    return Projection(*entries.projected(entries.k, CLIP * entries.typical()))


def _lewis(entries: Entries, certify: bool | str, seed: int) -> Projection | None:
    if entries.W is not None:
        return None
    result = solved(entries, entries.A, seed, entries.row_weights, method="lewis", certify=False)
    V = beside(entries.B, result.basis)
    d = entries.shape[1]
    return Projection(entries.B @ V, V.T, result.guarantee * d ** abs(1.0 / entries.p - 0.5))


def _rows(entries: Entries, certify: bool | str, seed: int) -> Projection | None:
    """The best subspace for rows."""
    if entries.W is not None:
        return None
    d = entries.shape[1]
    # B has the row weights inside, and for a certificate it must be A.
    result = solved(
        entries, entries.A, seed, entries.row_weights,
        method="auto" if entries.A.size <= SMALL else "irls",
        certify=certify if whole_is_worth_it(d, entries.k) else False,
    )  # fmt: skip
    proof = None
    if result.lower_bound > 0.0 and result.certificate and entries.entry_weights is None:
        proof = EntriesBlock(np.arange(d), result.certificate)
    V = beside(entries.B, result.basis)
    return Projection(entries.B @ V, V.T, proof=proof)


def _columns(entries: Entries, certify: bool | str, seed: int) -> Projection | None:
    """The best subspace for columns, where the columns are not all in one."""
    n, d = entries.shape
    if entries.W is not None or min(n, d) <= entries.k or n * d >= LARGE:
        return None
    result = solved(entries, entries.B.T, seed, method="irls", certify=False)
    V = beside(entries.B, result.basis)
    return Projection(V, V.T @ entries.B)


STARTS: dict[str, Callable[[Entries, bool | str, int], Projection | None]] = {
    "svd": _svd,
    "clipped": _clipped,
    "lewis": _lewis,
    "rows": _rows,
    "columns": _columns,
}
"""Projections by name, None where one does not apply; a new one is an entry here."""


# ---------------------------------------------------------------- further starts


def _column_sets(entries: Entries, count: int, seed: int) -> Iterator[tuple[Any, Any]]:
    B, p = entries.B, entries.p
    for J in column_sets(B, entries.k, p, count, seed):
        left = entries.place.array(B[:, beside(B, J)])
        yield left, fit_right(B, left, p, entries.W)[0]


def _row_sets(entries: Entries, count: int, seed: int) -> Iterator[tuple[Any, Any]]:
    B, k, p = entries.B, entries.k, entries.p
    for J in column_sets(B.T, k, p, count, seed) if k < len(B) else ():
        right = entries.place.array(B[beside(B, J)])
        yield fit_left(B, right, p, entries.W)[0], right


def _random(entries: Entries, count: int, seed: int) -> Iterator[tuple[Any, Any]]:
    B, rng = entries.B, np.random.default_rng(seed)
    for _ in range(count):
        right = beside(B, np.linalg.qr(rng.standard_normal((B.shape[1], entries.k)))[0].T)
        yield fit_left(B, right, entries.p, entries.W)[0], right


FURTHER: dict[str, Callable[[Entries, int, int], Iterator[tuple[Any, Any]]]] = {
    "column set": _column_sets,
    "row set": _row_sets,
    "random": _random,
}
"""Factors of some `count` further starts, for small problems; a new kind is an entry here."""


def column_sets(B: Array, k: int, p: float, count: int, seed: int) -> Iterator[NDArray[np.intp]]:
    """All sets of k columns, if they are few; or `count` of them.

    The first of these are the pivots of a QR decomposition, the others are drawn with
    probability in proportion to the columns' ``sum |b|^p``. Some k columns span a subspace within
    a factor k + 1 of the best one in norm (Chierichetti, Gollapudi, Kumar, Lattanzi, Panigrahy,
    Woodruff, "Algorithms for l_p low-rank approximation", ICML 2017). Where errors are heavy
    tailed, columns as they are can be as good as anything: they have no error themselves.
    """
    d = B.shape[1]
    if is_exhaustive(d, k):
        yield from (np.array(J) for J in combinations(range(d), k))
        return
    host = place_of(B).host  # what is no longer than a row is chosen from there
    triangle = host(np.linalg.qr(B, mode="r"))
    yield scipy.linalg.qr(triangle, mode="r", pivoting=True)[1][:k]
    top = float(np.abs(B).max()) or 1.0
    weight = host(((np.abs(B) / top) ** p).sum(axis=0))
    share = weight / weight.sum()
    if np.count_nonzero(share) <= k:
        return  # the pivots are all the columns that are not zero
    rng = np.random.default_rng(seed)
    for _ in range(count - 1):
        yield rng.choice(d, size=k, replace=False, p=share)


def is_exhaustive(d: int, k: int) -> bool:
    """Whether `column_sets` gives all sets of k of d columns."""
    return math.comb(d, k) <= EXHAUSTIVE
