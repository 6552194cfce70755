"""A Hugging Face model as it lies in a directory: structure, tensors one at a time, other files."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.random import fork_rng

from lpgeom.nn.stored.converted import converted
from lpgeom.nn.stored.huggingface import METHOD, config_from, transformers_class
from lpgeom.nn.stored.recipe import NAME, CheckpointError, read_json, refused
from lpgeom.nn.stored.tensors import DTYPES, aliases_of

WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx", ".ot",
           ".gguf", ".index.json")  # fmt: skip
"""Endings of files that hold weights; the others are copied."""

RENAMED = ((".weight", ".gamma"), (".bias", ".beta"))
"""Ends of names, and what old checkpoints of layer norms call them."""


def structure(source: Path) -> nn.Module:
    """The model of a directory's config, without data."""
    if (source / NAME).is_file() or is_ours(source):
        raise CheckpointError(f"{source}: is compressed already (its config or {NAME} says so)")
    path = source / "config.json"
    values = read_json(path, "not a Hugging Face model's directory")
    with refused(path, AttributeError, what="damaged"):
        names, kind = values.get("architectures") or [], values.get("model_type")
    transformers_class("PreTrainedModel")  # says what to install
    from transformers import CONFIG_MAPPING, AutoModel

    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        raise CheckpointError(f"{path}: transformers knows no model_type {kind!r}")
    # Whatever classes raise that are given another one's config.
    what = "makes no model"
    with refused(path, Exception, what=what), torch.device("meta"), fork_rng(devices=[]):
        config = config_from(CONFIG_MAPPING[kind], values)
        if not names:
            return AutoModel.from_config(config)
        cls = transformers_class(str(names[0]))
        if cls is None:
            raise CheckpointError(
                f"{path}: transformers has no model class {names[0]!r} (code that comes with a "
                "model is not run)"
            )
        return cls(config)


def is_ours(folder: Path) -> bool:
    """Whether the config of a directory says of its model's layers what they are."""
    path = folder / "config.json"
    values = read_json(path, "") if path.is_file() else {}
    said = values.get("quantization_config") if isinstance(values, dict) else None
    return isinstance(said, dict) and said.get("quant_method") == METHOD and "layers" in said


class Stored:
    """Tensors by name, read one at a time.

    Attributes
    ----------
    outline : dict
        Name -> a tensor of its shape and dtype, without data.
    """

    def __init__(self, opened: Mapping[str, Any]) -> None:
        self._opened = opened
        self.outline = {name: _outline(value, name) for name, value in opened.items()}
        self._made: dict[str, Callable[[], Tensor]] = {}
        self._axes: dict[str, int] = {}
        self._kept: Any = None

    def tensor(self, key: str) -> Tensor:
        """One tensor, in memory."""
        value = self._made[key]() if key in self._made else self._read(key)
        axis = self._axes.get(key)
        return value if axis is None else value.index_select(axis, self._kept)

    def _read(self, key: str) -> Tensor:
        value = self._opened[key]
        return value if isinstance(value, Tensor) else value.get_tensor(key)

    def named_as_in(self, model: nn.Module) -> None:
        """Have the tensors under the names that a model of transformers gives them."""
        made = converted(model, self.outline, self._read)
        if made:
            self.outline = {name: outline for name, (outline, _) in made.items()}
            self._made = {name: read for name, (_, read) in made.items()}

    def add(self, tensors: Mapping[str, Tensor]) -> None:
        """Further tensors, which are in memory."""
        self._made |= {name: lambda x=x: x for name, x in tensors.items()}  # type: ignore[misc]
        self.outline |= {name: x.to("meta") for name, x in tensors.items()}

    def keep(self, axes: Mapping[str, int], kept: Tensor) -> None:
        """From now on only some places along an axis of some tensors."""
        self._axes, self._kept = dict(axes), kept
        for key, axis in axes.items():
            shape = list(self.outline[key].shape)
            shape[axis] = len(kept)
            self.outline[key] = self.outline[key].new_empty(shape)

    def sizes(
        self, model: nn.Module, keys: Mapping[str, str]
    ) -> tuple[dict[str, Tensor], tuple[int, int]]:
        """A model's tensors by name, shared ones once, without data; how many parameters they
        have, and bytes."""
        state = model.state_dict(keep_vars=True)
        shared = aliases_of(state)
        found = {name: self.outline[keys[name]] for name in state if name not in shared}
        kept = (x.numel() for name, x in found.items() if isinstance(state[name], nn.Parameter))
        return found, (sum(kept), sum(x.nbytes for x in found.values()))


