"""Matrices to try things on: seeded ones said exactly, and real ones from installed packages.

Nothing is downloaded. scikit-learn's data come with scikit-learn; the weights of all-MiniLM-L6-v2,
all-mpnet-base-v2 and wordllama lie inside packages whose tensor files are read directly, without
their code.

Imports io alone. Begin with `load`; ``generated.py`` has the seeded matrices, ``packaged.py`` those
from packages.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from numpy.typing import NDArray

from lpgeom.datasets.generated import Matrix, contaminated, heavy_tailed, power_law
from lpgeom.datasets.packaged import (
    MODEL,
    MPNET,
    MPNET_SHA256,
    TENSOR,
    MissingData,
    from_sklearn,
    minilm,
    minilm_ffn,
    minilm_path,
    mpnet_ffn,
    standardised,
    wordllama,
)

__all__ = [
    "MODEL",
    "MPNET",
    "MPNET_SHA256",
    "TENSOR",
    "Dataset",
    "MissingData",
    "contaminated",
    "describe",
    "heavy_tailed",
    "load",
    "minilm",
    "minilm_path",
    "names",
    "power_law",
]


@dataclass(frozen=True, eq=False)
class Dataset:
    """A matrix, and what is known about it.

    Attributes
    ----------
    name : str
    A : ndarray, shape (n, d)
        Rows are points.
    description : str
        One line.
    truth : ndarray, shape (d, k), or None
        Orthonormal basis of the subspace the inliers lie near, where there is one.
    seed : int or None
        None for data that are not random.

    Examples
    --------
    >>> from lpgeom import datasets
    >>> data = datasets.load("power-law", n=100, d=6)
    >>> data.name, data.A.shape, data.truth, data.seed
    ('power-law', (100, 6), None, 0)
    """

    name: str
    A: NDArray = field(repr=False)
    description: str
    truth: Matrix | None = field(default=None, repr=False)
    seed: int | None = None


def names() -> tuple[str, ...]:
    """Names that `load` knows.

    Returns
    -------
    tuple of str

    Examples
    --------
    >>> from lpgeom import datasets
    >>> "digits" in datasets.names()
    True
    """
    return tuple(_LOADERS)


def describe(name: str) -> str:
    """One line about a data set, without loading it.

    Parameters
    ----------
    name : str
        One of `names()`.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        An unknown name.

    Examples
    --------
    >>> from lpgeom import datasets
    >>> len(datasets.describe("digits").splitlines())
    1
    """
    return _known(name)[0]


def load(name: str, *, seed: int = 0, **options: Any) -> Dataset:
    """Load or generate a data set.

    Parameters
    ----------
    name : str
        One of `names()`.
    seed : int
        Of the generated ones; the others do not use it.
    **options
        Parameters of the generator: for "contaminated" those of `contaminated` (n, d, k, factor,
        fraction, noise), for "heavy-tailed" and "power-law" n and d.

    Returns
    -------
    Dataset

    Raises
    ------
    ValueError
        An unknown name.
    TypeError
        An option that the data set does not have.
    MissingData
        A package is missing; the error says which.

    Examples
    --------
    >>> from lpgeom import datasets
    >>> data = datasets.load("contaminated", seed=1, n=200, d=10, k=2)
    >>> data.A.shape, data.truth.shape
    ((200, 10), (10, 2))
    """
    description, loader = _known(name)
    seeded: dict[str, Any] = {"seed": seed} if name in _GENERATED else {}
    found = loader(**seeded, **options)
    A, truth = found if isinstance(found, tuple) else (found, None)
    return Dataset(name, A, description, truth, **seeded)


_Known = tuple[str, Callable[..., NDArray | tuple[NDArray, Matrix]]]
"""A line about a data set; what gives its rows, and the basis of the true subspace if known."""

_GENERATED: dict[str, _Known] = {
    "contaminated": (
        "inliers near a subspace, 5% of the rows ten times as long in random directions",
        contaminated,
    ),
    "heavy-tailed": (
        "multivariate t with 3 degrees of freedom and a power-law spectrum",
        heavy_tailed,
    ),
    "power-law": ("Gaussian rows with singular values like 1/j", power_law),
}
_PACKAGED: dict[str, _Known] = {
    "digits": (
        "scikit-learn's handwritten digits, 1797 x 64 pixels",
        partial(from_sklearn, "digits"),
    ),
    "breast-cancer": (
        "scikit-learn's breast cancer data, 569 x 30, columns in their own units",
        partial(from_sklearn, "breast_cancer"),
    ),
    "breast-cancer-standardised": ("the same with columns of mean 0 and variance 1", standardised),
    "minilm": ("word embedding of all-MiniLM-L6-v2, 30522 x 384", minilm),
    "minilm-ffn": ("feed-forward weight of layer 0 of all-MiniLM-L6-v2, 1536 x 384", minilm_ffn),
    "mpnet-ffn": (
        "feed-forward output weight of layer 5 of all-mpnet-base-v2, 768 x 3072, very heavy tails",
        mpnet_ffn,
    ),
    "wordllama": ("word embedding of wordllama (l2_supercat), 32000 x 256", wordllama),
}
_LOADERS = _GENERATED | _PACKAGED


def _known(name: str) -> _Known:
    if name not in _LOADERS:
        raise ValueError(f"there is no data set {name!r}; known: {', '.join(_LOADERS)}")
    return _LOADERS[name]
