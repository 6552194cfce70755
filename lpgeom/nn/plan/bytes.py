"""From a size in bytes to a form and a budget for every weight."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lpgeom.groups.allocation import spent
from lpgeom.io.tables import in_bytes
from lpgeom.nn.factors import entries
from lpgeom.nn.factors.coded import Coded
from lpgeom.nn.factors.factored import Factored, Spec
from lpgeom.nn.factors.held import Held
from lpgeom.nn.factors.quantise import coded_rows, least_bytes, rows_curve
from lpgeom.nn.factors.rounded import Rounded
from lpgeom.nn.plan.options import Options
from lpgeom.nn.plan.plan import Coding, Item, Read
from lpgeom.nn.plan.row_weights import named

Candidate = tuple[int, float, Any]
"""(bytes, share of the weight's cost that is lost, what the coder is to be told)."""


DEEP, FED_BACK = 16.0, 32.0
"""How much more an entry of a linear layer counts than one of an embedding, without calibration and
with: its error passes through all layers that follow, beside theirs. By agreement, cosine and
divergence of MiniLM on the tuning tasks (docs/accuracy.md)."""


@dataclass(frozen=True)
class Coder:
    """A way to store weights in few bits.

    Attributes
    ----------
    least : callable
        ``least(n, d)``: the fewest bytes that a weight may be given.
    candidates : callable
        Of a weight and its spec, with rising bytes.
    code : callable
        Of a weight, the `Coding` and the spec: what it becomes, and what that costs.
    outlined : callable
        Of n, d and a dtype: the same without data, for the names of its tensors.
    form : str
        As recipes call it.
    steps : bool
        Whether it takes the bytes of a candidate only; else whatever it is given.
    """

    least: Callable[[int, int], int]
    candidates: Callable[[Tensor, Spec], Sequence[Candidate]]
    code: Callable[[Tensor, Coding, Spec], Factored]
    outlined: Callable[[int, int, Any], Held]
    form: str
    steps: bool


CODERS: dict[str, Coder] = {
    "embedding": Coder(
        least_bytes,
        lambda weight, spec: [(nbytes, lost, None) for nbytes, lost in rows_curve(weight, spec)],
        lambda weight, coding, spec: coded_rows(weight, coding.nbytes, spec),
        lambda n, d, dtype: Coded.outlined(
            n, d, {"groups": 1, "components": 1, "books": 0, "scales": 1, "nbytes": 0}, dtype,
            "meta",
        ),
        Coded.form,
        False,
    ),
    **dict.fromkeys(
        ("linear", "conv1d"),
        Coder(
            entries.least_bytes,
            entries.candidates,
            lambda weight, coding, spec: entries.coded_entries(weight, coding.choice, spec),
            lambda n, d, dtype: Rounded.outlined(n, d, 8, d, dtype, "meta"),
            Rounded.form,
            True,
        ),
    ),
}  # fmt: skip
"""Kind of a weight -> how it is stored in few bits."""


def by_bytes(items: Sequence[Item], options: Options, read: Read, others: int) -> list[Item]:
    """The items with a coding each, all of them together within the size that is asked for.

    `others` are the bytes that the model's file will have and that belong to no item: with
    ``layers="all"`` a number of bytes is of the whole file.

    Minimised is the sum over weights of the share of each one's cost that is lost, times its
    entries, those of linear layers `DEEP` or `FED_BACK` times. See
    `lpgeom.groups.allocation.spent`; what no step fits into goes to rows, which can use any number.

    Raises
    ------
    ValueError
        A size below the least possible: it says what the least is.
    """
    items = [item if item.note else _possible(item) for item in items]
    chosen = [item for item in items if not item.note]
    dense = [x for x in items if x.note or x.group.kept]
    dtype = None if options.dtype is None else getattr(torch, options.dtype)
    fixed = others + sum(x.size.dense * (dtype or x.dtype).itemsize for x in dense)
    now = sum(_now(item) for item in chosen)
    size = options.size
    whole = isinstance(size, int) and options.layers == "all"
    room = (size - fixed * whole) if isinstance(size, int) else int(size * now + 1e-9)
    if room >= now and chosen:
        return [replace(item, note=item.note or "fits as it is") for item in items]
    least = sum(_coder(item).least(*item.group.head.shape) for item in chosen)
    if room < least:
        beside = f", of which {in_bytes(fixed)} stay as they are" if whole else ""
        raise ValueError(
            f"size: {size!r} is less than these {len(chosen)} weights need; the least is "
            f"{least + fixed * whole:,} bytes{beside}"
        )
    if len(chosen) == 1 and not _coder(chosen[0]).steps:
        budgets: list[tuple[int, Any]] = [(room, None)]
    else:
        budgets = _shared(chosen, room, read)
    given = iter(budgets)
    return [item if item.note else _given(item, *next(given), dtype) for item in items]


def _shared(items: Sequence[Item], room: int, read: Read) -> list[tuple[int, Any]]:
    """(bytes, what the coder is told) of each item."""
    found: list[Sequence[Candidate]] = []
    for item in items:
        with named(item.group.name):
            found.append(_coder(item).candidates(read(item.group), item.spec))
    worths = [_worth(item) for item in items]
    choices = [
        [(float(nbytes), lost * worth) for nbytes, lost, _ in candidates]
        for worth, candidates in zip(worths, found, strict=True)
    ]
    given = [
        (candidates[i][0], candidates[i][2])
        for candidates, i in zip(found, spent(choices, room), strict=True)
    ]
    for i, item in enumerate(items):
        if not _coder(item).steps:
            given[i] = (room - sum(nbytes for nbytes, _ in given) + given[i][0], given[i][1])
            break
    return given


def _worth(item: Item) -> float:
    """How much a share lost counts."""
    deep = DEEP if item.spec.metric is None else FED_BACK
    return item.size.dense * (1.0 if item.group.kind == "embedding" else deep)


def _coder(item: Item) -> Coder:
    return CODERS[item.group.kind]


def _now(item: Item) -> int:
    return item.size.dense * item.dtype.itemsize


def _possible(item: Item) -> Item:
    """The item, or left alone where few bits are none."""
    if item.group.kind not in CODERS:
        return replace(item, note="of a kind that is not stored in few bits; give ratio or rank")
    least = _coder(item).least(*item.group.head.shape)
    return item if least < _now(item) else replace(item, note="too small for few bits")


def _given(item: Item, nbytes: int, choice: Any, dtype: torch.dtype | None) -> Item:
    n, d = item.group.head.shape
    return replace(item, rank=min(n, d), coding=Coding(_coder(item).form, nbytes, choice, dtype))


def coded(item: Item, weight: Tensor) -> Factored:
    """What an item with a coding becomes."""
    assert item.coding is not None
    found = _coder(item).code(weight, item.coding, item.spec)
    if item.coding.dtype is None:
        return found
    held: Any = found.factors
    real = {name: x for name, x in held.tensors().items() if x.is_floating_point()}
    cast = {name: x.to(item.coding.dtype) for name, x in real.items()}
    return replace(found, factors=replace(held, **cast))


def outlined(item: Item) -> Held:
    """The same without data: what has the names of its tensors."""
    n, d = item.group.head.shape
    assert item.coding is not None
    return _coder(item).outlined(n, d, item.coding.dtype or item.dtype)
