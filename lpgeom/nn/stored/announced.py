"""Has transformers open what is written here, as soon as it is imported. No torch before that."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

TABLES = "transformers.quantizers.auto"
"""The module with the tables of ways of storing, of which lpgeom's is to be one."""

QUANTIZER = "lpgeom.nn.stored.quantizer"
"""What is entered there; imports transformers."""


def announce() -> None:
    """Enter lpgeom in transformers' tables: now, or when they are made."""
    tables = sys.modules.get(TABLES)
    if tables is not None:
        _enter(tables)
    elif not any(isinstance(finder, _Awaiting) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Awaiting())


def _enter(tables: ModuleType) -> None:
    quantizer = import_module(QUANTIZER)
    # Who imports that file before transformers comes here while it is read; it then ends with this.
    if hasattr(quantizer, "enter"):
        quantizer.enter(tables)


def announce_in(model: Any) -> None:
    """Have transformers save the compressed parts of a model by its own mechanism."""
    if "transformers" in sys.modules:  # else nothing of it is in the model
        import_module(QUANTIZER).told_of(model)


class _Awaiting(MetaPathFinder):
    """Finds that one module as others would, and enters lpgeom once it is there."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != TABLES:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(name)
        loader: Any = None if spec is None else spec.loader
        if loader is not None:
            load = loader.exec_module

            def exec_module(module: ModuleType) -> None:
                load(module)
                _enter(module)

            loader.exec_module = exec_module
        return spec
