"""Models of transformers: their classes by name, their configs from a directory or a text."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any


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


def config_from(config_class: Any, folder: Path, text: str | None) -> Any:
    """The config in the directory, or this one, which is read in the same way."""
    if text is None:
        return config_class.from_pretrained(folder, local_files_only=True)
    with tempfile.TemporaryDirectory() as own:
        (Path(own) / "config.json").write_text(text, encoding="utf-8")
        return config_class.from_pretrained(own, local_files_only=True)
