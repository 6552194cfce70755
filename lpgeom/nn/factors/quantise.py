"""One weight into rows of few bits, and what they cost as stored."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lpgeom.nn.factors.coded import Coded
from lpgeom.nn.factors.factored import Factored, Spec
from lpgeom.nn.factors.seen import Seen
from lpgeom.quantized.allocation import allocated_widths
from lpgeom.quantized.approx import approx_quantized
from lpgeom.quantized.coder import overhead
from lpgeom.quantized.layout import WIDEST
from lpgeom.quantized.quantizers import QUANTIZERS
from lpgeom.quantized.record import QuantizedResult
from lpgeom.quantized.scales import Scales

LADDER = 4 * 256 - 16
"""A module has the scales as 256 numbers, where a `QuantizedResult` has two."""

GROUPS, SAMPLED = 12, 1 << 22
"""Groups, and entries, from which it is told what a number of bytes is worth."""

BITS = tuple(np.geomspace(0.25, 8.0, 26))
"""Bits an entry at which it is told."""


def least_bytes(n: int, d: int) -> int:
    """The fewest bytes that (n, d) rows can be given: labels and scales."""
    return 2 * n + LADDER + 16


def coded_rows(weight: Tensor, nbytes: int, spec: Spec) -> Factored:
    """A weight (n, d) in at most `nbytes` bytes, real numbers in its dtype and on its device.

    Raises
    ------
    ValueError
        Entries that are not finite, or fewer bytes than labels and scales take.
    """
    seen = Seen(weight, spec)
    narrow = seen.weight.dtype == torch.bfloat16 and not seen.weight.is_cuda
    rows: Any = _Widened(seen.weight) if narrow else seen.rows
    found = approx_quantized(
        rows, nbytes - LADDER, spec.p,
        row_weights=spec.row_weights, certify=bool(spec.certify), seed=spec.seed,
    )  # fmt: skip
    return Factored(
        factors=_coded(found, weight.dtype, weight.device),
        cost=found.cost,
        size=seen.cost_of_zero(),
        lower_bound=found.lower_bound if found.certified else None,
        truncation_cost=found.truncation_cost,
        int8_cost=found.int8_cost,
        int4_cost=found.int4_cost,
        svd_cost=None,
        failure_probability=found.failure_probability,
        method=found.quantizer,
        spectrum=(),
    )


def rows_curve(weight: Tensor, spec: Spec) -> list[tuple[int, float]]:
    """(bytes, share of the cost for p = 2 that is expected to be lost) for rising bytes.

    As `approx_quantized` shares bytes out, without its means and without coding anything: the
    energies of components in `GROUPS` groups of rows, of a sample of rows at most `SAMPLED` entries
    large. ``O(n d^2)``.
    """
    n, d = weight.shape
    rows = weight.detach()[:: max(1, n * d // SAMPLED)].double().cpu().numpy()
    omega = np.ones(n) if spec.row_weights is None else spec.row_weights
    omega = omega[:: max(1, n * d // SAMPLED)]
    rows = rows / (np.abs(rows).max() or 1.0) * np.sqrt(omega / omega.max())[:, None]
    squares = np.square(rows @ np.linalg.eigh(rows.T @ rows)[1])
    total = squares.sum()
    order = np.argsort(-squares.sum(axis=1), kind="stable")
    groups = max(1, min(GROUPS, n // 64))
    edges = np.unique(np.geomspace(max(1, len(rows) >> groups), len(rows), groups).astype(int))
    parts = np.split(order, edges[:-1])
    energy = np.array([squares[part].sum(axis=0) for part in parts])
    counts = np.rint(np.array([len(part) for part in parts]) * n / len(rows)).astype(np.int64)
    widths = tuple(range(1, WIDEST + 1))
    distortion = np.array([1.0, *(QUANTIZERS["trellis"](b)[1] for b in widths)])
    beside = overhead(n, d, d, len(parts), 0) + LADDER
    found = [(least_bytes(n, d), 1.0)]
    for bits in BITS:
        room = bits * n * d / 8.0 - beside
        if room > 0.0 and total > 0.0:
            own, _ = allocated_widths(energy, counts, room, distortion, widths)
            lost = float((energy * distortion[own]).sum() / total)
            found.append((int(room + beside), lost))
    return found


class _Widened:
    """A weight of bfloat16, which NumPy does not have, as what is in chunked storage: some rows at
    a time are read in float32, so that there is no second table."""

    dtype = np.dtype(np.float32)

    def __init__(self, weight: Tensor) -> None:
        self.weight, self.shape, self.chunks = weight, tuple(weight.shape), (64, weight.shape[1])

    def __getitem__(self, rows: slice) -> NDArray[np.float32]:
        found: NDArray[np.float32] = self.weight[rows].float().numpy()
        return found


def _coded(found: QuantizedResult, dtype: torch.dtype, device: torch.device) -> Coded:
    """A result's arrays as a module has them."""
    scales = Scales(*found.ladder).values(np.arange(256, dtype=np.uint8))
    real: dict[str, Any] = {
        name: torch.from_numpy(np.array(value)).to(device, dtype)
        for name, value in (
            ("basis", found.basis), ("means", found.means), ("deviations", found.deviations),
            ("levels", found.levels), ("scale_levels", scales.astype(np.float32)),
        )
    }  # fmt: skip
    whole = {
        name: torch.from_numpy(np.array(getattr(found, name))).to(device)
        for name in ("scale_codes", "labels", "bits", "codes")
    }
    return Coded(**real, **whole)