def _outline(value: Any, key: str) -> Tensor:
    """The tensor, or the one of that name in an open file, without data."""
    if isinstance(value, Tensor):
        return value.to("meta")
    part = value.get_slice(key)
    dtype = _DTYPES.get(part.get_dtype(), torch.uint8)
    return torch.empty(part.get_shape(), dtype=dtype, device="meta")


_DTYPES = {name: dtype for dtype, name in DTYPES.items()}


@contextmanager
def open_tensors(source: Path, weights: str | None) -> Iterator[Stored]:
    """The tensors of a directory, open while the context lasts."""
    opened: dict[str, Any] = {}
    with ExitStack() as stack:
        for path in _weights_of(source) if weights is None else _named(source / weights):
            if not path.is_file():
                raise CheckpointError(f"{path}: there is no such file")
            if path.suffix != ".safetensors":
                opened |= _unpickled(path)
                continue
            with refused(path, SafetensorError, OSError):
                file = stack.enter_context(safe_open(path, framework="pt"))
            opened |= dict.fromkeys(file.keys(), file)
        yield Stored(opened)


def _named(path: Path) -> list[Path]:
    """The file that the call names, or those that it is an index of."""
    name = path.name
    if not name.endswith(".index.json") or not path.is_file():
        return [path]
    return _shards(path, ".bin" if name.endswith(".bin.index.json") else ".safetensors")


def _weights_of(source: Path) -> list[Path]:
    """The .safetensors files of a directory."""
    index = source / "model.safetensors.index.json"
    if (source / "model.safetensors").is_file():
        return [source / "model.safetensors"]
    if index.is_file():
        return _shards(index)
    kinds = ("pytorch_model.bin.index.json", ".bin", ".pt", ".pth")
    pickles = sorted(p.name for p in source.iterdir() if p.name.endswith(kinds))
    pickles.sort(key=lambda name: not name.endswith(".json"))
    hint = (
        f"; {pickles[0]} is a pickle, which can run code: name it with --weights to read it "
        "with torch's weights_only"
        if pickles
        else ""
    )
    raise CheckpointError(f"{source}: no model.safetensors{hint}")


def _shards(index: Path, suffix: str = ".safetensors") -> list[Path]:
    with refused(index, ValueError, KeyError, AttributeError, TypeError, what="damaged"):
        names = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
    paths = [index.parent / str(name) for name in names]
    for path in paths:
        if path.parent != index.parent or path.suffix != suffix or not path.is_file():
            raise CheckpointError(f"{index}: names {path.name}, which is not there")
    return paths


def _unpickled(path: Path) -> dict[str, Tensor]:
    """A pickle of tensors, read by torch's restricted unpickler."""
    # Before 2.6 a file could make even that one run code (CVE-2025-32434). pip's lower bound does
    # not hold for a torch that was there before.
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < (2, 6):
        raise CheckpointError(
            f"{path}: a pickle, which only torch 2.6 and newer read safely (this is "
            f"{torch.__version__}): install a newer torch, or pass a .safetensors file"
        )
    try:
        values = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # whatever the restricted unpickler raises
        raise CheckpointError(f"{path}: {str(error).splitlines()[0]}") from error
    if not isinstance(values, Mapping) or not all(isinstance(v, Tensor) for v in values.values()):
        raise CheckpointError(f"{path}: not a mapping from names to tensors")
    return dict(values)


