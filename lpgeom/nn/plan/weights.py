"""How much each row of an embedding counts, when nothing is known but the order of its rows."""

from __future__ import annotations

import numpy as np

from lpgeom.records.subspace import Array

FLOOR = 50


def frequency_weights(n: int, first: int | None = None, floor: int = FLOOR) -> Array:
    """Row weights ``1 / max(i - first, floor)``: how often token i occurs, by Zipf's law.

    For vocabularies in the order of their frequency, as WordPiece and BPE make them, after `first`
    rows of special tokens, bytes and single characters, which count as much as the `floor` most
    frequent words.

    Parameters
    ----------
    n : int
    first : int, optional
        min(1000, n // 30) if not given: BERT's vocabularies begin with 1000 special and unused
        tokens.
    floor : int
        The rank up to which all tokens count alike.

    Returns
    -------
    ndarray, shape (n,), float64

    Examples
    --------
    >>> from lpgeom.nn.plan.weights import frequency_weights
    >>> w = frequency_weights(30522)
    >>> float(w[0]), round(1 / float(w[30521]))
    (0.02, 29521)


    """
    start = min(1000, n // 30) if first is None else first
    return 1.0 / np.maximum(np.arange(n) - start, floor).astype(np.float64)
