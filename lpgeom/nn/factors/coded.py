"""Rows in few bits: a width for every component of every group of rows, in one basis for all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lpgeom.nn.factors.held import Held
from lpgeom.quantized.layout import WIDEST, layout
from lpgeom.quantized.quantizers import STATES, codebooks

LEARNED = ("basis", "means", "deviations", "levels")
"""What of a table is a Parameter."""

SIZES = ("groups", "components", "books", "scales", "nbytes")
"""What makes the shapes of a table's tensors beside n and d; "nbytes" is of the codes."""


@dataclass(eq=False)
class Coded(Held):
    """A table (n, d) as `approx_quantized` stores it: ``row = scale (y @ basis^T)``.

    y has a component for each column of the basis. That of a row of group c is
    ``means[c, j] + deviations[c, j] * level``, where the level is looked up by the byte that ends
    with the few bits that the row has for it, and ``means[c, j]`` where it has none.

    Attributes
    ----------
    basis : Tensor, shape (d, r)
    means, deviations : Tensor, shape (groups, r)
    levels : Tensor, shape (books, 256)
        A codebook for each width that occurs, narrow ones first; or none: those of a standard
        normal number then (`lpgeom.quantized.quantizers`), where a table is too small for its own.
    scale_levels : Tensor, shape (scales,)
    scale_codes, labels : Tensor, shape (n,), uint8
        Which of these is a row's scale, and its group.
    bits : Tensor, shape (groups, r), uint8
        The width of each component, 0 to 8.
    codes : Tensor, shape (nbytes,), uint8
        The rows of the first group in their order, then of the second; each takes whole bytes, its
        components follow one another in the order of falling width, the most significant bit first.
    """

    form = "rows"

    basis: Tensor
    means: Tensor
    deviations: Tensor
    levels: Tensor
    scale_levels: Tensor
    scale_codes: Tensor
    labels: Tensor
    bits: Tensor
    codes: Tensor

    @staticmethod
    def outlined(
        n: int, d: int, sizes: Mapping[str, int], dtype: torch.dtype | None, device: Any
    ) -> Coded:
        """Empty tensors of that size."""
        g, r, books, scales, nbytes = (sizes[name] for name in SIZES)
        real: dict[str, Any] = {"dtype": dtype, "device": device}
        whole: dict[str, Any] = {"dtype": torch.uint8, "device": device}
        return Coded(
            torch.empty(d, r, **real), torch.empty(g, r, **real), torch.empty(g, r, **real),
            torch.empty(books, STATES, **real), torch.empty(scales, **real),
            torch.zeros(n, **whole), torch.zeros(n, **whole), torch.zeros(g, r, **whole),
            torch.zeros(nbytes, **whole),
        )  # fmt: skip

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d) of the table."""
        return len(self.labels), len(self.basis)

    @property
    def rank(self) -> int:
        """Number of components."""
        return max(1, self.basis.shape[1])

    @property
    def parameters(self) -> int:
        """Entries of what can be learned; codes are none."""
        return sum(getattr(self, name).numel() for name in LEARNED)

    @property
    def first(self) -> Tensor:
        """The basis."""
        return self.basis

    @property
    def sizes(self) -> dict[str, Any]:
        """The options that make a module of these sizes."""
        counts = (*self.bits.shape, len(self.levels), len(self.scale_levels), len(self.codes))
        return dict(zip(SIZES, counts, strict=True))

    @property
    def outline(self) -> dict[str, Any]:
        """The same, as a recipe has them."""
        return {"form": self.form, "sizes": self.sizes}

    def tensors(self) -> dict[str, Tensor]:
        """All of them, by name."""
        return dict(vars(self))

    def stored(self) -> dict[str, Tensor]:
        """All of them; numbers that float16 has are stored so."""
        return {name: narrowed(x) for name, x in self.tensors().items()}

    def without_data(self) -> Coded:
        """The same on the meta device."""
        return Coded(**{name: x.to("meta") for name, x in self.tensors().items()})

    def as_parameters(self, grad: bool = True) -> Coded:
        """The same with Parameters for what can be learned."""
        made = {name: _parameter(getattr(self, name), grad) for name in LEARNED}
        return replace(self, **made)

    def usual_levels(self) -> Tensor:
        """Codebooks of a standard normal number for the widths that occur; empty where the table
        has its own."""
        if len(self.levels) or self.bits.is_meta:
            return self.levels[:0].detach()
        occurring = np.unique(self.bits.cpu().numpy())
        books = codebooks("trellis")[occurring[occurring > 0]]
        return torch.from_numpy(books).to(self.levels.device, self.levels.dtype)

    def index(self) -> tuple[Tensor, Tensor]:
        """Where bits are, derived from labels and bits; by the house's layout of packed rows.

        Returns
        -------
        offsets : Tensor, shape (n,), int32 or int64
            The first byte of each row.
        where : Tensor, shape (groups, 4 r), int32
            For each component: the last byte of the row that has bits of it, how far these are to
            be shifted, a mask, and where the codebook of its width begins.
        """
        g, r = self.bits.shape
        device = self.bits.device
        if self.bits.is_meta:
            made = torch.empty(len(self.labels), dtype=torch.int32, device=device)
            return made, torch.empty(g, 4 * r, dtype=torch.int32, device=device)
        bits, labels = self.bits.cpu().numpy(), self.labels.cpu().numpy()
        lay = layout(bits, np.bincount(labels, minlength=g))
        occurring = np.unique(bits)
        book = np.searchsorted(occurring[occurring > 0], bits)
        # A component without bits has the mask 0.
        parts = (lay.byte, lay.shift, lay.mask * (bits > 0), STATES * book)
        where = np.concatenate(parts, axis=1).astype(np.int32)
        narrow = np.int32 if lay.nbytes < 2**31 else np.int64
        offsets = torch.from_numpy(lay.addresses(labels).astype(narrow))
        return offsets.to(device), torch.from_numpy(where).to(device)

    def fault(self) -> str:
        """What does not go together in it; "" if all does."""
        n, d = self.shape
        g, r = self.bits.shape
        if not g or g > 256:
            return f"{g} groups"
        shapes = {
            "basis": (d, r), "means": (g, r), "deviations": (g, r), "scale_codes": (n,),
            "levels": (len(self.levels), STATES), "scale_levels": (len(self.scale_levels),),
        }  # fmt: skip
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                return f"{name} of shape {tuple(getattr(self, name).shape)}, not {shape}"
        for field in fields(self):
            value = getattr(self, field.name)
            wanted = value.is_floating_point() if field.name in _REAL else value.dtype is _BYTE
            if not wanted:
                return f"{field.name} of dtype {value.dtype}"
        if self.bits.is_meta:
            return ""
        if n and int(self.labels.max()) >= g:
            return f"labels up to {int(self.labels.max())} for {g} groups"
        if n and int(self.scale_codes.max()) >= len(self.scale_levels):
            return f"scale codes up to {int(self.scale_codes.max())}"
        widths = self.bits.unique().tolist()
        if widths and widths[-1] > WIDEST:
            return f"components of {widths[-1]} bits"
        if len(self.levels) not in (0, sum(b > 0 for b in widths)) and len(self.codes):
            return f"{len(self.levels)} codebooks for widths {widths}"
        labels = self.labels.cpu().numpy()
        needed = layout(self.bits.cpu().numpy(), np.bincount(labels, minlength=g)).nbytes
        return "" if needed == len(self.codes) else f"{len(self.codes)} bytes for {needed}"


_BYTE = torch.uint8
_REAL = (*LEARNED, "scale_levels")


def narrowed(values: Tensor) -> Tensor:
    """Numbers in the narrowest of float16 and float32 that has them all, else as they are."""
    if not values.is_floating_point() or values.is_meta:
        return values
    for dtype in (torch.float16, torch.float32):
        narrow = values.detach().to(dtype)
        if dtype.itemsize < values.element_size() and torch.equal(narrow.to(values.dtype), values):
            return narrow
    return values


def _parameter(value: Tensor, grad: bool) -> nn.Parameter:
    if isinstance(value, nn.Parameter):
        return value
    # Where there is nothing to learn no optimizer and no DDP shall wait for a gradient.
    return nn.Parameter(value, requires_grad=grad and value.numel() > 0)
