"""From options to a rank for every weight, and from a rank to factors and a line of the report."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lpgeom.nn.factors.factor import curve_of, factorise, factorise_mixed
from lpgeom.nn.factors.factored import Factored, Metric, Spec
from lpgeom.nn.factors.groups import PLACES, Factors, label_dtype
from lpgeom.nn.factors.held import Held
from lpgeom.nn.model.select import by_name, selected, words
from lpgeom.nn.model.sites import Group
from lpgeom.nn.modules.compressed import Compressed
from lpgeom.nn.plan import ranks
from lpgeom.nn.plan.options import Options
from lpgeom.nn.plan.row_weights import named, row_weights
from lpgeom.nn.report.report import LayerReport
from lpgeom.records.subspace import Array
from lpgeom.subspace.svd_curve import SvdCurve

Read = Callable[[Group], Tensor]
"""Gives a group's weight as a matrix (n, d)."""

RETRIES = 3
"""Smaller ranks tried where the solver did better than the SVD whose error set the rank."""

STEPS = 8
"""Larger ranks tried where it did worse: an entrywise error, or one of a dtype's rounding."""

LEAST = 0.3
"""What a row of an output layer counts at least, as a share of the mean."""


@dataclass(frozen=True)
class Coding:
    """In how many bytes a weight is to be stored, and what else its coder is told.

    `dtype`: of the real numbers in it; None: that of the weight.
    """

    form: str
    nbytes: int
    choice: Any = None
    dtype: torch.dtype | None = None


@dataclass(frozen=True)
class Item:
    """A selected weight and what is to become of it.

    `weights` says where the weights of its rows are from. `rank` None: left alone, and `note` says
    why. `budget`: how many numbers mixed ranks may take; `rank` is then what equal ones would be.
    `coding`: it is stored in few bits.
    `told`: what the report is to say of what is done.
    """

    group: Group
    size: ranks.Size
    spec: Spec
    dtype: torch.dtype
    weights: str = "none"
    curve: SvdCurve | None = None
    rank: int | None = None
    note: str = ""
    error: float | None = None
    budget: int | None = None
    coding: Coding | None = None
    told: str = ""


Solver = Callable[[Item, Tensor], Factored]
"""Gives what an item becomes, of its weight."""


def items_of(
    groups: Sequence[Group], model: nn.Module, options: Options, metrics: Mapping[str, Metric]
) -> list[Item]:
    """The selected weights, without ranks yet.

    Raises
    ------
    TypeError, ValueError
        Patterns, weights of rows or ranks that do not fit the model.
    """
    chosen, notes = selected(groups, model, options.layers, options.exclude)
    weights = row_weights(chosen, notes, options, words(model))
    items = []
    for group in chosen:
        n, d = group.head.shape
        # A bare parameter has no room for labels; mixed ranks are for tokens, some more frequent.
        mixed = options.ranks == "mixed" and group.kind == "embedding"
        one = group.kind == "parameter" or (options.ranks == "mixed" and not mixed)
        several = 1 if one else min(options.subspaces, n)
        untied = group.untied() if options.tie == "untie" else group
        omega, source = weights(group)
        omega, told = _seen(omega, untied)
        spec = Spec(
            p=options.p, objective=options.objective, subspaces=several,
            ranks="mixed" if mixed else "equal", certify=options.certify, seed=options.seed,
            row_weights=omega, metric=metrics.get(group.name),
        )  # fmt: skip
        size, note = ranks.Size(n, d, several), notes.get(group.name, "")
        made = Item(untied, size, spec, untied.head.dtype, weights=source, note=note, told=told)
        items.append(made)
    return items


def _seen(omega: Array | None, group: Group) -> tuple[Array | None, str]:
    """Weights of rows, of which none is too small if they are an output layer's, and what to say.

    Rows that hardly count become rows of zeros. As outputs these are logits of 0, which win against
    whatever is negative.
    """
    if omega is None or not _is_output(group):
        return omega, ""
    least = LEAST * float(omega.mean())
    raised = int(np.count_nonzero(omega < least))
    note = f"{raised} rows of less weight count as {LEAST:g} of the mean: they are outputs, too"
    return np.maximum(omega, least), note if raised else ""


def _is_output(group: Group) -> bool:
    """Whether the rows of a weight make outputs, not only what is looked up."""
    return any(site.kind in ("linear", "conv1d") for site in group.sites)


