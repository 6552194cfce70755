"""``lpgeom.json``: which layers of a stored model are factors, and of what shape. No torch here."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lpgeom._version import __version__
from lpgeom.io.atomic import write_atomically
from lpgeom.io.strict_json import to_json
from lpgeom.nn.report.report import CompressionReport

FORMAT, VERSION = "lpgeom.nn", 3
NAME = "lpgeom.json"
SCALED, OLDEST = 2, 1
"""Files that need no more are of these versions, which an older lpgeom reads: they have factors
only, and those of the oldest scale nothing."""
SCALE = "scale"
"""A further option, of embeddings that multiply what they look up by another number than 1."""

_LARGEST = 64 << 20
"""A recipe, or a config, of more bytes than this is none."""

_TENSORS = re.compile(r"lpgeom-[0-9a-f]{8}\.safetensors")


DAMAGE = LookupError, TypeError, ValueError, AttributeError, ArithmeticError
"""What values of another kind than a recipe's raise."""


class CheckpointError(ValueError):
    """A directory that does not hold what `save_pretrained` writes."""


@contextmanager
def refused(where: Path | str, *kinds: type[Exception], what: str = "") -> Iterator[None]:
    """Errors of these kinds become a CheckpointError that says where, and what the matter is."""
    try:
        yield
    except CheckpointError:
        raise
    except kinds as error:
        text = f"{what} ({type(error).__name__}: {error})" if what else str(error)
        raise CheckpointError(f"{where}: {text}") from error


@dataclass(frozen=True)
class Layer:
    """A module in the place of a weight.

    Attributes
    ----------
    name : str
        Path of the module in the model.
    kind : {"embedding", "linear", "parameter"}
    n, d, rank, subspaces : int
        Sizes of the matrix, and the number of groups; rank is the largest of a group's.
    ranks, counts : tuple of int, or None
        The rank of each group of rows, and the number of its rows; None: there is one group.
    options : dict
        Options of the module: bias, padding_idx, ...; the shape of a bare parameter; in few bits
        the dtype that it computes in.
    form : str
        "factors", or one of those in few bits.
    sizes : dict, or None
        What makes the shapes of the tensors of a form in few bits.
    """

    name: str
    kind: str
    n: int
    d: int
    rank: int
    subspaces: int = 1
    options: dict[str, Any] = field(default_factory=dict)
    ranks: tuple[int, ...] | None = None
    counts: tuple[int, ...] | None = None
    form: str = "factors"
    sizes: dict[str, int] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values; what files did not have before only where it says something."""
        values = _with_infinities(vars(self))
        for name in ("ranks", "counts"):
            given = values.pop(name)
            if given is not None:
                values[name] = list(given)
        if self.sizes is None:
            del values["form"], values["sizes"]
        return values


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
    config, generation : str or None
        A Hugging Face model's config.json and generation_config.json ("": it has none). Here they
        change in one step with the tensors; None, in older files: they are those in the directory.
    """

    model: str
    library: str | None
    layers: tuple[Layer, ...]
    aliases: dict[str, str]
    tensors: str = ""
    sha256: str = ""
    report: CompressionReport | None = None
    config: str | None = None
    generation: str | None = None

    def write(self, directory: Path) -> None:
        """Write it into a directory; appears complete or not at all."""
        scales = any(SCALE in layer.options for layer in self.layers)
        few_bits = any(layer.sizes is not None for layer in self.layers)
        values = {
            "format": FORMAT,
            "version": VERSION if few_bits else SCALED if scales else OLDEST,
            "lpgeom": __version__,
            **vars(self),
            "layers": [layer.to_dict() for layer in self.layers],
            "report": None if self.report is None else self.report.to_dict(),
        }
        text = to_json(values, indent=1) + "\n"
        write_atomically(directory / NAME, lambda file: file.write(text.encode()))


def read_recipe(directory: str | os.PathLike[str]) -> Recipe:
    """Read and check a directory's recipe.

    Raises
    ------
    CheckpointError
        There is none, or it is of another kind, newer, or damaged.
    """
    path = Path(directory) / NAME
    values = read_json(path, "this is not a model saved by lpgeom.nn.save_pretrained")
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a recipe of {FORMAT}")
    if values.get("version") not in range(OLDEST, VERSION + 1):
        raise CheckpointError(
            f"{path}: version {values.get('version')!r} of the format; this lpgeom {__version__} "
            f"reads versions {OLDEST} to {VERSION} (written by lpgeom {values.get('lpgeom')!r})"
        )
    with refused(path, *DAMAGE, what="damaged"):
        return _checked(values)


def read_json(path: Path, otherwise: str) -> Any:
    """What a file of a model's directory says; `otherwise`, where it is missing, this is so."""
    if not path.parent.is_dir():
        raise CheckpointError(f"{path.parent}: there is no such directory")
    if not path.is_file():
        raise CheckpointError(f"{path.parent}: no {path.name}; {otherwise}")
    if path.stat().st_size > _LARGEST:
        raise CheckpointError(f"{path}: larger than any such file")
    with refused(path, ValueError, RecursionError, what="damaged"):
        return json.loads(path.read_bytes())


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(what)


