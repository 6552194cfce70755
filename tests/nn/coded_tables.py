"""Tables in few bits with random codes, to test modules with before anything has been fitted."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from lpgeom.nn.factors.coded import Coded


def arrays(
    n: int = 40,
    d: int = 7,
    r: int = 6,
    g: int = 3,
    seed: int = 0,
    widths: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6, 8),
) -> dict[str, Any]:
    """NumPy arrays as `Coded` has them; some groups may be empty, some without bits."""
    rng = np.random.default_rng(seed)
    bits = rng.choice(widths, size=(g, r)).astype(np.uint8)
    labels = rng.integers(0, g, n).astype(np.uint8)
    strides = -(-bits.astype(int).sum(1) // 8)
    nbytes = int((np.bincount(labels, minlength=g) * strides).sum())
    return {
        "basis": rng.normal(size=(d, r)).astype(np.float16),
        "means": rng.normal(size=(g, r)).astype(np.float16),
        "deviations": rng.uniform(0.5, 2.0, size=(g, r)).astype(np.float16),
        "levels": rng.normal(size=(len(set(bits.flat) - {0}), 256)).astype(np.float16),
        "scale_levels": np.exp(rng.normal(size=5)).astype(np.float32),
        "scale_codes": rng.integers(0, 5, n).astype(np.uint8),
        "labels": labels,
        "bits": bits,
        "codes": rng.integers(0, 256, nbytes).astype(np.uint8),
    }


def coded(dtype: torch.dtype = torch.float32, **sizes: Any) -> Coded:
    """The same as tensors, real ones of that dtype."""
    made: dict[str, Tensor] = {}
    for name, array in arrays(**sizes).items():
        tensor = torch.from_numpy(array)
        made[name] = tensor.to(dtype) if tensor.is_floating_point() else tensor
    return Coded(**made)