def ranked(items: Sequence[Item], options: Options, read: Read) -> list[Item]:
    """The items with their ranks; those that are not worth it are left alone."""
    if options.allocate == "global":
        return _from_budget(items, options, read)
    names = options.rank if isinstance(options.rank, Mapping) else {}
    given = by_name([item.group for item in items], names, "rank")
    return [
        item if item.note else _ranked(item, options, given.get(item.group), read) for item in items
    ]


def _ranked(item: Item, options: Options, given: int | None, read: Read) -> Item:
    """The item with the rank that the options ask for, or left alone."""
    size, k = item.size, given
    if options.ratio is not None:
        if item.spec.ranks == "mixed":
            return _budgeted(item, size.left_by(options.ratio), options.force)
        k = size.for_ratio(options.ratio)
    elif options.max_norm_error is not None:
        item = replace(_with_curve(item, read), error=options.max_norm_error)
        assert item.curve is not None
        k = min(ranks.for_error(item.curve.cost, item.spec.p, options.max_norm_error), size.full)
    elif isinstance(options.rank, int):
        k = options.rank
    elif k is None:
        raise ValueError(f"rank: there is none for {item.group.name}")
    if k > size.full:
        raise ValueError(
            f"rank must be at most min(n, d) = {size.full} for {item.group.name} "
            f"({size.n} x {size.d}), got {k}"
        )
    return _worth(item, k, options.force)


def _worth(item: Item, k: int | None, force: bool) -> Item:
    """The item with that rank, or left alone."""
    if k is None:
        return replace(item, note="worth more as it is")
    if k < 1:
        return replace(item, note="too small for that ratio: rank 1 keeps more")
    if not force and not item.size.worthwhile(k):
        return replace(
            item, note=f"rank {k} is at or above break-even ({item.size.break_even:.4g})"
        )
    if item.spec.ranks == "mixed":
        return _budgeted(item, item.size.parameters(k), force)
    return replace(item, rank=k)


