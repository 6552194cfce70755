"""Embeddings that multiply what they look up by a number, as BART's, M2M100's and Gemma's do.

Found by what they are, not by their names: a class that holds a weight and ``embed_scale``, a
number or a buffer of one, and whose forward gives ``F.embedding(ids, weight) * embed_scale`` bit
for bit on a small table of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

SCALE = "embed_scale"

_NUMBER = "scalar_embed_scale"
"""Where Gemma's classes hold the number as well: on the meta device the buffer has none."""

_ROWS = 16
_DTYPES = (torch.float32, torch.float64, torch.bfloat16)


@dataclass(frozen=True)
class Scaling:
    """How a class of embeddings scales.

    Attributes
    ----------
    kind : type
        The class.
    value : float
        What rows are multiplied by; nan where a model without data does not tell.
    rounded : bool
        Whether it is a buffer that is rounded to the weight's dtype first.
    """

    kind: type[nn.Embedding]
    value: float
    rounded: bool

    @property
    def known(self) -> bool:
        """Whether there is a number."""
        return not math.isnan(self.value)

    def applied(self, rows: Tensor, weight: Tensor) -> Tensor:
        """The rows scaled; `weight` is where they come from."""
        return rows * (_rounded(self.value, weight) if self.rounded else self.value)

    def dense(self, weight: nn.Parameter, options: Mapping[str, Any]) -> nn.Embedding:
        """An embedding of the class with that weight; what its own signature is is not known."""
        made = object.__new__(self.kind)
        nn.Embedding.__init__(made, *weight.shape, device="meta", **options)
        made.weight = weight
        if self.rounded:
            made.register_buffer(SCALE, _rounded(self.value, weight), persistent=False)
            setattr(made, _NUMBER, self.value)
        else:
            setattr(made, SCALE, self.value)
        return made


def scaling_of(module: nn.Module) -> Scaling | None:
    """How an embedding scales what it looks up; None if it does not, or does other things too."""
    kind = type(module)
    if not isinstance(module, nn.Embedding) or kind.forward is nn.Embedding.forward:
        return None
    usual = vars(nn.Embedding(1, 1, device="meta")).keys()
    more = {key for key in vars(module).keys() - usual if not key.startswith("_")}
    held = [*module._parameters, *module._buffers, *module._modules]
    if more - {SCALE, _NUMBER} or set(held) - {"weight", SCALE}:
        return None
    buffer = module._buffers.get(SCALE)
    number = vars(module).get(SCALE)
    if buffer is not None:
        if buffer.ndim or not buffer.is_floating_point():
            return None
        if SCALE not in module._non_persistent_buffers_set:
            return None
        if buffer.is_meta:
            number = vars(module).get(_NUMBER)
            if type(number) is not float:
                unknown = Scaling(kind, math.nan, True)
                return unknown if _does_only_that(module, replace(unknown, value=3.7)) else None
            buffer = torch.tensor(number, dtype=buffer.dtype, device="cpu")
        number = float(buffer)
    if type(number) not in (int, float) or not math.isfinite(number):
        return None
    found = Scaling(kind, float(number), buffer is not None)
    return found if _does_only_that(module, found) else None


def _does_only_that(module: nn.Embedding, scaling: Scaling) -> bool:
    """Whether the class does on small tables, in training and not, what `scaling` says."""
    line = torch.arange(_ROWS, device="cpu")
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        for table in _small(module, scaling):
            for ids in (line, line[[0, 3, 9, 3]].reshape(2, 2)):
                expected = scaling.applied(nn.Embedding.forward(table, ids), table.weight)
                try:
                    found = scaling.kind.forward(table, ids)
                except Exception:  # the code of any class
                    return False
                if not isinstance(found, Tensor) or found.dtype != expected.dtype:
                    return False
                if not torch.equal(found, expected):
                    return False
    return True


def _small(module: nn.Embedding, scaling: Scaling) -> Iterator[nn.Embedding]:
    """The module's like, with few rows of several dtypes, in both modes."""
    generator = torch.Generator(device="cpu").manual_seed(0)
    shape = (_ROWS, module.embedding_dim)
    values = torch.randn(shape, generator=generator, dtype=torch.float64, device="cpu")
    for dtype in _DTYPES:
        for training in (False, True):
            table = object.__new__(scaling.kind)
            table.__dict__.update(vars(module))
            weight = nn.Parameter(values.to(dtype, copy=True), requires_grad=False)
            table.__dict__.update(
                _parameters={"weight": weight},
                _buffers={SCALE: _rounded(scaling.value, weight)} if scaling.rounded else {},
                num_embeddings=_ROWS,
                padding_idx=None if module.padding_idx is None else 3,
                training=training,
            )
            yield table


def _rounded(value: float, weight: Tensor) -> Tensor:
    return torch.scalar_tensor(value, dtype=weight.dtype, device=weight.device)