def _checked(values: Mapping[str, Any]) -> Recipe:
    layers = tuple(checked_layer(layer) for layer in values["layers"])
    _require(len({layer.name for layer in layers}) == len(layers), "a layer is there twice")
    model, library, tensors = values["model"], values["library"], values["tensors"]
    _require(bool(_TENSORS.fullmatch(tensors)), f"tensors in {tensors!r}")
    _require(isinstance(values["sha256"], str) and model.isidentifier(), "model or checksum")
    _require(library in (None, "transformers"), f"library {library!r}")
    aliases = dict(values["aliases"])
    texts = all(isinstance(name, str) for pair in aliases.items() for name in pair)
    _require(texts, "aliases are not names")
    report, config, generation = (values.get(key) for key in ("report", "config", "generation"))
    _require(isinstance(config, str | None), "config is not a text")
    _require(isinstance(generation, str | None), "generation is not a text")
    report = None if report is None else CompressionReport.from_dict(report)
    digest = values["sha256"]
    return Recipe(model, library, layers, aliases, tensors, digest, report, config, generation)


def checked_layer(values: Mapping[str, Any]) -> Layer:
    """A layer as `Layer.to_dict` gives it; what raises `DAMAGE` is none."""
    layer = Layer(**_with_infinities(values))
    numbers = (layer.n, layer.d, layer.rank, layer.subspaces)
    whole = all(type(number) is int and 0 < number < 2**62 for number in numbers)
    _require(whole, f"sizes {numbers}")
    known = isinstance(layer.name, str) and layer.kind in OPTIONS
    _require(known, f"layer {layer.name!r} of kind {layer.kind!r}")
    _require(_possible(layer), f"options {layer.options!r} of {layer.name}")
    if layer.sizes is not None or layer.form != "factors":
        possible, given = SIZES[layer.form], layer.sizes or {}
        _require(possible.keys() == given.keys(), f"sizes of {layer.name}")
        for name, (least, most) in possible.items():
            size = given[name]
            fits = type(size) is int and least <= size <= most
            _require(fits, f"{name} {size!r} of {layer.name}")
    if layer.ranks is None and layer.counts is None:
        return layer
    ranks: Any = layer.ranks
    counts: Any = layer.counts
    sizes = all(
        type(values) is list
        and len(values) == layer.subspaces
        and all(type(value) is int and value >= 0 for value in values)
        for values in (ranks, counts)
    )
    fits = sizes and layer.rank == max(1, *ranks) <= layer.d and sum(counts) == layer.n
    _require(fits and layer.kind != "parameter", f"groups {ranks!r}, {counts!r} of {layer.name}")
    return replace(layer, ranks=tuple(ranks), counts=tuple(counts))


def _possible(layer: Layer) -> bool:
    """Whether a layer of its kind and size can have these options."""
    known, options = OPTIONS[layer.kind], layer.options
    known = known if layer.sizes is None else known | DTYPE
    complete = known.keys() - {SCALE} <= options.keys() <= known.keys()
    return complete and all(known[name](value, layer) for name, value in options.items())


def _is_shape(value: Any, layer: Layer) -> bool:
    whole = len(value) > 1 and all(type(size) is int and size > 0 for size in value)
    return whole and value[0] == layer.n and math.prod(value[1:]) == layer.d


def _is_padding(value: Any, layer: Layer) -> bool:
    return value is None or (type(value) is int and -layer.n <= value < layer.n)


def _is_flag(value: Any, layer: Layer) -> bool:
    return type(value) is bool


def _is_number(value: Any, layer: Layer) -> bool:
    return type(value) in (int, float) and not math.isnan(value)


OPTIONS: dict[str, dict[str, Callable[[Any, Layer], bool]]] = {
    "embedding": {
        "padding_idx": _is_padding,
        "max_norm": lambda value, layer: value is None or _is_number(value, layer),
        "norm_type": _is_number,
        "scale_grad_by_freq": _is_flag,
        "sparse": _is_flag,
        SCALE: lambda value, layer: _is_number(value, layer) and math.isfinite(value),
    },
    "linear": {"bias": _is_flag},
    "parameter": {"shape": _is_shape},
}
"""Kind of a layer -> its options, all but the scale always there, and what they may be."""

DTYPE: dict[str, Callable[[Any, Layer], bool]] = {
    "dtype": lambda value, layer: value in ("float64", "float32", "float16", "bfloat16"),
}
"""A further option of forms in few bits."""

SIZES: dict[str, dict[str, tuple[int, int]]] = {
    "entries": {"bits": (1, 8), "group": (1, 2**31)},
    "rows": {
        "groups": (1, 256), "components": (0, 2**31), "books": (0, 8), "scales": (1, 256),
        "nbytes": (0, 2**62),
    },
}  # fmt: skip
"""Form in few bits -> its sizes, and between what they may lie."""


def _with_infinities(layer: Mapping[str, Any]) -> dict[str, Any]:
    """A layer with "inf" for infinite options, which JSON has not, and the other way round."""
    options = dict(layer["options"])
    for key in ("max_norm", "norm_type"):
        value = options.get(key)
        if value in ("inf", math.inf):
            options[key] = math.inf if value == "inf" else "inf"
    return {**layer, "options": options}