def _budgeted(item: Item, budget: int, force: bool) -> Item:
    """The item with that many numbers for mixed ranks, or left alone."""
    size = item.size
    if budget < size.n + size.d:
        return _worth(item, 0, force)
    budget = min(budget, size.dense)
    index = _index_bytes(item)
    if not force and (size.dense - budget) * item.dtype.itemsize <= size.n * index:
        return replace(
            item, note=f"{index} bytes a row for its group outweigh that ratio; give subspaces=1"
        )
    k = max(1, min(size.full, budget // size.per_rank))
    return replace(item, rank=k, budget=budget)


def _from_budget(items: Sequence[Item], options: Options, read: Read) -> list[Item]:
    assert options.ratio is not None
    items = [item if item.note else _with_curve(item, read) for item in items]
    curves = [item.curve.cost for item in items if item.curve is not None]
    sizes = [item.size for item in items if not item.note]
    budget = (1.0 - options.ratio) * sum(size.dense for size in sizes)
    given = iter(ranks.share_budget(curves, sizes, budget) if sizes else ())
    return [item if item.note else _worth(item, next(given), False) for item in items]


def _with_curve(item: Item, read: Read) -> Item:
    with named(item.group.name):
        return replace(item, curve=curve_of(read(item.group), item.spec))


def solve(item: Item, weight: Tensor, found_by: Solver | None = None) -> tuple[LayerReport, Held]:
    """What an item with a rank becomes, and its line of the report."""
    assert item.rank is not None
    started = time.perf_counter()
    with named(item.group.name):
        found = (found_by or _meeting_error)(item, weight)
    known = dict(vars(found))
    factors: Held = known.pop("factors")
    notes = [
        known.pop("note"),
        "" if item.spec.metric is None else item.spec.metric.note,
        item.told,
    ]
    k = factors.rank
    if item.budget is not None and isinstance(factors, Factors):
        k = round(np.dot(factors.ranks, factors.counts) / item.size.n)
        known |= {"ranks": factors.ranks, "counts": factors.counts}
        zero = sum(n for r, n in zip(factors.ranks, factors.counts, strict=True) if not r)
        if zero and _is_output(item.group):
            notes.append(f"{zero} outputs are always 0: the ratio leaves them nothing")
    planned = line(item)
    kept = item.size.dense if planned.untied else 0
    report = replace(
        planned,
        rank=k,
        parameters_after=factors.parameters + kept,
        bytes_after=factors.nbytes + kept * item.dtype.itemsize,
        seconds=time.perf_counter() - started,
        note="; ".join(filter(None, (*notes, planned.note))),
        **known,
    )
    return report, factors


def _meeting_error(item: Item, weight: Tensor) -> Factored:
    """Factors of the item's rank, or of a smaller one that meets the error asked for as well."""
    assert item.rank is not None
    k = item.rank
    if item.budget is not None:
        return factorise_mixed(weight, item.budget, item.spec, item.curve)
    found = factorise(weight, k, item.spec, item.curve)
    if item.error is None or item.curve is None:
        return found
    shares = (item.curve.cost / (item.curve.cost[0] or 1.0)) ** (1.0 / item.spec.p)
    if _error(found, item.spec.p) > item.error:
        return _grown(item, weight, found, shares)
    for _ in range(RETRIES):
        error = _error(found, item.spec.p)
        # The SVD's errors at smaller ranks, less what the solver gained on it here.
        enough = np.flatnonzero(shares - (shares[k] - error) <= item.error)
        fewer = max(1, int(enough[0])) if enough.size else k
        if fewer >= k:
            break
        tried = factorise(weight, fewer, item.spec, item.curve)
        if _error(tried, item.spec.p) > item.error:
            break
        k, found = fewer, tried
    return found


def _grown(item: Item, weight: Tensor, found: Factored, shares: Array) -> Factored:
    """Factors of a larger rank that meet the error asked for; if none does, the largest, noted."""
    assert item.rank is not None
    assert item.error is not None
    k, size = item.rank, item.size
    most = max([k, *(r for r in range(k, size.full + 1) if size.worthwhile(r))])
    error = _error(found, item.spec.p)
    for left in reversed(range(STEPS)):
        if error <= item.error or k == most:
            break
        # Where the SVD's errors have fallen by as much as this one has to.
        enough = np.flatnonzero(shares <= shares[k] * item.error / error)
        k = min(most, max(k + 1, int(enough[0]))) if enough.size and left else most
        found = factorise(weight, k, item.spec, item.curve)
        error = _error(found, item.spec.p)
    if error <= item.error:
        return found
    note = f"error {error:.3g}: no rank below break-even meets {item.error:g} in {item.dtype}"
    warnings.warn(f"{item.group.name}: {note}", stacklevel=5)
    return replace(found, note="; ".join(filter(None, (found.note, note))))


def _error(found: Factored, p: float) -> float:
    return (found.cost / found.size) ** (1.0 / p) if found.size else 0.0


def line(item: Item) -> LayerReport:
    """What is known of an item before it is solved."""
    group, size, spec, k = item.group, item.size, item.spec, item.rank
    now, now_bytes = size.dense, size.dense * item.dtype.itemsize
    if isinstance(group.head.owner, Compressed):
        held = group.head.owner.held
        now, now_bytes = held.parameters, held.nbytes
    after, after_bytes, note = now, now_bytes, item.note
    kept = group.kept if k is not None else ()
    if k is not None:
        after = size.parameters(k) if item.budget is None else item.budget
        after_bytes = after * item.dtype.itemsize + size.n * _index_bytes(item)
    if item.coding is not None:
        after, after_bytes = now, item.coding.nbytes
    if kept:  # the dense weight lies beside the factors
        after, after_bytes = after + now, after_bytes + now_bytes
        names = ", ".join(site.name for site in kept)
        note = f"{names} {'keeps' if len(kept) == 1 else 'keep'} the dense weight"
    others = (*group.sites[1:], *(() if kept else group.kept))
    curve = item.curve.cost if item.curve is not None and spec.objective == "rows" else None
    return LayerReport(
        name=group.name,
        kind=group.kind,
        shape=(size.n, size.d),
        rank=k,
        parameters_before=now,
        parameters_after=after,
        bytes_before=now_bytes,
        bytes_after=after_bytes,
        p=spec.p,
        objective=spec.objective,
        subspaces=size.subspaces,
        tied=tuple(site.name for site in others),
        untied=tuple(site.name for site in kept),
        size=None if curve is None else float(curve[0]),
        svd_cost=None if curve is None or k is None else float(curve[k]),
        metric="weights" if spec.metric is None else "activations",
        note=note,
        weights=item.weights,
        form="factors" if item.coding is None else item.coding.form,
    )


def _index_bytes(item: Item) -> int:
    """What says which row is where, for each row."""
    j = item.size.subspaces
    grouped = j > 1 or item.spec.ranks == "mixed"
    return label_dtype(j).itemsize + PLACES.itemsize if grouped else 0
