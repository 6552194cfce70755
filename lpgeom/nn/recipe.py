"""``lpgeom.json``: which layers of a stored model are factors, and of what shape. No torch here."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lpgeom._version import __version__
from lpgeom.atomic import write_atomically
from lpgeom.nn.report import CompressionReport, _finite

FORMAT, VERSION = "lpgeom.nn", 1
NAME = "lpgeom.json"
KINDS = ("embedding", "linear", "parameter")

_LARGEST = 64 << 20
"""A recipe of more bytes than this is none."""

_TENSORS = re.compile(r"lpgeom-[0-9a-f]{8}\.safetensors")


class CheckpointError(ValueError):
    """A directory that does not hold what `save_pretrained` writes."""


@dataclass(frozen=True)
class Layer:
    """A module in factors.

    Attributes
    ----------
    name : str
        Path of the module in the model.
    kind : {"embedding", "linear", "parameter"}
    n, d, rank, subspaces : int
    options : dict
        Of the module: bias, padding_idx, ...; the shape of a bare parameter.
    """

    name: str
    kind: str
    n: int
    d: int
    rank: int
    subspaces: int = 1
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """How to rebuild a model around its stored tensors.

    Attributes
    ----------
    model : str
        Name of the model's class.
    library : str or None
        "transformers" where the class is found there by its name; None: the caller brings a model.
    layers : tuple of Layer
    aliases : dict
        Name of a tensor -> name under which it is stored.
    tensors, sha256 : str
        The file with the tensors, in the same directory, and its checksum.
    report : CompressionReport or None
    """

    model: str
    library: str | None
    layers: tuple[Layer, ...]
    aliases: dict[str, str]
    tensors: str = ""
    sha256: str = ""
    report: CompressionReport | None = None

    def write(self, directory: Path) -> None:
        """Write it into a directory; appears complete or not at all."""
        values = {
            "format": FORMAT,
            "version": VERSION,
            "lpgeom": __version__,
            "model": self.model,
            "library": self.library,
            "layers": [vars(layer) for layer in self.layers],
            "aliases": self.aliases,
            "tensors": self.tensors,
            "sha256": self.sha256,
            "report": None if self.report is None else self.report.to_dict(),
        }
        text = json.dumps(_finite(values), indent=1, allow_nan=False) + "\n"
        write_atomically(directory / NAME, lambda file: file.write(text.encode()))


def read_recipe(directory: str | os.PathLike[str]) -> Recipe:
    """Read and check a directory's recipe.

    Raises
    ------
    CheckpointError
        There is none, or it is of another kind, newer, or damaged.
    """
    path = Path(directory) / NAME
    if not Path(directory).is_dir():
        raise CheckpointError(f"{directory}: there is no such directory")
    if not path.is_file():
        raise CheckpointError(
            f"{directory}: no {NAME}; this is not a model saved by lpgeom.nn.save_pretrained"
        )
    if path.stat().st_size > _LARGEST:
        raise CheckpointError(f"{path}: larger than any recipe")
    try:
        values = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: damaged ({error})") from error
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a recipe of {FORMAT}")
    if values.get("version") != VERSION:
        raise CheckpointError(
            f"{path}: version {values.get('version')!r} of the format; this lpgeom {__version__} "
            f"reads version {VERSION} (written by lpgeom {values.get('lpgeom')!r})"
        )
    try:
        return _checked(values)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path}: damaged ({type(error).__name__}: {error})") from error


def _checked(values: Mapping[str, Any]) -> Recipe:
    layers = tuple(_layer(layer) for layer in values["layers"])
    if len({layer.name for layer in layers}) != len(layers):
        raise ValueError("a layer is there twice")
    tensors, digest, model = values["tensors"], values["sha256"], values["model"]
    if not isinstance(tensors, str) or not _TENSORS.fullmatch(tensors):
        raise ValueError(f"tensors in {tensors!r}")
    if not isinstance(digest, str) or not isinstance(model, str) or not model.isidentifier():
        raise ValueError("model or checksum is not a string")
    if values["library"] not in (None, "transformers"):
        raise ValueError(f"library {values['library']!r}")
    aliases = values["aliases"]
    if not all(isinstance(k, str) and isinstance(v, str) for k, v in aliases.items()):
        raise ValueError("aliases are not names")
    report = values.get("report")
    return Recipe(
        model,
        values["library"],
        layers,
        dict(aliases),
        tensors,
        digest,
        None if report is None else CompressionReport.from_dict(report),
    )


def _layer(values: Mapping[str, Any]) -> Layer:
    layer = Layer(**values)
    numbers = (layer.n, layer.d, layer.rank, layer.subspaces)
    if not all(type(number) is int and 0 < number < 2**62 for number in numbers):
        raise ValueError(f"sizes {numbers}")
    if not isinstance(layer.name, str) or layer.kind not in KINDS:
        raise ValueError(f"layer {layer.name!r} of kind {layer.kind!r}")
    if not isinstance(layer.options, dict):
        raise ValueError(f"options of {layer.name}")
    return layer
