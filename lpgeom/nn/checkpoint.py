"""``save_pretrained`` and ``load_pretrained``: a compressed model without its original weights."""

from __future__ import annotations

import math
import os
import secrets
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from lpgeom.nn.embedding import LowRankEmbedding
from lpgeom.nn.linear import LowRankLinear
from lpgeom.nn.mixed import PLACES, MixedRank, are_places
from lpgeom.nn.mixed_embedding import MixedRankEmbedding
from lpgeom.nn.mixed_linear import MixedRankLinear
from lpgeom.nn.parameter import LowRankParameter
from lpgeom.nn.recipe import (
    EMBEDDING_OPTIONS,
    NAME,
    CheckpointError,
    Layer,
    Recipe,
    read_recipe,
)
from lpgeom.nn.report import CompressionReport
from lpgeom.nn.sites import FACTORED, kind_of
from lpgeom.nn.tensors import TensorWriter, aliases_of, sha256_of


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
        then ``lpgeom.json``, which holds the config too, is moved over an older one in a single
        step, so that at every moment the directory holds the old model or the new one. Other files
        stay.
    report : CompressionReport, optional
        Kept in the recipe.

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
    >>> make = lambda: torch.nn.Sequential(torch.nn.Embedding(300, 24), torch.nn.Linear(24, 2))
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
    aliases = aliases_of(state)
    library = "transformers" if transformers_class(type(model).__name__, type(model)) else None
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    others: list[Any] = []
    config = None
    if library:
        model.config.architectures = [type(model).__name__]
        config = model.config.to_json_string()
        others = [model.config, getattr(model, "generation_config", None)]
    recipe = Recipe(
        type(model).__name__, library, tuple(layers_of(model)), aliases,
        report=report, config=config,
    )  # fmt: skip
    names = [name for name in state if name not in aliases]
    write(folder, names, ((name, state[name]) for name in names), lambda: recipe)
    for other in others:
        if other is not None:
            other.save_pretrained(folder)


