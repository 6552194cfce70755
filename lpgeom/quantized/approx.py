"""``approx_quantized``: rows in few bits, within a budget of bytes."""

from __future__ import annotations

import math
import operator
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lpgeom.io import validation
from lpgeom.progress import Progress
from lpgeom.quantized.coder import Budget, Code, Sample, encoded, fitted, overhead
from lpgeom.quantized.layout import REAL, WIDEST, Bytes, Ints
from lpgeom.quantized.measure import (
    blocks,
    cast_distances,
    digest,
    distances,
    weighted_norm,
)
from lpgeom.quantized.proof import SLACK, proved
from lpgeom.quantized.quantizers import QUANTIZERS, STATES
from lpgeom.quantized.real import SUBSPACES, arrays, mixed_within
from lpgeom.quantized.record import QuantizedResult
from lpgeom.quantized.scales import Scales
from lpgeom.rows.base import Array
from lpgeom.rows.door import Problem, check_lengths, open_anywhere, taken
from lpgeom.threads import limited, sized

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

MOST_GROUPS, FIRST = 16, 0.002
"""Groups if nobody says how many, and the share of the rows, those that count most, in the first
one; the next grow geometrically."""

LARGE = 1 << 25
"""Entries, at most, that a code is fitted to; beyond them a basis is solved for by products in
float32. What is stated is measured in float64."""

SHARE = 0.03
"""Of the budget, at most, for what groups take beside their codes, if nobody says how many."""

ROUNDS = 4
"""Rounds for p other than 2, each with rows weighed by what they cost in the one before."""

SMOOTHING = 1e-2
"""Squared distances below this share of the mean weigh no more than those at it."""

FAR = 2.0**60
"""Rows of weight 0 this many times as long as the others are read in float64."""

RIDGE = 1e-7
"""Share of its mean that is added to the diagonal of the normal equations for the basis."""


