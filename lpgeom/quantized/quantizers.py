"""Quantisers of a standard normal number: what they are, and the squared error that they leave.

A quantiser of b bits is a codebook of 256 values, of which a byte chooses one: its last b bits are
the component's own, the others those of the components before it. Scalar quantisers do not look at
the latter; a trellis does (`lpgeom.kernels.cpu.trellis`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from lpgeom.quantized.layout import WIDEST
from lpgeom.rows.base import Array

STATES = 1 << WIDEST

TRELLIS = (1.0, 0.28973, 0.07834, 0.02035, 0.00548, 0.001633, 0.000392, 0.0001286, 0.0000434)
"""Squared error of the trellis at 0 to 8 bits; rate-distortion theory allows 4^-b at best."""


def normal_density(x: Array) -> Array:
    """The standard normal density, 0 at infinity."""
    return np.exp(-0.5 * np.square(x)) / np.sqrt(2.0 * np.pi)


def cells(levels: Array) -> tuple[Array, Array]:
    """Probability and mean of a standard normal number in the cell nearest to each level."""
    edges = np.concatenate([[-np.inf], 0.5 * (levels[1:] + levels[:-1]), [np.inf]])
    chance = np.diff(ndtr(edges))
    return chance, -np.diff(normal_density(edges)) / np.maximum(chance, 1e-300)


def distortion(levels: Array) -> float:
    """Mean squared error of the nearest of `levels` to a standard normal number."""
    chance, means = cells(levels)
    return float(1.0 - chance @ (2.0 * means * levels - levels**2))


@cache
def lloyd_max(bits: int) -> Array:
    """The 2^bits levels of least error, ascending: Lloyd's iteration (Max 1960; Lloyd 1982)."""
    levels = np.linspace(-1.0, 1.0, 1 << bits) * min(1.5 * bits, 4.5)
    for _ in range(20_000):
        after = cells(levels)[1]
        done = np.abs(after - levels).max() < 1e-10
        levels = after
        if done:
            break
    return levels


@cache
def dead_zone(bits: int) -> Array:
    """The best 2^bits - 1 equal steps about 0, ascending: uniform with a dead zone around 0."""
    steps = np.arange(1 - (1 << bits - 1), 1 << bits - 1, dtype=np.float64)
    sizes = np.geomspace(0.01, 3.0, 400)
    best = min(sizes, key=lambda size: distortion(size * steps)) if bits > 1 else 1.0
    return best * steps


def _scalar(levels: Array) -> Array:
    """A codebook that does not look at the bits before."""
    size = 1 << (levels.size - 1).bit_length()
    return np.resize(np.append(levels, levels[-1:].repeat(size - levels.size)), STATES)


@cache
def _trellis() -> Array:
    """Codebooks of 1 to 8 bits: quantiles of a normal, hashed, then Lloyd's iteration on 8 10^5
    normal numbers (Marcellin and Fischer 1990 name the principle)."""
    with files(__package__).joinpath("codebooks.npy").open("rb") as file:
        books: Array = np.load(file, allow_pickle=False)
    return books


QUANTIZERS: dict[str, Callable[[int], tuple[Array, float]]] = {
    "trellis": lambda bits: (_trellis()[bits - 1], TRELLIS[bits]),
    "lloyd-max": lambda bits: (_scalar(lloyd_max(bits)), distortion(lloyd_max(bits))),
    "dead-zone": lambda bits: (_scalar(dead_zone(bits)), distortion(dead_zone(bits))),
}
"""Name -> (codebook of 256 values, squared error) at 1 to 8 bits."""


def codebooks(quantizer: str) -> NDArray[np.float32]:
    """The codebooks of a quantiser, by width: shape (9, 256), float16 numbers."""
    books = [QUANTIZERS[quantizer](b)[0] for b in range(1, WIDEST + 1)]
    found = np.concatenate([np.zeros((1, STATES)), books])
    return found.astype(np.float16).astype(np.float32)