def write(
    folder: Path,
    names: list[str],
    tensors: Iterable[tuple[str, Tensor]],
    recipe: Callable[[], Recipe],
) -> None:
    """Write tensors as they come, then the recipe that makes them the directory's model.

    `recipe` is asked once all tensors are written; it may depend on what their making told.
    """
    temporary = folder / f".lpgeom.{secrets.token_hex(6)}.tmp"
    try:
        with TensorWriter(temporary, names) as writer:
            for name, tensor in tensors:
                writer.write(name, tensor)
        digest = sha256_of(temporary)
        file = f"lpgeom-{digest[:8]}.safetensors"
        os.replace(temporary, folder / file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    replace(recipe(), tensors=file, sha256=digest).write(folder)
    for old in folder.glob("lpgeom-????????.safetensors"):
        if old.name != file:
            old.unlink()


def load_pretrained(
    directory: str | os.PathLike[str],
    *,
    model: nn.Module | None = None,
    device: Any = None,
) -> nn.Module:
    """Read what `save_pretrained` or ``lpgeom compress`` wrote: the same model, bit for bit.

    Parameters
    ----------
    directory : path-like
    model : torch.nn.Module, optional
        A freshly made model of the same structure, for classes that transformers does not have; its
        layers are replaced and its tensors filled in place. Its own weights do not matter.
    device : optional
        Where to put it; the CPU if not given.

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
    """
    folder = Path(directory)
    recipe = read_recipe(folder)
    path = folder / recipe.tensors
    if not path.is_file():
        raise CheckpointError(f"{folder}: {recipe.tensors} is missing")
    if sha256_of(path) != recipe.sha256:
        raise CheckpointError(f"{path}: damaged (its checksum is not the one in {NAME})")
    try:
        state = load_file(path)
    except (SafetensorError, ValueError, OSError) as error:
        raise CheckpointError(f"{path}: {error}") from error
    if model is None:
        model = _rebuilt(folder, recipe, state)
    prepare(model, recipe.layers)
    _check(model, state, recipe, folder)
    _fill(model, state, recipe)
    model.eval()
    return model if device is None else model.to(device)


def layers_of(model: nn.Module) -> Iterable[Layer]:
    """The modules in factors, under every name they have."""
    for name, module in model.named_modules(remove_duplicate=False):
        groups: dict[str, Any] = {}
        if isinstance(module, MixedRank):
            groups = {"ranks": module.ranks, "counts": module.counts}
            rank, several = max(1, *module.ranks), len(module.ranks)
        elif isinstance(module, FACTORED):
            rank, several = module.rank, getattr(module, "subspaces", 1)
        if isinstance(module, LowRankEmbedding | MixedRankEmbedding):
            options = {key: getattr(module, key) for key in EMBEDDING_OPTIONS}
            n, d = module.num_embeddings, module.embedding_dim
            yield Layer(name, "embedding", n, d, rank, several, options, **groups)
        elif isinstance(module, LowRankLinear | MixedRankLinear):
            n, d = module.out_features, module.in_features
            options = {"bias": module.bias is not None}
            yield Layer(name, "linear", n, d, rank, several, options, **groups)
        elif isinstance(module, LowRankParameter):
            n, d = module.shape[0], math.prod(module.shape[1:])
            options = {"shape": list(module.shape)}
            yield Layer(name, "parameter", n, d, rank, 1, options)


def prepare(model: nn.Module, layers: Iterable[Layer]) -> None:
    """Put empty modules in factors where a recipe has them.

    Raises
    ------
    CheckpointError
        A layer that the model has not, or has in another shape; the model is as it was.
    """
    places: list[tuple[nn.Module, str, nn.Module]] = []
    for layer in layers:
        parent_name, _, key = layer.name.rpartition(".")
        try:
            parent = model.get_submodule(parent_name)
        except AttributeError:
            parent = None
        old = None if parent is None else parent._modules.get(key, parent._parameters.get(key))
        weight = old if isinstance(old, Tensor) else getattr(old, "weight", None)
        if parent is None or not isinstance(weight, Tensor):
            raise CheckpointError(f"the model has no layer {layer.name}")
        shape = sorted((weight.shape[0], math.prod(weight.shape[1:])))
        if shape != sorted((layer.n, layer.d)):
            raise CheckpointError(
                f"{layer.name} is {tuple(weight.shape)} in the model, {layer.n} x {layer.d} in the "
                "saved one"
            )
        kind = "parameter" if isinstance(old, Tensor) else kind_of(old)
        kind = "linear" if kind == "conv1d" else kind or "module of another kind"
        if kind == "parameter" and list(weight.shape) != layer.options.get("shape"):
            kind = f"parameter of shape {tuple(weight.shape)}"
        if kind != layer.kind:
            raise CheckpointError(
                f"{layer.name} is {_article(kind)} in the model, {_article(layer.kind)} in the "
                "saved one"
            )
        places.append((parent, key, _empty(layer)))
    for parent, key, made in places:
        parent._parameters.pop(key, None)
        parent._modules[key] = made


def _article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def _empty(layer: Layer) -> nn.Module:
    """A module of that kind, without data."""
    options = dict(layer.options)
    ranks, counts = layer.ranks or (), layer.counts or ()
    mixed: dict[str, Callable[..., nn.Module]] = {
        "embedding": lambda: MixedRankEmbedding(
            layer.n, layer.d, ranks, counts, device="meta", **options
        ),
        "linear": lambda: MixedRankLinear(
            layer.d, layer.n, ranks, counts, options["bias"], device="meta"
        ),
    }
    makers: dict[str, Callable[..., nn.Module]] = {
        "embedding": lambda: LowRankEmbedding(
            layer.n, layer.d, layer.rank, subspaces=layer.subspaces, device="meta",
            **{key: options[key] for key in EMBEDDING_OPTIONS},
        ),
        "linear": lambda: LowRankLinear(
            layer.d, layer.n, layer.rank, options["bias"],
            subspaces=layer.subspaces, device="meta",
        ),
        "parameter": lambda: LowRankParameter(options["shape"], layer.rank, device="meta"),
    }  # fmt: skip
    try:
        return (makers if layer.ranks is None else mixed)[layer.kind]()
    except (TypeError, ValueError, RuntimeError) as error:  # sizes beyond what torch can count
        raise CheckpointError(f"{NAME}: no layer {layer.name} can be made ({error})") from error


def _check(model: nn.Module, state: Mapping[str, Tensor], recipe: Recipe, folder: Path) -> None:
    """Raise a CheckpointError where the stored tensors are not those of the model."""
    expected = model.state_dict(keep_vars=True)
    wrong = next(
        (
            name
            for name, tensor in state.items()
            if name not in expected or expected[name].shape != tensor.shape
        ),
        None,
    )
    if wrong is not None:
        raise CheckpointError(f"{folder}: the stored tensor {wrong} does not fit the model")
    missing = expected.keys() - state.keys() - recipe.aliases.keys()
    if missing:
        raise CheckpointError(f"{folder}: {sorted(missing)[0]} is missing")
    for name, source in recipe.aliases.items():
        if (
            name not in expected
            or source not in state
            or expected[name].shape != expected[source].shape
            or isinstance(expected[name], nn.Parameter)
            is not isinstance(expected[source], nn.Parameter)
        ):
            raise CheckpointError(f"{folder}: {name} cannot be the same tensor as {source}")
    for layer in recipe.layers:
        labels, places = (
            state.get(recipe.aliases.get(name, name))
            for name in (f"{layer.name}.labels", f"{layer.name}.places")
        )
        if labels is not None and not _are_labels(labels, layer.subspaces):
            raise CheckpointError(f"{folder}: {layer.name} has labels that are none")
        if layer.counts is None:
            continue
        if (
            labels is None
            or places is None
            or places.dtype != PLACES
            or not are_places(labels, places, layer.counts)
        ):
            raise CheckpointError(f"{folder}: {layer.name} has places that are none")


def _are_labels(labels: Tensor, j: int) -> bool:
    whole = labels.dtype in (torch.uint8, torch.int32)
    return whole and bool(((labels >= 0) & (labels < j)).all())


def _fill(model: nn.Module, state: Mapping[str, Tensor], recipe: Recipe) -> None:
    """Put the stored tensors in, and share again what was shared."""
    for name, tensor in state.items():
        owner, _, key = name.rpartition(".")
        # In memory of its own: products of mapped, unaligned numbers may round differently.
        _set(model.get_submodule(owner), key, tensor.clone())
    for name, source in recipe.aliases.items():
        from_owner, _, from_key = source.rpartition(".")
        held = model.get_submodule(from_owner)
        shared = held._parameters.get(from_key, held._buffers.get(from_key))
        owner, _, key = name.rpartition(".")
        target = model.get_submodule(owner)
        if isinstance(shared, nn.Parameter):
            target._parameters[key] = shared
        else:
            target._buffers[key] = shared


def _set(owner: nn.Module, key: str, tensor: Tensor) -> None:
    if key in owner._parameters:
        old = owner._parameters[key]
        grad = bool(old is not None and old.requires_grad) and tensor.is_floating_point()
        owner._parameters[key] = nn.Parameter(tensor, requires_grad=grad)
    else:
        owner._buffers[key] = tensor


def transformers_class(name: str, wanted: type | None = None) -> Any:
    """The model class of that name in transformers, or None.

    With `wanted`, None too if transformers' class is another one (a user's own of the same name).
    """
    try:
        import transformers
    except ModuleNotFoundError:
        if wanted is not None:  # nothing that transformers made
            return None
        raise ImportError(f"{name} is a Hugging Face model: pip install 'lpgeom[hf]'") from None
    try:
        found = getattr(transformers, name, None)
    except (ImportError, RuntimeError):  # a class of a library that is not here
        return None
    if not isinstance(found, type) or not issubclass(found, transformers.PreTrainedModel):
        return None
    return found if wanted is None or found is wanted else None


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
    if recipe.config is None and not (folder / "config.json").is_file():
        raise CheckpointError(f"{folder}: config.json is missing")
    try:
        config = _config(cls.config_class, folder, recipe.config)
        with torch.random.fork_rng(devices=[]):  # new weights, thrown away, disturb no seed
            with torch.device("meta"):
                outline = cls(config)
            # Before memory is taken for what a damaged config may ask for.
            prepare(outline, recipe.layers)
            _check(outline, state, recipe, folder)
            made = cls(config)
        generation = getattr(made, "generation_config", None)
        if generation is not None and (folder / "generation_config.json").is_file():
            made.generation_config = type(generation).from_pretrained(folder)
        return made
    except CheckpointError:
        raise
    except Exception as error:  # whatever a class raises that is given another one's config
        raise CheckpointError(f"{folder}: its config makes no {recipe.model} ({error})") from error


def _config(config_class: Any, folder: Path, text: str | None) -> Any:
    """The config in the directory, or this one, which is read in the same way."""
    if text is None:
        return config_class.from_pretrained(folder, local_files_only=True)
    with tempfile.TemporaryDirectory() as own:
        (Path(own) / "config.json").write_text(text, encoding="utf-8")
        return config_class.from_pretrained(own, local_files_only=True)
