"""A compression under way: what was planned, solved weight by weight, and the report of it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import nn
from tqdm import tqdm

from lpgeom.nn.factors.held import Held
from lpgeom.nn.plan.bytes import coded
from lpgeom.nn.plan.options import Options
from lpgeom.nn.plan.plan import Item, Read, line, solve
from lpgeom.nn.plan.trim import TrimmedTokenizer
from lpgeom.nn.report.report import CompressionReport


@dataclass
class Work:
    """A compression under way: a line for each weight, which solving fills in.

    `before` are the model's parameters and bytes, without those of trimmed tokens, which are
    `gone`; `cast` is what another dtype of all that stays as it is takes off the bytes.
    """

    model: nn.Module
    items: Sequence[Item]
    options: Options
    before: tuple[int, int]
    started: float
    dry_run: bool
    cast: int = 0
    gone: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        self.lines = {item.group.name: line(item) for item in self.items}
        self.solvable = [x for x in self.items if x.rank is not None and not self.dry_run]

    def solved(self, read: Read, progress: bool) -> Iterator[tuple[Item, Held]]:
        """The items with their factors, which their lines then tell of; with a bar."""
        disable = not progress or self.dry_run
        with tqdm(self.solvable, disable=disable, leave=False, unit="layer") as bar:
            for item in bar:
                bar.set_description(item.group.name)
                how = None if item.coding is None else coded
                self.lines[item.group.name], factors = solve(item, read(item.group), how)
                yield item, factors
                del factors  # before the next weight is read

    def report(self) -> CompressionReport:
        """The report of the whole model."""
        lines = tuple(self.lines.values())
        (count, size), gone, trimmed = self.before, self.gone, self.options.trim
        some = isinstance(trimmed, TrimmedTokenizer)
        return CompressionReport(
            model=type(self.model).__name__,
            layers=lines,
            parameters_before=count + gone[0],
            parameters_after=count - sum(x.parameters_before - x.parameters_after for x in lines),
            bytes_before=size + gone[1],
            bytes_after=size - self.cast - sum(x.bytes_before - x.bytes_after for x in lines),
            options=self.options.to_dict(),
            seconds=time.perf_counter() - self.started,
            dry_run=self.dry_run,
            trimmed=trimmed.to_dict() if some else None,
            tokenizer=trimmed.text if some else "",
        )
