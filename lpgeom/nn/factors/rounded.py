"""A weight entry by entry in a few bits, as tensors: packed codes, scales of groups, levels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lpgeom.nn.factors.coded import narrowed
from lpgeom.nn.factors.held import Held
from lpgeom.quantized.rounding import Rounding, packed

BLOCK = 1 << 22
"""Entries that are unpacked at a time."""


@dataclass(eq=False)
class Rounded(Held):
    """A matrix (n, d): ``scales[i, j // group] * levels[code of i, j]``.

    Attributes
    ----------
    codes : Tensor, shape (n, ceil(d bits / 8)), uint8
        Code j of a row has its bits ``j bits`` to ``(j + 1) bits - 1``, the least significant
        first.
    scales : Tensor, shape (n, ceil(d / group))
    levels : Tensor, shape (2^bits,)
    d, group : int
    shift : Tensor, shape (n,), or None
        What the bias of the layer gains as the weight is replaced, so that outputs keep their mean.
    """

    form = "entries"

    codes: Tensor
    scales: Tensor
    levels: Tensor
    d: int
    group: int
    shift: Tensor | None = None

    @staticmethod
    def of(found: Rounding, dtype: torch.dtype, device: Any = None) -> Rounded:
        """What was found for a weight, in its dtype and on its device."""
        real: dict[str, Any] = {"dtype": dtype, "device": device}
        return Rounded(
            torch.from_numpy(packed(found.codes, found.bits)).to(device),
            torch.from_numpy(found.scales).to(**real),
            torch.from_numpy(found.levels).to(**real),
            found.codes.shape[1],
            found.group,
        )

    @staticmethod
    def outlined(
        n: int, d: int, bits: int, group: int, dtype: torch.dtype | None, device: Any
    ) -> Rounded:
        """The tensors of zeros of that size."""
        real: dict[str, Any] = {"dtype": dtype, "device": device}
        return Rounded(
            torch.zeros(n, -(-d * bits // 8), dtype=torch.uint8, device=device),
            torch.zeros(n, -(-d // group), **real),
            torch.zeros(1 << bits, **real),
            d,
            group,
        )

    @property
    def bits(self) -> int:
        """Bits of a code."""
        return len(self.levels).bit_length() - 1

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d) of the matrix."""
        return len(self.codes), self.d

    @property
    def rank(self) -> int:
        """Rows lie anywhere."""
        return max(1, min(self.shape))

    @property
    def parameters(self) -> int:
        """Scales and levels; codes are none."""
        return self.scales.numel() + self.levels.numel()

    @property
    def first(self) -> Tensor:
        """The scales."""
        return self.scales

    @property
    def sizes(self) -> dict[str, Any]:
        """The options that make a module of these sizes."""
        return {"bits": self.bits, "group": self.group}

    @property
    def outline(self) -> dict[str, Any]:
        """The same, as a recipe has them."""
        return {"form": self.form, "sizes": self.sizes}

    def tensors(self) -> dict[str, Tensor]:
        """All of them, by name."""
        return {"codes": self.codes, "scales": self.scales, "levels": self.levels}

    def stored(self) -> dict[str, Tensor]:
        """All of them; numbers that float16 has are stored so."""
        return {name: narrowed(x) for name, x in self.tensors().items()}

    def without_data(self) -> Rounded:
        """The same on the meta device."""
        return replace(self, **{name: x.to("meta") for name, x in self.tensors().items()})

    def as_parameters(self, grad: bool = True) -> Rounded:
        """The same with Parameters for scales and levels."""
        scales, levels = (
            x if isinstance(x, nn.Parameter) else nn.Parameter(x, requires_grad=grad)
            for x in (self.scales, self.levels)
        )
        return replace(self, scales=scales, levels=levels)

    def fault(self) -> str:
        """What does not go together in it; "" if all does."""
        bits, n = self.bits, len(self.codes)
        if not 1 <= bits <= 8 or len(self.levels) != 1 << bits or self.group < 1:
            return f"{len(self.levels)} levels in groups of {self.group}"
        for name, shape in (
            ("codes", (n, -(-self.d * bits // 8))), ("scales", (n, -(-self.d // self.group))),
        ):  # fmt: skip
            if getattr(self, name).shape != shape:
                return f"{name} of shape {tuple(getattr(self, name).shape)}, not {shape}"
        real = self.scales.is_floating_point() and self.levels.is_floating_point()
        return "" if real and self.codes.dtype == torch.uint8 else "tensors of these dtypes"

    def dense(self) -> Tensor:
        """The matrix; gradients flow to scales and levels."""
        step = max(1, BLOCK // max(1, self.d))
        rows = [self._rows(slice(lo, lo + step)) for lo in range(0, len(self.codes), step)]
        return rows[0] if len(rows) == 1 else torch.cat(rows)

    def _rows(self, rows: slice) -> Tensor:
        index = unpacked(self.codes[rows], self.bits, self.d)
        values = self.levels.index_select(0, index.reshape(-1)).reshape(index.shape)
        scales = self.scales[rows]
        wide = scales[:, :, None].expand(*scales.shape, self.group)
        return values * wide.reshape(len(scales), -1)[:, : self.d]


def unpacked(codes: Tensor, bits: int, d: int) -> Tensor:
    """The codes (n, d) of packed rows, int32.

    Eight codes take `bits` bytes, and each of them lies in two bytes at most.
    """
    if bits == 8:
        return codes.int()
    n, blocks = len(codes), -(-d // 8)
    block = F.pad(codes, (0, blocks * bits - codes.shape[1])).reshape(n, blocks, bits).int()
    columns = []
    for k in range(8):
        byte, shift = divmod(k * bits, 8)
        word = block[..., byte]
        if shift + bits > 8:
            word = word | (block[..., byte + 1] << 8)
        columns.append((word >> shift) & ((1 << bits) - 1))
    return torch.stack(columns, -1).reshape(n, -1)[:, :d]
