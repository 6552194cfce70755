"""A scale for every row in one byte: zero, or one of 255 sizes in equal ratios."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lpgeom.quantized.layout import Bytes
from lpgeom.rows.base import Array

LEVELS = 255


@dataclass(frozen=True)
class Scales:
    """Code 0 is the scale 0, code 1 + i is ``least * exp(i * step)``."""

    least: float
    step: float

    @classmethod
    def of(cls, values: Array) -> Scales:
        """A ladder from the least positive of the values to the largest."""
        positive = values[values > 0.0]
        if not positive.size:
            return cls(1.0, 0.0)
        low, high = float(positive.min()), float(positive.max())
        return cls(low, (math.log(high) - math.log(low)) / (LEVELS - 1))

    def codes(self, values: Array) -> Bytes:
        """The nearest step of the ladder; what is positive stays so."""
        found = np.zeros(values.shape, dtype=np.uint8)
        positive = values > 0.0
        steps = np.log(values[positive]) - math.log(self.least)
        if self.step > 0.0:
            found[positive] = 1 + np.clip(np.rint(steps / self.step), 0, LEVELS - 1)
        else:
            found[positive] = 1
        return found

    def values(self, codes: Bytes) -> Array:
        """The scales that codes stand for, in float64."""
        # Through logarithms, which do not overflow between the ends.
        ladder = np.exp(math.log(self.least) + self.step * np.arange(LEVELS))
        return np.concatenate([[0.0], ladder])[codes]
