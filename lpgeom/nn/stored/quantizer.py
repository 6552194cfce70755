"""Transformers' own mechanism for models that are not stored entry by entry, for those of here.

``model.save_pretrained`` writes what modules hold under their names, and what they are into
config.json; ``from_pretrained`` puts the same modules into a model without data, and fills them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from torch.random import fork_rng
from transformers.quantizers import auto
from transformers.quantizers.base import HfQuantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from lpgeom._version import __version__
from lpgeom.io.checksum import sha256_of
from lpgeom.nn.model.replace import decompress
from lpgeom.nn.modules.quantized_embedding import dtype_name
from lpgeom.nn.stored.directory import open_tensors
from lpgeom.nn.stored.filled import fault_of, share
from lpgeom.nn.stored.huggingface import METHOD, OURS, REFUSAL, config_from, transformers_class
from lpgeom.nn.stored.outline import compressed_modules, layers_of, parted, prepare
from lpgeom.nn.stored.recipe import (
    DAMAGE,
    CheckpointError,
    Layer,
    checked_layer,
    read_json,
    read_recipe,
    refused,
)
from lpgeom.nn.stored.tensors import aliases_of

READS = hasattr(HfQuantizer, "update_attn_implementation")
"""Whether this transformers shows a quantizer a config before it makes a model of it."""

FORMAT = 1

ROOM = 4
"""So many times the numbers that there are may a model have."""


class LpgeomConfig(QuantizationConfigMixin):
    """What config.json says of a compressed model.

    Attributes
    ----------
    layers : tuple of Layer
    aliases : dict
        Name of a tensor of theirs -> name under which it is stored.
    tensors : str or None
        In directories of `lpgeom.nn.save_pretrained`: the file with the tensors; the layers are in
        ``lpgeom.json``.
    """

    def __init__(
        self,
        layers: Iterable[Any] = (),
        aliases: Mapping[str, str] | None = None,
        tensors: str | None = None,
        version: int = FORMAT,
        **_: Any,
    ) -> None:
        self.quant_method, self.tensors = METHOD, tensors
        with refused("config.json", *DAMAGE, what="damaged"):
            if version != FORMAT:
                raise ValueError(f"version {version!r} of the format, not {FORMAT}")
            self.layers = tuple(x if isinstance(x, Layer) else checked_layer(x) for x in layers)
            self.aliases = dict(aliases or {})

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "quant_method": METHOD,
            "version": FORMAT,
            "lpgeom": __version__,
            "layers": [layer.to_dict() for layer in self.layers],
            "aliases": self.aliases,
        }


class _Written(dict[str, Tensor]):
    """Tensors to be written, which transformers goes through after it has written the config.

    What is said of them is then taken out again: another model may be made of the same config.
    """

    def __init__(self, state: Mapping[str, Tensor], config: Any) -> None:
        super().__init__(state)
        self.config = config

    def items(self) -> Any:
        """All of them; the config is again as it was."""
        forget(self.config)
        return super().items()


class LpgeomQuantizer(HfQuantizer):
    """Puts compressed modules into models that are loaded, and says what they are where saved."""

    quantization_config: LpgeomConfig

    is_trainable = is_qat_trainable = is_compileable = True

    class _Serializable:
        """A flag, which older versions ask for, and newer ones call."""

        def __bool__(self) -> bool:
            return READS

        def __call__(self, **_: Any) -> bool:
            return READS

    is_serializable = _Serializable()

    # ---- saving

    def get_state_dict_and_metadata(self, model: Any, **_: Any) -> tuple[Any, dict[str, Any]]:
        """What is to be stored; what it is goes into the model's config."""
        layers, config = tuple(layers_of(model)), model.config
        if not layers:  # decompressed in the meantime
            return None, {}
        held = model.state_dict(keep_vars=True)
        mine = {layer.name: layer for layer in layers}
        aliases = {
            name: source
            for name, source in (aliases_of(held) | parted(model)).items()
            if owner_of(name, mine) or owner_of(source, mine)
        }
        state = {name: x.detach() for name, x in held.items() if name not in aliases}
        for name, module in compressed_modules(model):
            stored = {f"{name}.{key}": x.detach() for key, x in module.held.stored().items()}
            state |= {key: x for key, x in stored.items() if key in state}
            # Whoever looks for a dense weight finds one of another shape, which is an error.
            state[dense_key(mine[name])] = torch.empty(0)
        config.quantization_config = LpgeomConfig(layers, aliases)
        if not getattr(config, "output_attentions", False):  # which is refused in words of its own
            config.attn_implementation = REFUSAL
        return _Written(state, config), {}

    # ---- loading

    def validate_environment(self, *_: Any, **__: Any) -> None:
        """Raise an ImportError where a config is not shown before a model is made of it."""
        if not READS:
            raise ImportError(
                "a model that lpgeom made smaller is loaded by transformers 5.19 or newer; before, "
                "lpgeom.nn.load_pretrained opens what lpgeom.nn.save_pretrained wrote"
            )

    def update_attn_implementation(self, config: Any) -> Any:
        """The first sight of the config: a refusal is for others, and where weights are."""
        if config._attn_implementation == REFUSAL:
            config._attn_implementation = None
        if self.quantization_config.tensors is not None:
            config.transformers_weights = self.quantization_config.tensors
        return config

    def _process_model_before_weight_loading(
        self, model: Any, checkpoint_files: Any = (), **_: Any
    ) -> None:
        told = self.quantization_config
        self.where = Path(checkpoint_files[0]).parent if checkpoint_files else Path("config.json")
        if told.tensors is not None:
            recipe = read_recipe(self.where)
            if (
                recipe.tensors != told.tensors
                or sha256_of(self.where / recipe.tensors) != recipe.sha256
            ):
                raise CheckpointError(f"{self.where}: {told.tensors} is not what lpgeom.json says")
            told = LpgeomConfig(recipe.layers, recipe.aliases)
        names = _names_in(model, told.layers)
        self.layers = [
            replace(layer, name=names[layer.name], options=_options(layer))
            for layer in told.layers
            if layer.name in names
        ]
        prepare(model, self.layers)
        self.places = list(_withheld(model, self.layers))
        tensors = model.state_dict(keep_vars=True)
        self.aliases = {
            mine: theirs
            for name, source in told.aliases.items()
            if (mine := _renamed(name, names, tensors))
            and (theirs := _renamed(source, names, tensors))
        }
        # What is shared with compressed layers is seen to below.
        own = {layer.name: layer for layer in self.layers}
        model.all_tied_weights_keys = {
            name: source
            for name, source in model.all_tied_weights_keys.items()
            if not owner_of(name, own) and not owner_of(source, own)
        }
        absent = {f"(^|\\.){re.escape(layer.name)}(\\.|$)" for layer in told.layers}
        shared = {f"^{re.escape(name)}$" for name in self.aliases}
        self.ignored = {}
        for key, more in (("unexpected", absent), ("missing", shared)):
            key = f"_keys_to_ignore_on_load_{key}"
            self.ignored[key] = getattr(model, key)
            setattr(model, key, set(self.ignored[key] or ()) | more)

    def _process_model_after_weight_loading(self, model: Any, **_: Any) -> Any:
        for parent, key, withheld in self.places:
            parent._modules[key] = withheld
        share(model, self.aliases)
        tensors = model.state_dict(keep_vars=True)
        for layer in self.layers:
            module: Any = model.get_submodule(layer.name)
            for name in module.held.tensors():
                # What transformers read it marked; what it did not find it made up.
                if not getattr(tensors[f"{layer.name}.{name}"], "_is_hf_initialized", False):
                    raise CheckpointError(f"{self.where}: {layer.name}.{name} is missing")
            fault = fault_of(layer, module.held, module.held.tensors())
            if fault:
                raise CheckpointError(f"{self.where}: {layer.name} {fault}")
            if layer.sizes is not None:
                module.derive()
        for key, value in self.ignored.items():
            setattr(model, key, value)
        del model.is_quantized, model.quantization_method
        del self.aliases, self.ignored, self.layers, self.places
        self.quantization_config = LpgeomConfig()
        for module in model.modules():
            if hasattr(module, "config"):
                forget(module.config)
        told_of(model)
        return model

    def _dequantize(self, model: Any, dtype: Any = None) -> Any:
        decompress(model)
        return model