def keys_of(model: nn.Module, stored: Stored, source: Path) -> dict[str, str]:
    """Name in the model -> name in the checkpoint, for every tensor of the model.

    A checkpoint of a bare model lacks the prefix that a model with a head puts before its names,
    and the other way round; tied tensors are stored under one of their names. What is then missing
    is looked for as transformers does, whose models have other names than their files.
    """
    found, missing = _found(model, stored, source)
    if missing:
        stored.named_as_in(model)
        found, missing = _found(model, stored, source)
    if missing and set(missing) <= set(getattr(model, "_keys_to_ignore_on_save", None) or ()):
        stored.add(_computed(model, missing))
        found |= {name: name for name in missing}
    elif missing:
        raise CheckpointError(
            f"{source}: {type(model).__name__} needs {len(missing)} tensors that are not there, "
            f"such as {missing[0]}"
        )
    unused = stored.outline.keys() - set(found.values())
    unused = {name for name in unused if not name.endswith("position_ids")}
    if unused:
        warnings.warn(
            f"{len(unused)} tensors of the checkpoint are not part of {type(model).__name__} and "
            f"are left out, such as {min(unused)}",
            stacklevel=3,
        )
    return found


def _computed(model: nn.Module, names: list[str]) -> dict[str, Tensor]:
    """Tensors that no file holds, as the class makes them: positions as sines."""
    with fork_rng(devices=[]):
        made: dict[str, Tensor] = type(model)(model.config).state_dict()
    return {name: made[name].clone() for name in names}


def _found(model: nn.Module, stored: Stored, source: Path) -> tuple[dict[str, str], list[str]]:
    """What `keys_of` gives, and the names of what is not there."""
    state = model.state_dict(keep_vars=True)
    prefix = getattr(model, "base_model_prefix", "") + "."
    shared: dict[int, list[str]] = {}
    for name, tensor in state.items():
        shared.setdefault(id(tensor), []).append(name)
    found: dict[str, str] = {}
    missing = []
    for name, tensor in state.items():
        names = [name, *shared[id(tensor)]]
        names += [n.removeprefix(prefix) for n in names] + [prefix + n for n in names]
        names += [
            n.removesuffix(new) + old for n in names for new, old in RENAMED if n.endswith(new)
        ]
        key = next((n for n in names if n in stored.outline), None)
        if key is None:
            missing.append(name)
        elif (shape := stored.outline[key].shape) != tensor.shape:
            raise CheckpointError(
                f"{source}: {key} has shape {tuple(shape)}, {type(model).__name__} wants "
                f"{tuple(tensor.shape)}"
            )
        else:
            found[name] = key
    return found, missing


def copy_others(source: Path, target: Path) -> None:
    """Copy everything but the model's weights, hidden files and links that lead out of it.

    A snapshot in the hub's cache consists of links into the blobs beside it, which are its own.
    """
    root, left = source.resolve(), []
    blobs = root.parent.parent / "blobs" if root.parent.name == "snapshots" else root

    def ignored(folder: str, names: list[str]) -> list[str]:
        paths = [Path(folder) / name for name in names]
        out = [path.name for path in paths if path.is_symlink() and not inside(path.resolve())]
        left.extend(out)
        weights = () if _is_module(Path(folder)) and Path(folder) != source else WEIGHTS
        return [name for name in names if name.startswith(".") or name.endswith(weights)] + out

    def inside(path: Path) -> bool:
        return path.is_file() and not {root, blobs}.isdisjoint(path.parents)

    shutil.copytree(source, target, ignore=ignored, dirs_exist_ok=True)
    if left:
        warnings.warn(
            f"{source}: {len(left)} links that lead out of it are not copied, such as {left[0]}",
            stacklevel=3,
        )


def _is_module(folder: Path) -> bool:
    """Whether a folder beside the model is a module of its own: a pooling, a dense layer.

    Others (onnx, openvino, a checkpoint of training) hold the same model in another form.
    """
    try:
        values = read_json(folder / "config.json", "")
    except CheckpointError:
        return False
    return isinstance(values, dict) and "model_type" not in values
