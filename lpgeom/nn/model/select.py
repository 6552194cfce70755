"""Which weights are meant: by kind, by name, by pattern."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from torch import nn

from lpgeom.nn.model.sites import Group

KINDS = ("embeddings", "linear", "all")

SMALL = 16
"""Linear layers with fewer rows or columns than this (a classifier's few classes) are taken only by
name: a rank less is a class less."""

NO_WORDS = re.compile(r"position|(^|[._])(pos|type|token_type|segment)s?_?(emb|$)")
"""Names of tables that are looked up by something else than tokens."""

T = TypeVar("T")


def selected(
    groups: Sequence[Group], model: nn.Module, layers: Any, exclude: Any
) -> tuple[list[Group], dict[str, str]]:
    """The groups that `layers` names and `exclude` does not, and why some are left alone.

    A pattern matches whole names ("encoder.layer.*.output.dense", as in a shell), or everything
    under the modules of such names ("encoder.layer.0", "encoder.layer.*.attention").

    Raises
    ------
    ValueError
        A pattern that matches nothing; the error lists near names.
    TypeError
        Something that is not a name or a sequence of names; a selected weight that is quantised,
        sparse or without data.
    """
    wanted, unwanted = _names("layers", layers), _names("exclude", exclude)
    if not wanted:
        raise ValueError("layers is empty; name a kind (embeddings, linear, all) or patterns")

    def meant(name: str, option: str) -> list[Group]:
        if name not in KINDS:
            return matches(groups, name, option)
        embeddings = name == "embeddings"
        return [g for g in groups if name == "all" or (g.kind == "embedding") == embeddings]

    notes: dict[str, str] = {}
    word = words(model)
    chosen = {group for name in wanted for group in meant(name, "layers")}
    named = {group for name in wanted if name not in KINDS for group in meant(name, "layers")}
    chosen -= {group for name in unwanted for group in meant(name, "exclude")}
    ordered = [group for group in groups if group in chosen]
    for group in ordered:
        if any(site.fatal for site in group.sites):
            raise TypeError(f"{group.name} {group.obstacle}")
        if group.obstacle:
            notes[group.name] = group.obstacle
        elif group not in named:
            other = word and not any(id(site.owner) in word for site in group.sites)
            if group.kind == "embedding" and other:
                notes[group.name] = "not a word embedding; name it to compress it"
            elif group.kind != "embedding" and min(group.head.shape) < SMALL:
                notes[group.name] = "small; name it to compress it"
    if not ordered:
        what = "the model has none" if not groups else "exclude takes away all that layers names"
        if groups and not unwanted:  # a kind, of which there is none
            what = "the model has no embedding; layers='linear' takes its linear layers"
        raise ValueError(f"no layer to compress: {what}")
    return ordered, notes


def matches(groups: Sequence[Group], pattern: str, option: str) -> list[Group]:
    """The groups with a site of that name, of a name that fits it, or under a module of that name.

    A module in several places has several names.

    Raises
    ------
    ValueError
        None; the error lists near names.
    """
    found = [group for group in groups if any(_fits(path, pattern) for path in _paths(group))]
    if not found:
        names = [path for group in groups for path in _paths(group)]
        near = difflib.get_close_matches(pattern, names, n=3, cutoff=0.5)
        near = near or [name for name in names if pattern.strip("*").lower() in name.lower()][:3]
        some = f"there are: {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"
        hint = f"; near names: {', '.join(near)}" if near else f"; {some}" if names else ""
        raise ValueError(f"{option}: no embedding or linear layer is called {pattern!r}{hint}")
    return found


def by_name(groups: Sequence[Group], values: Mapping[str, T], option: str) -> dict[Group, T]:
    """What a mapping from names or patterns has for groups; the first that fits.

    Raises
    ------
    ValueError
        A pattern that matches nothing.
    """
    found: dict[Group, T] = {}
    for pattern, value in values.items():
        if not isinstance(pattern, str):
            raise TypeError(f"{option}: names of layers are strings, got {pattern!r}")
        for group in matches(groups, pattern, option):
            found.setdefault(group, value)
    return found


def _paths(group: Group) -> list[str]:
    """Every name of a group, also of what keeps the dense weight."""
    return [path for site in (*group.sites, *group.kept) for path in site.paths]


def _fits(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")


def _names(option: str, value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if not isinstance(value, Sequence) or not all(isinstance(name, str) for name in value):
        raise TypeError(f"{option} must be a name or a sequence of names, got {value!r}")
    return list(value)


def words(model: nn.Module) -> set[int]:
    """ids of the modules in what Hugging Face models call their input embeddings; else empty.

    Those of the model, or of the models that it has inside. Where one calls more its input
    embeddings than a table, tables of positions and of token types are none.
    """
    if hasattr(model, "get_input_embeddings"):
        try:
            module = model.get_input_embeddings()
        except Exception:  # the model's own code: it has no such embedding, or wants arguments
            module = None
        if isinstance(module, nn.Module):
            parts = module.named_modules()
            return {id(part) for name, part in parts if not NO_WORDS.search(name)}
    return {word for child in model.children() for word in words(child)}
