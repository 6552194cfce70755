"""Models of transformers: their classes by name, their configs from a directory or a text."""

from __future__ import annotations

import inspect
import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TIED = "tie_word_embeddings"
"""The flag of a config that says whether the output layer shares the embedding's weight."""

METHOD = "lpgeom"
"""What transformers calls our way of storing, in the config.json that is written for it."""

REFUSAL = (
    "none: lpgeom made this model smaller, so import lpgeom.nn before you load it "
    "(pip install lpgeom; transformers 5.19 or newer)"
)
"""Where nobody told transformers of lpgeom it skips, with a warning, what config.json says of
quantisation. It does not skip the name of an attention that it does not have, and prints it."""

OURS = ("quantization_config", "attn_implementation", "transformers_weights", "_is_quantized")
"""What is said in a config of compressed layers."""

FREE = (
    "architectures", "id2label", "label2id", "transformers_version", "langs", "languages",
    "vocab_list", "vocabulary_map", "doc_sep", "title_sep", "prefix", "__float__",
)  # fmt: skip
"""Keys of a config whose texts are read by people, or compared with other texts."""

REACHING = ("backbone", "quantization_config")
"""Keys without which it would be another model, and with which something else were loaded."""

TEXTS = re.compile(
    r"(^|_)(act|activation|afn|arch|architecture|connection|dtype|features|fn|func|function|head|initializer|"
    r"kind|layers|loss|method|mode|names|norm|op|ops|output|pattern|policy|pooling|proj|rank|reduction|"
    r"scaling|scheme|strategy|type|types|upsampler)(_|$)"
)
"""Words of keys under which a text is a choice among a class's own ways."""


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


def say_untied(model: Any) -> None:
    """Set the config's flag to untied, where that is all it says.

    Some of T5's kin scale what the output layer gets by this flag (Switch Transformers, UDOP, in
    older versions all), in a forward or as the config is read again: there it stays.
    """
    config: Any = getattr(model, "config", None)
    if not getattr(config, TIED, False):
        return
    for kind in {type(module) for module in model.modules()}:
        code = getattr(inspect.unwrap(kind.forward), "__code__", None)
        if code is not None and TIED in code.co_names:
            return
    if hasattr(config, "from_dict"):
        try:
            values = config.to_dict()
            tied, untied = (
                type(config).from_dict({**values, TIED: flag}).to_dict() for flag in (True, False)
            )
        except Exception:  # the code of a config class of somebody's own
            return
        if untied != {**tied, TIED: False}:
            return
    setattr(config, TIED, False)


def text_of(config: Any) -> str:
    """A config as config.json has it, without what is said there of compressed layers."""
    values = json.loads(config.to_json_string())
    return json.dumps({k: v for k, v in values.items() if k not in OURS}, indent=2) + "\n"


def config_from(config_class: Any, values: Any) -> Any:
    """The config of that class that a config.json says, of which only what is `permitted` counts.

    Raises
    ------
    ValueError
        Values that are none, or that ask for something else.
    """
    if not isinstance(values, dict):
        raise ValueError("not a mapping")
    stored = values.get("quantization_config")
    if isinstance(stored, dict) and stored.get("quant_method") == METHOD:
        values = {key: value for key, value in values.items() if value is not stored}
    with tempfile.TemporaryDirectory() as own:
        kept = json.dumps(permitted(values, config_class))
        (Path(own) / "config.json").write_text(kept, encoding="utf-8")
        return config_class.from_pretrained(own, local_files_only=True)


def permitted(values: Mapping[str, Any], config_class: Any) -> dict[str, Any]:
    """What a config may say: numbers, flags, and texts under the keys that are listed here.

    A text may name a repository, a file or code, which transformers goes for under keys that differ
    from version to version; numbers name nothing. Other texts are left out, and refused where the
    class knows the key and what it stands for by itself is another.
    """
    known = {} if config_class is None else inspect.signature(config_class.__init__).parameters
    # What a class goes for by itself, unless told otherwise.
    kept: dict[str, Any] = {key: False for key in known if key == "use_pretrained_backbone"}
    for key, value in values.items():
        own = known.get(key)
        if key in REACHING and value not in (None, "", False):
            raise ValueError(f"{key} {str(value)[:60]!r} would be fetched, or run")
        if key in FREE:
            kept[key] = value
        elif "pretrained" in key and value is True:
            kept[key] = False
        elif isinstance(value, dict):
            kept[key] = permitted(value, _inner(config_class, key, value))
        elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
            kept[key] = [permitted({key: item}, config_class)[key] for item in value]
        elif _names_nothing(key, value) or (own is not None and value == own.default):
            kept[key] = value
        elif own is not None:
            raise ValueError(f"{key} {str(value)[:60]!r} may name a repository, a file or code")
    return kept


def _inner(config_class: Any, key: str, values: Mapping[str, Any]) -> Any:
    """The class of the config that another one holds under a key, if it is one."""
    from transformers import CONFIG_MAPPING

    found = getattr(config_class, "sub_configs", {}).get(key)
    if found is not None and hasattr(found, "model_type"):
        return found
    kind = values.get("model_type")
    return CONFIG_MAPPING[kind] if isinstance(kind, str) and kind in CONFIG_MAPPING else None


def _names_nothing(key: str, value: Any) -> bool:
    if isinstance(value, list):
        return all(_names_nothing(key, item) for item in value)
    if not isinstance(value, str):
        return True
    return bool(TEXTS.search(key) and re.fullmatch(r"[\w.+* -]{0,400}", value))
