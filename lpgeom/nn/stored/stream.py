"""A stored Hugging Face model into factors, one tensor at a time: ``lpgeom compress``."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from tqdm import tqdm

from lpgeom.nn.compression import counted, totalled
from lpgeom.nn.factors.factored import FLOATING
from lpgeom.nn.model.sites import Group, Site, groups
from lpgeom.nn.modules.scaled import scaling_of
from lpgeom.nn.plan.options import Options
from lpgeom.nn.plan.plan import Item, items_of, line, ranked, solve
from lpgeom.nn.report.report import CompressionReport, LayerReport
from lpgeom.nn.stored.checkpoint import write
from lpgeom.nn.stored.directory import Stored, copy_others, keys_of, open_tensors, structure
from lpgeom.nn.stored.huggingface import say_untied
from lpgeom.nn.stored.outline import embedding_options
from lpgeom.nn.stored.recipe import Layer, Recipe
from lpgeom.nn.stored.tensors import aliases_of


def compress_directory(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    options: Options,
    *,
    weights: str | None = None,
    progress: bool = False,
    dry_run: bool = False,
) -> CompressionReport:
    """Compress the model in `source` into the new directory `target`.

    The structure comes from config.json (a model without data), the tensors from the .safetensors
    files, one at a time: memory is that of the largest tensor times a small factor. `source` is
    only read; `target` appears complete or not at all. Files that are not weights (tokenizer, ...)
    are copied.

    Parameters
    ----------
    weights : str, optional
        A file of `source` to read instead; a pickle is read only if named here, and then with
        torch's ``weights_only``.

    Raises
    ------
    CheckpointError (a ValueError)
        No config.json, no .safetensors, a class that transformers does not have, missing tensors.
    FileExistsError
        `target` exists.
    """
    started = time.perf_counter()
    source, target = Path(source), Path(target)
    model = structure(source)
    if not dry_run:
        if target.exists():
            raise FileExistsError(17, "exists already", str(target))
        if not target.parent.is_dir():
            raise FileNotFoundError(2, f"there is no directory {target.parent}", str(target))
        if source.resolve() in target.resolve().parents:
            raise ValueError(f"{target}: lies inside the model's own directory")
    with open_tensors(source, weights) as stored:
        keys = keys_of(model, stored, source)
        return _compressed(model, keys, stored, source, target, options, started, progress, dry_run)


def _compressed(
    model: nn.Module,
    keys: Mapping[str, str],
    stored: Stored,
    source: Path,
    target: Path,
    options: Options,
    started: float,
    progress: bool,
    dry_run: bool,
) -> CompressionReport:
    def read(group: Group) -> Tensor:
        tensor = stored.tensor(keys[_parameter_name(group.head)])
        if tensor.dtype not in FLOATING:
            raise TypeError(
                f"{group.name} is stored as {tensor.dtype}; compress the model before it is "
                "quantised"
            )
        return group.head.matrix(tensor)

    found = groups(model, meta=True)
    items = [
        replace(item, dtype=stored.dtype(keys[_parameter_name(item.group.head)]))
        for item in items_of(found, model, options, {})
    ]
    items = ranked(items, options, read)
    state = model.state_dict(keep_vars=True)
    plan = _Plan(items, state)
    sizes = {name: stored.size(keys[name]) for name in state if name not in plan.shared}
    counts = {
        name: count for name, (count, _) in sizes.items() if isinstance(state[name], nn.Parameter)
    }
    lines: dict[str, LayerReport] = {item.group.name: line(item) for item in items}

    def report() -> CompressionReport:
        return totalled(
            type(model).__name__,
            [counted(entry) for entry in lines.values()],
            sum(counts.values()),
            sum(size for _, size in sizes.values()),
            options,
            started,
            dry_run,
        )

    if dry_run:
        return report()

    def tensors() -> Iterator[tuple[str, Tensor]]:
        todo = [item for item in items if item.rank is not None]
        with tqdm(total=len(todo), disable=not progress, leave=False, unit="layer") as bar:
            for item in todo:
                bar.set_description(item.group.name)
                lines[item.group.name], factors = solve(item, read(item.group))
                path = plan.path(item)
                for name, tensor in factors.tensors().items():
                    yield f"{path}.{name}", tensor
                del factors
                bar.update()
        for name in plan.kept:
            yield name, stored.tensor(keys[name])

    def recipe() -> Recipe:
        done = report()
        layers = tuple(plan.layers({entry.name: entry for entry in done.layers}))
        return Recipe(type(model).__name__, "transformers", layers, plan.aliases, report=done)

    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
    try:
        temporary.mkdir()
        copy_others(source, temporary)
        model.config.architectures = [type(model).__name__]
        if any(item.rank is not None and item.group.kept for item in items):
            say_untied(model)
        model.config.save_pretrained(temporary)
        written: list[CompressionReport] = []

        def finished() -> Recipe:
            made = recipe()
            assert made.report is not None
            written.append(made.report)
            return made

        write(temporary, plan.written, tensors(), finished)
        os.rename(temporary, target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return written[0]


class _Plan:
    """Names: what is written, what is the same tensor as another, which layers are factors."""

    def __init__(self, items: list[Item], state: Mapping[str, Any]) -> None:
        self._items = [item for item in items if item.rank is not None]
        self.shared = aliases_of(state)
        """Aliases in the dense model."""
        gone: set[str] = set()
        self.aliases: dict[str, str] = {}
        for item in self._items:
            names = _names(item)
            for path in self._paths(item):
                gone.add(f"{path}.weight" if item.group.kind != "parameter" else path)
                if path != self.path(item):
                    self.aliases |= {f"{path}.{n}": f"{self.path(item)}.{n}" for n in names}
        kept: dict[int, str] = {}
        for name, tensor in state.items():
            if name in gone:
                continue
            first = kept.setdefault(id(tensor), name)
            if first != name:
                self.aliases[name] = first
        self.kept = list(kept.values())
        self.written = [
            f"{self.path(item)}.{name}" for item in self._items for name in _names(item)
        ] + self.kept

    def path(self, item: Item) -> str:
        """The name that an item's factors are written under."""
        return item.group.name

    def _paths(self, item: Item) -> Iterator[str]:
        """Every module name that gets the item's factors."""
        for site in item.group.sites:
            yield from site.paths

    def layers(self, lines: Mapping[str, LayerReport]) -> Iterator[Layer]:
        """The recipe's layers, with the ranks that were reached."""
        for item in self._items:
            done = lines[item.group.name]
            rank = done.rank if done.ranks is None else max(1, *done.ranks)
            assert rank is not None
            groups = {"ranks": done.ranks, "counts": done.counts}
            for site in item.group.sites:
                options: dict[str, Any]
                kind = "linear" if site.kind == "conv1d" else site.kind
                if kind == "parameter":
                    options = {"shape": list(site.weight.shape)}
                elif kind == "embedding":
                    options = embedding_options(site.owner, scaling_of(site.owner))
                else:
                    options = {"bias": site.owner._parameters.get("bias") is not None}
                n, d = site.shape
                for path in site.paths:
                    yield Layer(path, kind, n, d, rank, item.size.subspaces, options, **groups)


def _names(item: Item) -> list[str]:
    """What `Factored.tensors` will call an item's tensors."""
    j = item.size.subspaces
    if item.budget is not None:
        factors = [f"{side}.{c}" for side in ("lefts", "rights") for c in range(j)]
        return [*factors, "labels", "places"]
    return ["left", "right"] + (["labels"] if j > 1 else [])


def _parameter_name(site: Site) -> str:
    return site.name if site.kind == "parameter" else f"{site.name}.{site.attribute}"
