"""Rows in few bits: what embeddings and output layers that hold a `Coded` table share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lpgeom.nn.factors.coded import Coded
from lpgeom.nn.modules.compressed import Compressed

BLOCK = 1 << 22
"""Entries of the table that are made at a time where all of it is wanted."""


class Quantized(Compressed):
    """A table (n, d) whose rows are kept in few bits.

    Basis, means, deviations and levels are Parameters; what picks among them, the codes and what
    says where they are, are buffers of uint8. Gradients go straight through to the Parameters.
    """

    how = "quantised"

    basis: Tensor
    bits: Tensor
    codes: Tensor
    deviations: Tensor
    labels: Tensor
    levels: Tensor
    means: Tensor
    offsets: Tensor
    scale_codes: Tensor
    scale_levels: Tensor
    usual: Tensor
    where: Tensor

    def take(self, held: Coded) -> None:
        """Use these tensors as they are."""
        fault = held.fault()
        if fault:
            raise ValueError(f"a quantised table cannot have {fault}")
        for name, tensor in held.as_parameters().tensors().items():
            if isinstance(tensor, nn.Parameter):
                self.register_parameter(name, tensor)
            else:
                self.register_buffer(name, tensor)
        self.derive()

    def derive(self) -> None:
        """Derive from labels and widths where the bits of each row are; to be called after them."""
        offsets, where = self.held.index()
        self.register_buffer("offsets", offsets, persistent=False)
        self.register_buffer("where", where, persistent=False)
        self.register_buffer("usual", self.held.usual_levels(), persistent=False)

    @property
    def held(self) -> Coded:
        """The table's tensors."""
        return Coded(**{name: getattr(self, name) for name in Coded.__dataclass_fields__})

    @property
    def weight(self) -> Tensor:
        """The dense table (n, d), made at each access."""
        parts = [self.rows(ids) for ids in self._blocks()]
        return torch.cat(parts) if parts else self.basis.new_empty(0, len(self.basis))

    def rows(self, ids: Tensor) -> Tensor:
        """Rows (m, d) of ids (m,): ``scale (y @ basis^T)``."""
        return F.linear(self.coordinates(ids), self.basis).to(self.basis.dtype)

    def times(self, x: Tensor) -> Tensor:
        """``x W^T``, (..., d) to (..., n), without making W: ``(x basis) y^T``."""
        inner = torch.matmul(x, self.basis)
        parts = [F.linear(inner, self.coordinates(ids).to(inner.dtype)) for ids in self._blocks()]
        return torch.cat(parts, -1)

    def coordinates(self, ids: Tensor) -> Tensor:
        """Rows of ``scale y`` (m, r): gathers of integers and one of levels."""
        group = self.labels.index_select(0, ids).int()
        means = self.means.index_select(0, group)
        scale = self.scale_levels.index_select(0, self.scale_codes.index_select(0, ids).int())
        if not len(self.codes):
            return means * scale[:, None]
        last, shift, mask, start = self.where.index_select(0, group).chunk(4, 1)
        at = self.offsets.index_select(0, ids)[:, None] + last
        # At most 8 bits, which lie in two bytes; where a row has none before, the mask takes it.
        end = at.clamp(max=len(self.codes) - 1)
        high, low = (
            self.codes.index_select(0, place.reshape(-1)).reshape(at.shape).int()
            for place in ((end - 1).clamp(min=0), end)
        )
        index = (((high << 8) | low) >> shift) & mask
        books = (self.levels if len(self.levels) else self.usual).flatten()
        levels = books.index_select(0, (index + start).reshape(-1)).reshape(at.shape)
        # A component without bits has the mask 0.
        deviations = self.deviations.index_select(0, group) * (mask > 0)
        return (levels * deviations + means) * scale[:, None]

    def _blocks(self) -> Iterator[Tensor]:
        """The ids of all rows, some at a time."""
        n, d = len(self.labels), len(self.basis)
        step = max(1, BLOCK // max(1, d))
        for lo in range(0, n, step):
            yield torch.arange(lo, min(n, lo + step), device=self.labels.device)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        """Load, also what was quantised to other sizes."""
        held = self.held.tensors()
        given = {name: state_dict.get(f"{prefix}{name}") for name in held}
        if all(isinstance(value, Tensor) for value in given.values()):
            other = Coded(**given)
            if not other.fault() and other.shape == self.held.shape:
                for name, tensor in held.items():
                    if tensor.shape != given[name].shape:
                        tensor.data = tensor.new_empty(given[name].shape)
        super()._load_from_state_dict(state_dict, prefix, *args)
        fault = self.held.fault()
        if fault:
            args[-1].append(f"{prefix}codes: a quantised table cannot have {fault}")
        else:
            self.derive()

    def said(self) -> str:
        """The sizes, as print shows them."""
        g, r = self.bits.shape
        share = 8.0 * self.held.nbytes / max(1, len(self.labels) * len(self.basis))
        return f"{share:.3g} bits an entry, groups={g}, components={r}"
