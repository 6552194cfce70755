"""Rows in few bits: a width for every component of every group of rows, in one basis for all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from lpgeom.nn.factors.held import Held

WIDEST = 8
"""Bits of a component, at most; also of the window that chooses a level."""

STATES = 1 << WIDEST
"""Levels of a codebook."""

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
        A codebook for each width that occurs, narrow ones first.
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
        """Entries of the basis, the levels and what goes with them; codes are none."""
        return sum(x.numel() for x in self.tensors().values() if x.is_floating_point())

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
        learned = ("basis", "means", "deviations", "levels")
        made = {name: _parameter(x, grad) for name, x in vars(self).items() if name in learned}
        return replace(self, **made)

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
        bits, labels = self.bits.long(), self.labels.long()
        order = torch.argsort(bits, dim=1, descending=True, stable=True)
        sums = torch.cumsum(bits.gather(1, order), 1)
        ends = torch.empty_like(sums).scatter(1, order, sums)
        strides = (bits.sum(1) + 7) // 8
        counts = torch.bincount(labels, minlength=g)
        # Rows sorted by group, stably: where each group begins, and the place of a row in it.
        sorted_ = torch.argsort(labels, stable=True)
        starts = torch.cumsum(counts, 0) - counts
        place = torch.empty_like(labels)
        place[sorted_] = torch.arange(len(labels), device=device) - starts[labels[sorted_]]
        begin = torch.cumsum(counts * strides, 0) - counts * strides
        offsets = begin[labels] + place * strides[labels]
        occurring = bits.unique()
        book = torch.searchsorted(occurring[occurring > 0], bits)
        seen = torch.clamp(ends, max=WIDEST)
        last = torch.clamp(ends - 1, min=0) // 8
        parts = (last, 8 * (last + 1) - ends, (1 << seen) - 1, STATES * book)
        where = torch.cat([torch.where(bits > 0, x, torch.zeros_like(x)) for x in parts], 1)
        narrow = len(self.codes) < 2**31
        return offsets.to(torch.int32 if narrow else torch.int64), where.to(torch.int32)

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
        if any(widths) and len(self.levels) != sum(b > 0 for b in widths):
            return f"{len(self.levels)} codebooks for widths {widths}"
        strides = (self.bits.long().sum(1) + 7) // 8
        needed = int((torch.bincount(self.labels.long(), minlength=g) * strides).sum())
        return "" if needed == len(self.codes) else f"{len(self.codes)} bytes for {needed}"


_BYTE = torch.uint8
_REAL = ("basis", "means", "deviations", "levels", "scale_levels")


def narrowed(values: Tensor) -> Tensor:
    """Numbers in float16 where it has them all, else as they are."""
    if not values.is_floating_point() or values.element_size() <= 2 or values.is_meta:
        return values
    half = values.detach().half()
    return half if torch.equal(half.to(values.dtype), values) else values


def _parameter(value: Tensor, grad: bool) -> nn.Parameter:
    return value if isinstance(value, nn.Parameter) else nn.Parameter(value, requires_grad=grad)