class _Filling(nn.Module):
    """Stands for a compressed module, whose tensors it shares, until they are there.

    Models initialise what is missing, and ask for `weight` where nothing can be multiplied out yet.
    """

    padding_idx = None

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        for name in ("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"):
            self.__dict__[name] = vars(module)[name]
        self.__dict__["weight"] = loaded = torch.empty(0)
        loaded._is_hf_initialized = True


def _withheld(model: nn.Module, layers: Iterable[Layer]) -> Iterator[tuple[nn.Module, str, Any]]:
    """Put others in the place of modules that have no data; where they were, and they."""
    for layer in layers:
        parent_name, _, key = layer.name.rpartition(".")
        parent: Any = model.get_submodule(parent_name)
        module = parent._modules[key]
        module._is_hf_initialized = True
        if layer.kind != "parameter":
            parent._modules[key] = _Filling(module)
        yield parent, key, module


def _names_in(model: Any, layers: Iterable[Layer]) -> dict[str, str]:
    """Name of a layer in the model that was saved -> its name in this one.

    A bare model lacks the prefix that one with a head puts before its names, and what the head has
    for itself; the other way round.
    """
    there = {name for name, _ in model.named_modules(remove_duplicate=False)}
    there |= {name for name, _ in model.named_parameters(remove_duplicate=False)}
    prefix = f"{model.base_model_prefix}."
    whole = type(model).__name__ in (model.config.architectures or ())
    names = {}
    for layer in layers:
        known = (layer.name, prefix + layer.name, layer.name.removeprefix(prefix))
        found = next((name for name in known if name in there), layer.name if whole else None)
        if found is not None:
            names[layer.name] = found
    return names