def approx_quantized(
    A: ArrayLike,
    nbytes: int,
    p: float = 2.0,
    *,
    groups: int | None = None,
    row_weights: ArrayLike | None = None,
    bits: str | Sequence[int] = "auto",
    quantizer: str = "trellis",
    certify: bool = True,
    seed: int = 0,
    max_iter: int | None = None,
    progress: bool = False,
) -> QuantizedResult:
    """Rows in few bits, of which one budget of bytes decides where they go.

    Looks for codes with a small cost ``sum_i omega_i ||a_i - row_i||^p`` that take at most `nbytes`
    bytes with all that is needed to read them. Rows are split into groups by how much they count;
    every component of every group in one orthogonal basis has a width of its own, from 0 bits (a
    rank is where bits end) to 8.

    Parameters
    ----------
    A : array_like, shape (n, d)
        Rows, in memory, a memory map, in chunked storage, or a Dask array. Any real type.
    nbytes : int
        Bytes that everything takes: codes, basis, codebooks, a scale and a label for every row.
    p : float
        1 <= p <= 100.
    groups : int, optional
        Groups of rows, 1 to 256; as many as pay, 16 at most, if not given.
    row_weights : array_like, shape (n,), optional
        omega >= 0, not all zero.
    bits : "auto" or sequence of int
        Widths that components may have beside 0; "auto" stands for 1 to 8. ``(0, 32)`` are ranks
        and no bits: the subspaces of `approx_mixed`, whose numbers stay in float32.
    quantizer : {"trellis", "lloyd-max", "dead-zone"}
        How a component becomes bits: by trellis codes, which leave 20 to 45% less error, or
        each alone by the levels of Lloyd and Max, or in equal steps around 0.
    certify : bool
        Prove a lower bound for all rows of the same ranks under the same labels.
    seed : int
        Decides the sample that a code for large data is fitted to, and the bounds' searches.
    max_iter : int, optional
        Rounds for p other than 2, at most; 4 if not given.
    progress : bool
        A counter on stderr.

    Returns
    -------
    QuantizedResult
        `rows`, `dense`, `nbytes`, `cost`; `truncation_cost`, `lower_bound`, `int8_cost` and
        `int4_cost` beside it.

    Raises
    ------
    TypeError, ValueError
        Input that is not a finite real matrix, an option out of range, or a budget below what
        labels and scales take: the message says what the least is.

    Notes
    -----
    Transform coding with one price for all groups (docs/theory/quantised.md): the eigenvectors of
    ``sum_i omega_i a_i a_i^T``; rows divided by their norm; widths by reverse water-filling;
    trellis-coded quantisation; basis and codebooks solved for again. For p other than 2 the rows
    are weighed by their cost in the round before (majorisation), and the best round is kept.
    ``O(n d^2 + 512 n d)`` operations a round and some passes over A. More than 2^25 entries are
    coded after a sample.
    Sources: Huang and Schultheiss 1963; Marcellin and Fischer 1990; Gersho and Gray, "Vector
    Quantization and Signal Compression", 1992.

    Examples
    --------
    >>> import numpy as np, lpgeom
    >>> rng = np.random.default_rng(0)
    >>> A = rng.standard_normal((3000, 16)) * np.geomspace(1.0, 0.01, 16)
    >>> found = lpgeom.approx_quantized(A, 20_000)
    >>> found.nbytes <= 20_000 < A.nbytes // 19, found.cost < found.int4_cost
    (True, True)
    """
    started = time.perf_counter()
    nbytes = validation.check_positive_int("nbytes", nbytes)
    validation.check_choice("quantizer", quantizer, tuple(QUANTIZERS))
    certify = validation.check_flag("certify", certify)
    seed = validation.check_seed(seed)
    steps = validation.check_steps(max_iter, ROUNDS)
    widths = _checked_widths(bits)
    if groups is not None:
        groups = validation.check_positive_int("groups", groups)
        if groups > 256:
            raise ValueError(f"groups are 256 at most, got {groups}")
    with limited():
        problem = open_anywhere(A, p, row_weights)
        check_lengths(problem)
        n, d = problem.rows.shape
        least = overhead(n, d, 0, 1, 0)
        if nbytes < least:
            raise ValueError(
                f"{nbytes} bytes are fewer than {least}, which labels and scales of {n} rows take"
            )
        if groups is None and widths == (REAL,):
            groups = SUBSPACES
        elif groups is None:
            room = SHARE * (nbytes - least) / (5 * d)
            groups = int(max(1, min(MOST_GROUPS, room, n // 64)))
        with sized(n, d), Progress(progress) as bar:
            task = _Task(problem, nbytes, groups, widths, quantizer, seed, started, bar)
            return task.solved(steps if problem.p != 2.0 else 0, certify)


def _checked_widths(bits: Any) -> tuple[int, ...]:
    """Widths beside 0, ascending."""
    if isinstance(bits, str):
        validation.check_choice("bits", bits, ("auto",))
        return tuple(range(1, WIDEST + 1))
    found = sorted({operator.index(b) for b in bits} - {0})
    if found == [REAL]:
        return (REAL,)
    if not found or found[0] < 0 or found[-1] > WIDEST:
        raise ValueError(
            f"bits are widths of 0 to {WIDEST}, one of them above 0, or 0 and {REAL}; got {bits}"
        )
    return tuple(found)


@dataclass(frozen=True)
class _Task:
    """What is asked for; it leads from rows to a result."""

    problem: Problem[Any]
    nbytes: int
    groups: int
    widths: tuple[int, ...]
    quantizer: str
    seed: int
    started: float
    bar: Progress

    @property
    def omega(self) -> Array | None:
        """The row weights, fetched."""
        omega = self.problem.omega
        return None if omega is None else np.asarray(omega, dtype=np.float64)

    def block(self, index: Ints) -> NDArray[Any]:
        """Some rows, scaled by a power of two: which may itself be beyond float32, as may be what
        becomes of rows of weight 0."""
        rows = taken(self.problem.A, index)
        if self.problem.rows._longest > FAR:
            rows = rows.astype(np.float64)
        e = math.frexp(self.problem.scale)[1] - 1
        return np.ldexp(rows, e, out=rows) if e else rows

    def solved(self, more: int, certify: bool) -> QuantizedResult:
        """The best of the rounds: one, and `more` for p other than 2."""
        if self.widths == (REAL,):
            return self._stated(self._real(), certify)
        problem, (n, d) = self.problem, self.problem.rows.shape
        p, factors = problem.p, problem.factors
        origin = np.zeros((1, d))
        norms = np.concatenate([
            distances(self.block(np.arange(n)[here]), origin) for here in blocks(n, d)
        ])  # fmt: skip
        f = np.ones(n) if factors is None else np.asarray(factors, dtype=np.float64)
        # Before the first round for p > 2 no row is known to be far off.
        t = np.square(f * norms) if p < 2.0 else np.zeros(n)
        best: QuantizedResult | None = None
        for round_ in range(more + 1):
            weights = np.square(f)
            if p != 2.0 and t.any():
                smooth = np.maximum(t, SMOOTHING * t.mean())
                weights = weights * (smooth / smooth.max()) ** (p / 2.0 - 1.0)
            self.bar.stage(f"round {round_ + 1}")
            found, t = self._round(norms, weights, f, round_ + 1)
            self.bar.step(f"norm error {found.norm_error:.6g}")
            if best is not None and found.norm_error > 0.999 * best.norm_error:
                if found.norm_error < best.norm_error:
                    best = found
                break
            best = found
            if found.norm_error == 0.0:
                break
        assert best is not None
        return self._stated(best, certify)

    def _round(
        self, norms: Array, weights: Array, f: Array, number: int
    ) -> tuple[QuantizedResult, Array]:
        """A code for rows of these weights, and the squared distances it leaves, factors in."""
        wanted = norms / math.sqrt(self.problem.rows.shape[1])
        ladder = Scales.of(wanted)
        scale_codes = ladder.codes(wanted)
        scales = ladder.values(scale_codes)
        gains = weights * np.square(scales)
        labels, groups = _grouped(gains, self.groups)
        sizes = np.bincount(labels, minlength=groups)
        sample = self._sample(labels, gains, scales)
        code = fitted(sample, Budget(self.nbytes, sizes, self.widths, self.quantizer))
        codes = self._coded(code, labels, gains, scales, sizes)
        used = np.unique(code.bits)
        books = code.books[used[used > 0]] if code.trained else code.books[:0]
        result = self._result(
            labels=labels.astype(np.uint8), bits=code.bits, basis=code.V.astype(np.float16),
            means=code.means, deviations=code.deviations, levels=books.astype(np.float16),
            scale_codes=scale_codes, ladder=(ladder.least, ladder.step), codes=codes, n_iter=number,
        )  # fmt: skip
        result = self._refined(result, weights, scales)
        return self._measured(result, f)

    def _real(self) -> QuantizedResult:
        """Ranks and no bits."""
        problem = self.problem
        A = self.block(np.arange(problem.rows.shape[0]))
        found = mixed_within(A, self.nbytes, problem.p, self.groups, self.omega, self.seed)
        f = np.ones(len(A)) if problem.factors is None else np.asarray(problem.factors)
        result = self._result(**arrays(A, found), n_iter=found.n_iter)
        return self._measured(result, f)[0]

    def _result(self, **arrays: Any) -> QuantizedResult:
        """A result whose costs are not known yet."""
        return QuantizedResult(
            shape=self.problem.rows.shape, p=self.problem.p, norm_error=0.0, truncation_norm=0.0,
            int8_norm=0.0, int4_norm=0.0, lower_bound=0.0, failure_probability=0.0,
            certified=False, quantizer=self.quantizer, seconds=0.0, seed=self.seed,
            weights_digest=digest(self.omega), **arrays,
        )  # fmt: skip

    def _measured(self, result: QuantizedResult, f: Array) -> tuple[QuantizedResult, Array]:
        """With its norm error, for rows of factors f; and the squared distances, factors in."""
        n, d = result.shape
        off = np.concatenate([
            result.distances_to(here, self.block(np.arange(n)[here])) for here in blocks(n, d)
        ])  # fmt: skip
        norm = weighted_norm(f * off, None, result.p)
        return replace(result, norm_error=norm), np.square(f * off)

    def _sample(self, labels: Ints, gains: Array, scales: Array) -> Sample:
        """All rows, or those that count and some of the others, with what each stands for."""
        n, d = self.problem.rows.shape
        index, times = np.arange(n), np.ones(n)
        most = max(1, LARGE // d)
        if n > most:
            share = 0.5 / n + 0.5 * gains / (gains.sum() or 1.0)
            chance = np.minimum(1.0, most * share)
            order = np.random.default_rng(self.seed).permutation(n)
            ends = np.cumsum(chance[order])
            start = np.random.default_rng(self.seed + 1).random()
            hits = np.floor(ends + start) > np.floor(ends - chance[order] + start)
            index = np.sort(order[hits])
            times = 1.0 / chance[index]
        rows = self.block(index)
        inverse = np.divide(1.0, scales[index], out=np.zeros(index.size), where=scales[index] > 0)
        rows *= inverse[:, None].astype(rows.dtype)
        return Sample(rows, labels[index], gains[index] * times)

    def _coded(self, code: Code, labels: Ints, gains: Array, scales: Array, sizes: Ints) -> Bytes:
        """The codes of all rows, group by group."""
        n, d = self.problem.rows.shape
        strides = -(-code.bits.sum(axis=1, dtype=np.int64) // 8)
        codes = [np.zeros((m, s), dtype=np.uint8) for m, s in zip(sizes, strides, strict=True)]
        filled = np.zeros(sizes.size, dtype=np.int64)
        unused = np.zeros((2, WIDEST + 1, STATES))
        for here in blocks(n, d):
            index = np.arange(n)[here]
            rows = self.block(index)
            inverse = np.divide(1.0, scales[here], out=np.zeros(index.size), where=scales[here] > 0)
            Y = rows @ code.V.astype(rows.dtype)
            Y *= inverse[:, None].astype(Y.dtype)
            for c in np.unique(labels[here]):
                own = np.flatnonzero(labels[here] == c)
                codes[c][filled[c] : filled[c] + own.size] = encoded(
                    code, c, Y[own], gains[here][own], *unused
                )
                filled[c] += own.size
            self.bar.step()
        return np.concatenate([own.ravel() for own in codes])

    def _refined(self, result: QuantizedResult, weights: Array, scales: Array) -> QuantizedResult:
        """The basis by least squares for the codes that there are."""
        r = result.basis.shape[1]
        if r == 0:
            return result
        n, d = result.shape
        G, H = np.zeros((r, r)), np.zeros((r, d))
        dtype = np.float64 if n * d <= LARGE else np.float32
        for here in self._some(n, d):
            index = np.arange(n)[here]
            rows = self.block(index).astype(dtype)
            y = result._components(index, dtype) * scales[here][:, None].astype(dtype)
            weighted = (y * weights[here, None].astype(dtype)).T
            G += weighted @ y
            H += weighted @ rows
        size = float(np.trace(G)) / r
        if size == 0.0:
            return result
        # Towards the basis that there is, where the codes say nothing.
        G[np.diag_indices(r)] += RIDGE * size
        H += RIDGE * size * result.basis.T.astype(np.float64)
        basis = np.linalg.solve(G, H).T
        return replace(result, basis=basis.astype(np.float16))

    def _some(self, n: int, d: int) -> list[slice]:
        """All blocks of rows, or some of large data."""
        every = list(blocks(n, d))
        most = max(1, LARGE // (every[0].stop * d))
        return every[:: max(1, len(every) // most)]

    def _stated(self, result: QuantizedResult, certify: bool) -> QuantizedResult:
        """In user units, beside what else it could have been, and what is proved."""
        problem = self.problem
        n, d = result.shape
        unit, scale = problem.unit, problem.scale
        omega = self.omega
        result = replace(
            result,
            ladder=(result.ladder[0] / scale, result.ladder[1]),
            norm_error=result.norm_error * unit,
            certified=certify,
        )
        f = np.ones(n) if problem.factors is None else np.asarray(problem.factors)
        off = cast_distances(lambda here: self.block(np.arange(n)[here]), (n, d), omega)
        int8, int4 = (weighted_norm(t * f, None, result.p) * unit for t in off)
        self.bar.stage("what is proved")
        truncation, bound, chance = proved(
            result, lambda index: taken(problem.A, index), omega, certify
        )
        return replace(
            result,
            truncation_norm=truncation,
            lower_bound=(1.0 - SLACK) * bound,
            failure_probability=chance,
            int8_norm=int8,
            int4_norm=int4,
            seconds=time.perf_counter() - self.started,
        )


def _grouped(gains: Array, groups: int) -> tuple[Ints, int]:
    """Rows of falling weight, in groups geometrically larger, none of them empty."""
    n = gains.size
    edges = np.geomspace(max(1.0, FIRST * n), n, groups)[:-1]
    order = np.argsort(-gains, kind="stable")
    labels = np.empty(n, dtype=np.int64)
    labels[order] = np.searchsorted(edges, np.arange(n), side="right")
    used, labels = np.unique(labels, return_inverse=True)
    return labels, used.size
