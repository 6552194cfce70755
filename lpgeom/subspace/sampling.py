"""Row samples on which the search works, weighted so that costs are unbiased (theory 6)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lpgeom.rows.base import Array, Rows

SKETCH = 16
"""Columns of the random projection that estimates leverages: within a third, mostly, which is all
that sampling probabilities need."""


@dataclass(frozen=True)
class Sampler:
    """Draws row i with probability ``min(1, size * share_i)``, times ``prob_i^(-1/p)``."""

    rows: Rows
    share: Array
    p: float

    def draw(self, size: int, rng: np.random.Generator) -> Rows:
        """An independent sample of about `size` rows, in memory."""
        prob = np.minimum(1.0, size * self.share)
        chosen = np.flatnonzero(rng.random(prob.size) < prob)
        return self.rows.take(chosen, prob[chosen] ** (-1.0 / self.p))


def sampler(rows: Rows, whitener: Array, t: Array, p: float, rng: np.random.Generator) -> Sampler:
    """Half by estimated Lewis weights, half by the residuals t of a first subspace.

    The first half (one step of the Lewis iteration from the plain Gram, leverages by a random
    projection) covers every direction that some subspace may need; the second keeps the variance
    of the cost of good subspaces down. One pass, of `SKETCH` columns.
    """
    sketch = rng.standard_normal((whitener.shape[1], SKETCH)) / np.sqrt(SKETCH)
    w = rows.quadratic_form(whitener @ sketch) ** (p / 2.0)
    c = t ** (p / 2.0)
    share = 0.5 * w / w.sum()
    if c.sum() > 0.0:
        share = share + 0.5 * c / c.sum()
    return Sampler(rows, share, p)
