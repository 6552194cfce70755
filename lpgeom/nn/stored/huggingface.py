"""Models of transformers: their classes by name, their configs from a directory or a text."""

from __future__ import annotations

import inspect
import tempfile
from pathlib import Path
from typing import Any

TIED = "tie_word_embeddings"
"""The flag of a config that says whether the output layer shares the embedding's weight."""


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


def config_from(config_class: Any, folder: Path, text: str | None) -> Any:
    """The config in the directory, or this one, which is read in the same way."""
    if text is None:
        return config_class.from_pretrained(folder, local_files_only=True)
    with tempfile.TemporaryDirectory() as own:
        (Path(own) / "config.json").write_text(text, encoding="utf-8")
        return config_class.from_pretrained(own, local_files_only=True)
