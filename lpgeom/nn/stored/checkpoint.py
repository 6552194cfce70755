"""``save_pretrained`` and ``load_pretrained``: a compressed model without its original weights."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from operator import methodcaller
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.random import fork_rng

from lpgeom.io import validation
from lpgeom.io.atomic import write_atomically
from lpgeom.io.checksum import sha256_of
from lpgeom.nn.factors.factored import FLOATING
from lpgeom.nn.factors.groups import Factors
from lpgeom.nn.model.replace import decompress
from lpgeom.nn.modules.low_rank import regroup
from lpgeom.nn.modules.quantized_embedding import dtype_name
from lpgeom.nn.report.report import CompressionReport
from lpgeom.nn.stored.announced import announce_in
from lpgeom.nn.stored.directory import is_ours
from lpgeom.nn.stored.filled import check, fill
from lpgeom.nn.stored.huggingface import METHOD, REFUSAL, config_from, text_of, transformers_class
from lpgeom.nn.stored.outline import compressed_modules, layer_of, layers_of, parted, prepare
from lpgeom.nn.stored.recipe import NAME, CheckpointError, Recipe, read_recipe, refused
from lpgeom.nn.stored.tensors import aliases_of, write_tensors

DENSE = re.compile(
    r"(model|pytorch_model|tf_model|flax_model)(\.[\w-]+?)?(-\d+-of-\d+)?(\.[\w-]+)?"
    r"\.(safetensors|bin|h5|msgpack)(\.index(\.[\w-]+)?\.json)?|model\.ckpt\.[\w.-]+"
)
"""Files from which transformers would load the weights that were there before."""


def save_pretrained(
    model: nn.Module,
    directory: str | os.PathLike[str],
    *,
    report: CompressionReport | None = None,
) -> None:
    """Write a compressed model: its tensors, a recipe, and a Hugging Face model's own config.

    Parameters
    ----------
    model : torch.nn.Module
        Any; layers that are not in factors are stored as they are, shared tensors once.
    directory : path-like
        Made if it is not there. Tensors go into a .safetensors file named after their checksum;
        then ``lpgeom.json``, which holds the configs too, is moved over an older one in a single
        step, so that at every moment the directory holds the old model or the new one, whole; of
        two that are saved at a time, the last. Of a Hugging Face model, files with other weights
        that transformers would load are removed. Other files stay.
    report : CompressionReport, optional
        Kept in the recipe; the tokenizer of one that trimmed it becomes tokenizer.json.

    Raises
    ------
    TypeError
        A model that is not a Module, tensors that .safetensors cannot hold (quantised, sparse).
    ValueError
        A model without data (meta).

    Examples
    --------
    >>> import tempfile, torch
    >>> from lpgeom import nn
    >>> def make():
    ...     return torch.nn.Sequential(
    ...         torch.nn.Embedding(300, 24), torch.nn.Linear(24, 2)
    ...     )
    >>> model = make()
    >>> report = nn.compress(model, ratio=0.5, progress=False)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     nn.save_pretrained(model, folder, report=report)
    ...     again = nn.load_pretrained(folder, model=make())
    >>> ids = torch.tensor([1, 2, 3])
    >>> torch.equal(again(ids), model(ids))
    True
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    state = model.state_dict(keep_vars=True)
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise TypeError(f"{name}: extra state of a module cannot be stored")
        if value.is_meta:
            raise ValueError(f"{name} has no data (it is on the meta device)")
    aliases = aliases_of(state) | parted(model)
    library = "transformers" if transformers_class(type(model).__name__, type(model)) else None
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    config = generation = None
    if library:
        model.config.architectures = [type(model).__name__]
        config, held = text_of(model.config), getattr(model, "generation_config", None)
        generation = "" if held is None else held.to_json_string()
    recipe = Recipe(
        type(model).__name__, library, tuple(layers_of(model)), aliases,
        report=report, config=config, generation=generation,
    )  # fmt: skip
    names = [name for name in state if name not in aliases]
    for name, module in compressed_modules(model):
        state |= {f"{name}.{key}": value for key, value in module.held.stored().items()}
    write(folder, names, ((name, state[name]) for name in names), lambda: recipe)
    if report is not None and report.tokenizer:
        data = report.tokenizer.encode()
        write_atomically(folder / "tokenizer.json", methodcaller("write", data))