def _renamed(tensor: str, names: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    """A tensor by its name in this model; "" if it is not there."""
    owner = owner_of(tensor, names)
    name = names[owner] + tensor.removeprefix(owner) if owner else tensor
    return name if name in tensors else ""


def _options(layer: Layer) -> dict[str, Any]:
    """A layer's options, its numbers in the dtype in which the model is made."""
    known = {"dtype": dtype_name(torch.get_default_dtype())} if "dtype" in layer.options else {}
    return layer.options | known


def told_of(model: nn.Module) -> None:
    """Have transformers save the compressed parts of a model by this mechanism.

    Parts that something else has quantised keep theirs.
    """
    for part in model.modules():
        ours = isinstance(part, transformers.PreTrainedModel) and any(compressed_modules(part))
        if ours and getattr(part, "hf_quantizer", None) is None:
            part.hf_quantizer = LpgeomQuantizer(LpgeomConfig())


def forget(config: Any) -> None:
    """Take what is said of compressed layers out of a config."""
    for key in OURS:
        vars(config).pop(key, None)


def dense_key(layer: Layer) -> str:
    """The name that the dense weight of a layer has."""
    return layer.name if layer.kind == "parameter" else f"{layer.name}.weight"


def owner_of(name: str, layers: Mapping[str, Any]) -> str:
    """The compressed module that a tensor of that name belongs to; "" if there is none."""
    while name and name not in layers:
        name = name.rpartition(".")[0]
    return name


def opened(folder: Path, dtype: Any = None) -> Any:
    """The model that ``model.save_pretrained`` wrote, by what is permitted of its config alone.

    Raises
    ------
    CheckpointError
        A damaged directory, or one whose tensors are not those of its config.
    """
    path = folder / "config.json"
    values = read_json(path, "not a Hugging Face model's directory")
    name = str((values.get("architectures") or [""])[0])
    cls = transformers_class(name)
    if cls is None:
        raise CheckpointError(f"{path}: transformers has no model class {name!r}")
    if not READS:
        raise CheckpointError(
            f"{folder}: was saved by transformers 5.19 or newer, and is read by it"
        )
    with refused(folder, Exception, what=f"is no {name}"), fork_rng(devices=[]):
        config = config_from(cls.config_class, values)
        said = LpgeomConfig.from_dict(values["quantization_config"])
        with open_tensors(folder, None) as stored:
            with torch.device("meta"):
                outline = cls(config)
            prepare(outline, said.layers)
            wanted = sum(x.numel() for x in {id(x): x for x in outline.parameters()}.values())
            there = sum(x.numel() for x in stored.outline.values())
            if wanted > ROOM * there:
                raise CheckpointError(f"{path}: asks for {wanted} numbers, there are {there}")
            state = {key: stored.tensor(key) for key in stored.outline}
            config.quantization_config = said.to_dict()
            made, told = cls.from_pretrained(
                None,
                config=config,
                state_dict=state,
                dtype=dtype or "auto",
                output_loading_info=True,
            )
            if told["missing_keys"]:
                raise CheckpointError(f"{folder}: {min(told['missing_keys'])} is missing")
        held = folder / "generation_config.json"
        if held.is_file():
            made.generation_config = type(made.generation_config).from_dict(read_json(held, ""))
    return made


def enter(tables: Any) -> None:
    """Have transformers know these two by their name."""
    tables.AUTO_QUANTIZATION_CONFIG_MAPPING[METHOD] = LpgeomConfig
    tables.AUTO_QUANTIZER_MAPPING[METHOD] = LpgeomQuantizer


enter(auto)
