"""Fewer tokens in a model that is dense: all that it has a row or a number of for each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from lpgeom.nn.plan.options import Options
from lpgeom.nn.plan.trim import renumbered

COUNTS = ("num_embeddings", "out_features", "nf", "vocab_size", "decoder_vocab_size")
"""What modules and configs call the number of tokens."""


@dataclass(frozen=True)
class Cut:
    """What became of a model.

    Attributes
    ----------
    axes : dict
        Names in the model's state, and along which axis tokens lie there.
    kept : Tensor of int64
        The old ids, in the order of the new ones.
    share : float
        Rows that there were, for each that there is.
    undo : callable
        Makes the model what it was.
    """

    axes: dict[str, int]
    kept: Tensor
    share: float
    undo: Callable[[], None]


def keep_tokens(model: nn.Module, ids: Mapping[int, int]) -> Cut:
    """Leave in a model only the tokens of some old ids, under new ones.

    The word embedding and the output layer lose rows, shared ones once, biases of tokens numbers;
    configs get the new ids of special tokens, and None for those that are gone.

    Raises
    ------
    TypeError
        A model that does not say what its word embedding is.
    ValueError
        More tokens than rows, or something else that has as many rows, which may be tokens or not.
    """
    get = getattr(model, "get_input_embeddings", None)
    embedding: Any = None if get is None else get()
    weight = getattr(embedding, "weight", None)
    if not isinstance(weight, Tensor) or weight.ndim != 2:
        raise TypeError("trim: the model has no get_input_embeddings() with a weight")
    n, d = weight.shape
    if max(ids) >= n:
        raise ValueError(f"trim: the tokenizer has ids up to {max(ids)}, the embedding {n} rows")
    output: Any = getattr(model, "get_output_embeddings", lambda: None)()
    tables = {id(weight), id(getattr(output, "weight", None))}
    kept = torch.tensor(sorted(ids), dtype=torch.int64)
    made: dict[int, Tensor] = {}
    found: list[tuple[dict[str, Any], str, Tensor]] = []
    axes: dict[str, int] = {}
    for path, store, name, value in _real(model):
        if n not in value.shape:
            continue
        full = f"{path}.{name}".lstrip(".")
        bias = name.endswith("bias") and value.numel() == n
        if n == d or not (bias or id(value) in tables):
            raise ValueError(f"trim: {full} has {n} rows too, which may be tokens or not")
        axes[full] = list(value.shape).index(n)
        if id(value) not in made:
            cut = value.detach().index_select(axes[full], kept.to(value.device))
            own = isinstance(value, nn.Parameter)
            made[id(value)] = nn.Parameter(cut, value.requires_grad) if own else cut
        found.append((store, name, value))
    holders = [*model.modules(), *_configs(model)]
    before = [(holder, dict(vars(holder))) for holder in holders]
    for store, name, value in found:
        store[name] = made[id(value)]
    for holder in holders:
        _renumber(vars(holder), n, ids, isinstance(holder, nn.Module))

    def undo() -> None:
        for store, name, value in found:
            store[name] = value
        for holder, values in before:
            vars(holder).update(values)

    return Cut(axes, kept, n / len(ids), undo)


@contextmanager
def trimming(
    model: nn.Module, options: Options, dry_run: bool
) -> Iterator[tuple[Options, Cut | None]]:
    """The model without the tokens that `options.trim` is about, and options for what is left; as
    it was, after an error or a dry run."""
    if options.trim is False:
        yield options, None
        return
    trimmed = options.trimmed()
    cut = keep_tokens(model, trimmed.ids)
    try:
        yield replace(options, trim=trimmed, tokenizer=trimmed.vocabulary), cut
    except BaseException:
        cut.undo()
        raise
    if dry_run:
        cut.undo()


def _real(model: nn.Module) -> Iterator[tuple[str, dict[str, Any], str, Tensor]]:
    """Every tensor of real numbers in its place, shared ones in each."""
    for path, module in model.named_modules(remove_duplicate=False):
        for store in (module._parameters, module._buffers):
            for name, value in list(store.items()):
                if value is not None and value.is_floating_point():
                    yield path, store, name, value


def _configs(model: nn.Module) -> list[Any]:
    """A model's configs, with those inside of others."""
    found: list[Any] = []
    ahead = [getattr(model, name, None) for name in ("config", "generation_config")]
    while ahead:
        config = ahead.pop()
        if hasattr(config, "to_dict") and not any(config is other for other in found):
            found.append(config)
            ahead += [value for value in vars(config).values() if hasattr(value, "to_dict")]
    return found


def _renumber(values: dict[str, Any], n: int, ids: Mapping[int, int], module: bool) -> None:
    """New ids and the new number in what a module or a config has."""
    for name, value in values.items():
        if name in COUNTS and value == n:
            values[name] = len(ids)
        elif name == "padding_idx" if module else name.endswith("_token_id"):
            values[name] = renumbered(value, ids)