def write(
    folder: Path,
    names: list[str],
    tensors: Iterable[tuple[str, Tensor]],
    recipe: Callable[[], Recipe],
) -> Recipe:
    """Write tensors as they come, then the recipe that makes them the directory's model.

    `recipe` is asked once all tensors are written; it may depend on what their making told.
    """
    with TemporaryDirectory(".tmp", ".lpgeom.", folder, ignore_cleanup_errors=True) as own:
        stage = Path(own)
        write_tensors(stage / "tensors", names, tensors)
        digest = sha256_of(stage / "tensors")
        file = f"lpgeom-{digest[:8]}.safetensors"
        os.rename(stage / "tensors", stage / file)
        written = replace(recipe(), tensors=file, sha256=digest)
        written.write(stage)
        # Copies for others to read; here the recipe's own count.
        config, generation = written.config, written.generation
        if config:
            ours = {"quant_method": METHOD, "tensors": file}
            # Whom nobody told of lpgeom looks for a file of that name, and says that there is none.
            said = {"quantization_config": ours, "transformers_weights": f"{REFUSAL}.safetensors"}
            config = json.dumps(json.loads(config) | said, indent=2) + "\n"
        texts = {"config.json": config, "generation_config.json": generation}
        copies = [(name, text.encode()) for name, text in texts.items() if text]
        for name, data in copies:
            write_atomically(stage / name, methodcaller("write", data))
        with _alone(folder) as alone:
            for name in (file, NAME, *(name for name, _ in copies)):
                os.replace(stage / name, folder / name)
            for old in list(folder.iterdir()):
                tensor_file = re.fullmatch(r"lpgeom-[0-9a-f]{8}\.safetensors", old.name)
                dense = written.library and DENSE.fullmatch(old.name)
                if dense or (tensor_file and alone and old.name != file):
                    old.unlink()
    return written


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Keep other writers of a directory waiting; False where the file system has no locks.

    There nothing may be removed: a writer beside this one may be about to name it.
    """
    alone = False
    with ExitStack() as last:
        with suppress(ImportError, OSError):
            import fcntl

            held = os.open(folder, os.O_RDONLY)
            last.callback(os.close, held)
            last.callback(os.fsync, held)
            fcntl.flock(held, fcntl.LOCK_EX)
            alone = True
        yield alone


def load_pretrained(
    directory: str | os.PathLike[str],
    *,
    model: nn.Module | None = None,
    device: Any = None,
    dtype: torch.dtype | None = None,
    dense: bool = False,
) -> nn.Module:
    """Read what `save_pretrained` or ``lpgeom compress`` wrote: the same model, bit for bit.

    Also what a Hugging Face model's own ``save_pretrained`` wrote, of a model compressed here.

    Parameters
    ----------
    directory : path-like
    model : torch.nn.Module, optional
        A freshly made model of the same structure, for classes that transformers does not have; its
        layers are replaced and its tensors filled in place. Its own weights do not matter.
    device : optional
        Where to put it; the CPU if not given.
    dtype : torch.dtype, optional
        Of its real numbers, in place of those it was saved with.
    dense : bool
        An ordinary model of dense layers, as `decompress` makes it: small files, and the speed and
        memory of the model they were made of.

    Returns
    -------
    torch.nn.Module
        In evaluation mode, in the dtypes it was saved with.

    Raises
    ------
    CheckpointError (a ValueError)
        A directory of another kind, an older or newer format, damaged or missing files, a `model`
        of another structure.
    ImportError
        A Hugging Face model without transformers.

    Notes
    -----
    Loading runs nothing that is in the files: JSON, .safetensors, and classes by their names in
    transformers. The tensors' checksum is compared.

    Examples
    --------
    >>> import tempfile
    >>> import torch
    >>> from lpgeom import nn
    >>> def make():
    ...     return torch.nn.Sequential(
    ...         torch.nn.Embedding(200, 16), torch.nn.Linear(16, 4)
    ...     )
    >>> model = make()
    >>> report = nn.compress(model, rank=4, progress=False)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     nn.save_pretrained(model, folder, report=report)
    ...     empty = make()
    ...     again = nn.load_pretrained(folder, model=empty)
    >>> ids = torch.tensor([3, 199])
    >>> torch.equal(again(ids), model(ids))
    True
    """
    folder = Path(directory)
    if dtype is not None:
        validation.check_choice("dtype", dtype, FLOATING)
    if model is None and is_ours(folder):
        from lpgeom.nn.stored.quantizer import opened

        model = opened(folder, dtype)
    else:
        model = _restored(folder, model, dtype)
    model.eval()
    announce_in(model)
    if dense:
        decompress(model)
    return model if device is None else model.to(device)


def _restored(folder: Path, model: nn.Module | None, dtype: torch.dtype | None) -> nn.Module:
    """The model, or a new one, with what a directory has."""
    recipe, state = _read(folder)
    recipe = _regrouped(folder, recipe, state)
    if dtype is not None:
        state = {k: x.to(dtype) if x.is_floating_point() else x for k, x in state.items()}
        own = {"dtype": dtype_name(dtype)}
        layers = (
            replace(layer, options=layer.options | own) if "dtype" in layer.options else layer
            for layer in recipe.layers
        )
        recipe = replace(recipe, layers=tuple(layers))
    if model is None:
        model = _rebuilt(folder, recipe, state)
    prepare(model, recipe.layers)
    check(model, state, recipe, folder)
    fill(model, state, recipe)
    return model


def _read(folder: Path) -> tuple[Recipe, dict[str, Tensor]]:
    """What one writer left: read again where another came between."""
    path = folder / NAME
    while True:
        if not path.is_file():
            read_recipe(folder)  # says so
        # Held open, so that whatever takes its place is another file, also if it says the same.
        with open(path, "rb") as held:
            recipe = read_recipe(folder)
            try:
                found = _contents(folder, recipe)
            except CheckpointError:
                if os.path.samestat(os.fstat(held.fileno()), os.stat(path)):
                    raise
                continue
            # What is read beside the two, of older versions, is vouched for by neither.
            if found[0] == recipe or os.path.samestat(os.fstat(held.fileno()), os.stat(path)):
                return found


def _contents(folder: Path, recipe: Recipe) -> tuple[Recipe, dict[str, Tensor]]:
    """A recipe with its configs, and its tensors."""
    path = folder / recipe.tensors
    with refused(path, SafetensorError, ValueError, OSError, RuntimeError):  # torch's, to map it
        if not path.is_file():
            raise CheckpointError(f"{folder}: {recipe.tensors} is missing")
        if sha256_of(path) != recipe.sha256:
            raise CheckpointError(f"{path}: damaged (its checksum is not the one in {NAME})")
        state = load_file(path)
    for key, name in (("config", "config.json"), ("generation", "generation_config.json")):
        other = folder / name
        if recipe.library and getattr(recipe, key) is None and other.is_file():
            with refused(other, ValueError, OSError):
                read: dict[str, Any] = {key: other.read_text(encoding="utf-8")}
                recipe = replace(recipe, **read)
    return recipe, state


def _regrouped(folder: Path, recipe: Recipe, state: dict[str, Tensor]) -> Recipe:
    """A recipe with groups, in place of equal subspaces stored as before; `state` gets them too.

    Raises
    ------
    CheckpointError
        Factors that do not go together.
    """
    aliases, layers = dict(recipe.aliases), []
    made: dict[str, Factors] = {}
    for layer in recipe.layers:
        if layer.subspaces == 1 or layer.counts is not None:
            layers.append(layer)
            continue
        before = [f"{layer.name}.{name}" for name in ("left", "right", "labels")]
        sources = [aliases.pop(name, name) for name in before]
        source = sources[0].removesuffix(".left")
        if sources != [f"{source}.{name}" for name in ("left", "right", "labels")]:
            raise CheckpointError(f"{folder}: {layer.name} shares only some of its factors")
        with refused(f"{folder}: {layer.name}", KeyError, ValueError):
            if source not in made:
                made[source] = regroup(state, f"{source}.")
        found = made[source]
        told = (layer.n, layer.d), layer.subspaces, min(layer.rank, layer.d)
        if told != (found.shape, len(found.lefts), found.rank):
            raise CheckpointError(f"{folder}: {layer.name} has factors of another size")
        layers.append(layer_of(layer.name, layer.kind, found, layer.options))
        if source != layer.name:
            aliases |= {f"{layer.name}.{x}": f"{source}.{x}" for x in found.tensors()}
    return replace(recipe, layers=tuple(layers), aliases=aliases)


def _rebuilt(folder: Path, recipe: Recipe, state: Mapping[str, Tensor]) -> nn.Module:
    """A model of the recipe's class from its config."""
    if recipe.library is None:
        raise CheckpointError(
            f"{folder}: {recipe.model} is not a class of transformers; pass "
            "load_pretrained(..., model=a new one)"
        )
    cls = transformers_class(recipe.model)
    if cls is None:
        raise CheckpointError(f"{folder}: this transformers has no model class {recipe.model}")
    if recipe.config is None:
        raise CheckpointError(f"{folder}: config.json is missing")
    # Whatever a class raises that is given another one's config.
    with refused(folder, Exception, what=f"its config makes no {recipe.model}"):
        config = config_from(cls.config_class, json.loads(recipe.config))
        with fork_rng(devices=[]):  # new weights, thrown away, disturb no seed
            with torch.device("meta"):
                outline = cls(config)
            # Before memory is taken for what a damaged config may ask for.
            prepare(outline, recipe.layers)
            check(outline, state, recipe, folder)
            # Tables that no file holds (positions as sines) are made in the dtype of the others.
            with _as_usual(_dtype_of(state, recipe)):
                made: nn.Module = cls(config)
        generation: Any = getattr(made, "generation_config", None)
        if generation is not None and recipe.generation:
            made.generation_config = type(generation).from_dict(json.loads(recipe.generation))
        return made


def _dtype_of(state: Mapping[str, Tensor], recipe: Recipe) -> torch.dtype:
    """The dtype of most numbers of what is not compressed."""
    own = tuple(f"{layer.name}." for layer in recipe.layers)
    sizes: Counter[torch.dtype] = Counter()
    for name, value in state.items():
        if value.is_floating_point() and not name.startswith(own):
            sizes[value.dtype] += value.numel()
    return max(sizes, key=lambda dtype: sizes[dtype], default=torch.get_default_dtype())


@contextmanager
def _as_usual(dtype: torch.dtype) -> Iterator[None]:
    """New tensors are of that dtype unless another is named."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
