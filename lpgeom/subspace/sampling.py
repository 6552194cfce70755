"""Row samples on which the search works, weighted so that costs are unbiased (theory 6)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lpgeom.geometry.lewis import gram_weights
from lpgeom.geometry.spectrum import Spectrum, spectrum
from lpgeom.rows.base import Array, Rows
from lpgeom.rows.vectors import drawn, entries, kept, placed

SKETCH = 16
"""Columns of the random projection that estimates leverages: within a third, mostly, which is all
that sampling probabilities need."""


@dataclass(frozen=True)
class Sampler:
    """Draws row i with probability ``min(1, size * share_i)``, times ``prob_i^(-1/p)``.

    `w` are rough Lewis weights of all rows (one step of the iteration from the plain Gram, with
    leverages estimated by a random projection).
    """

    rows: Rows
    share: Array
    w: Array
    p: float

    def draw(self, size: int, rng: np.random.Generator) -> Rows:
        """An independent sample of about `size` rows, in memory."""
        return self._drawn(size, rng)[0]

    def metric(self, size: int, rng: np.random.Generator) -> Array:
        """A whitener of ``M = A^T W^(1-2/p) A`` for the rough w, from a sample.

        ``sum (1/prob_i) w_i^(1-2/p) a_i a_i^T`` over the sample; its rows carry ``prob_i^(-1/p)``,
        which leaves ``(w_i / prob_i)^(1-2/p)`` as their weights.
        """
        sample, weights = self._drawn(size, rng)
        return spectrum(sample, placed(sample, gram_weights(weights, self.p))).whitener()

    def _drawn(self, size: int, rng: np.random.Generator) -> tuple[Rows, Array]:
        prob = np.minimum(1.0, size * self.share)
        chosen = drawn(prob, rng)
        prob = entries(prob, chosen)
        return self.rows.take(chosen, prob ** (-1.0 / self.p)), entries(self.w, chosen) / prob


def sampler(rows: Rows, pca: Spectrum, t: Array, p: float, rng: np.random.Generator) -> Sampler:
    """Half by estimated Lewis weights, half by the residuals t of a first subspace.

    The first half covers every direction that some subspace may need; the second keeps the
    variance of the cost of good subspaces down. One pass, of `SKETCH` columns.
    """
    sketch = rng.standard_normal((rows.shape[1], SKETCH)) / np.sqrt(SKETCH)
    # Turned into the eigenbasis: what is drawn must not depend on the signs of eigenvectors.
    lead = pca.U[:, pca.U.shape[1] - pca.rank :]
    w = rows.quadratic_form(pca.whitener() @ (lead.T @ sketch)) ** (p / 2.0)
    c = t ** (p / 2.0)
    share = 0.5 * w / float(w.sum())
    total = float(c.sum())
    if total > 0.0:
        share = share + 0.5 * c / total
    return Sampler(rows, kept(share), w, p)
