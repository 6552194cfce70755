"""Where a model keeps its weights: found by the types of its modules."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from lpgeom.nn.modules.compressed import Compressed
from lpgeom.nn.modules.dense import kind_of, matrix, obstacle

BARE = {"XLNetRelativeAttention": ("q", "k", "v", "o", "r")}
"""Type of module -> its parameters that multiply as a layer's weight does."""


@dataclass(frozen=True, eq=False)
class Site:
    """A weight in its place.

    Attributes
    ----------
    name : str
        Path of the module, or of the bare parameter; the first one if it has several.
    kind : {"embedding", "linear", "conv1d", "parameter"}
    owner : torch.nn.Module
        The module with the weight.
    attribute : str
        The weight's name in it.
    places : list of (parent, key)
        Everywhere the owner hangs: what has to be set to replace it.
    paths : tuple of str
        The names of these places.
    obstacle : str
        Why it cannot be replaced, if it cannot.
    fatal : bool
        Whether asking for it is an error.
    """

    name: str
    kind: str
    owner: nn.Module
    attribute: str
    places: list[tuple[nn.Module, str]] = field(repr=False)
    paths: tuple[str, ...] = ()
    obstacle: str = ""
    fatal: bool = False

    @property
    def keys(self) -> tuple[str, ...]:
        """The weight's names in the model's state."""
        if self.kind == "parameter":
            return self.paths
        return tuple(f"{path}.{self.attribute}".lstrip(".") for path in self.paths)

    @property
    def weight(self) -> Tensor:
        """The weight as it lies in the model."""
        value = getattr(self.owner, self.attribute)
        assert isinstance(value, Tensor)
        return value

    @property
    def dtype(self) -> torch.dtype:
        """The weight's dtype."""
        if isinstance(self.owner, Compressed):  # without making the weight
            return self.owner.held.dtype
        return self.weight.dtype

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d) of the matrix it is seen as."""
        if isinstance(self.owner, Compressed):
            return self.owner.held.shape
        n, d = matrix(self.weight, self.kind).shape
        return n, d

    def matrix(self, weight: Tensor) -> Tensor:
        """A weight of this site as (n, d): a view."""
        return matrix(weight, self.kind)


@dataclass(frozen=True, eq=False)
class Group:
    """Sites that share one weight; the first, an embedding if there is one, names them.

    Attributes
    ----------
    sites : tuple of Site
        The sites that share the factors, too.
    kept : tuple of Site
        The sites that keep the dense weight for themselves.
    """

    sites: tuple[Site, ...]
    kept: tuple[Site, ...] = ()

    @property
    def head(self) -> Site:
        """The site that names the group."""
        return self.sites[0]

    @property
    def name(self) -> str:
        """Name of the group's first site."""
        return self.head.name

    @property
    def kind(self) -> str:
        """Kind of the group's first site."""
        return self.head.kind

    def untied(self) -> Group:
        """The same with the dense weight kept by all but the embeddings.

        Sequence-to-sequence models look tokens up in several embeddings, some of them a name for
        what another one is used as: all get the factors. Without an embedding there is nothing to
        untie from, and without another layer nothing to untie.
        """
        if self.kind != "embedding":
            return self
        embeddings = tuple(site for site in self.sites if site.kind == "embedding")
        return Group(embeddings, self.sites[len(embeddings) :])

    @property
    def obstacle(self) -> str:
        """The first reason not to replace it."""
        return next((site.obstacle for site in self.sites if site.obstacle), "")


def groups(model: nn.Module, *, meta: bool = False) -> list[Group]:
    """Every weight of the kinds this package replaces, tied ones together, in the model's order.

    `meta` lets in a model without data, of which only the structure is wanted.
    """
    holders: dict[int, list[str]] = defaultdict(list)
    for key, parameter in model.named_parameters(remove_duplicate=False):
        holders[id(parameter)].append(key)
    by_weight: dict[int, list[Site]] = defaultdict(list)
    for site in _sites(model, meta):
        by_weight[id(site.owner) if site.obstacle else id(site.weight)].append(site)
    found = []
    for same in by_weight.values():
        same.sort(key=lambda site: site.kind != "embedding")  # stable: else in the model's order
        if not same[0].obstacle:
            mine = {key for site in same for key in site.keys}
            others = [key for key in holders[id(same[0].weight)] if key not in mine]
            kinds = {site.kind for site in same}
            bare = len(same) > 1 and "parameter" in kinds
            reason = ""
            if others:
                reason = f"shares its weight with {others[0]}, which cannot be replaced"
            elif bare or kinds > {"conv1d"}:
                reason = "shares its weight with a layer that holds it in another shape"
            same = [replace(site, obstacle=reason) for site in same]
        found.append(Group(tuple(same)))
    return found


def _sites(model: nn.Module, meta: bool) -> Iterator[Site]:
    modules = list(model.modules())
    places: dict[int, list[tuple[nn.Module, str]]] = defaultdict(list)
    for parent in modules:
        for key, child in parent._modules.items():
            places[id(child)].append((parent, key))
    paths: dict[int, list[str]] = defaultdict(list)
    for path, module in model.named_modules(remove_duplicate=False):
        paths[id(module)].append(path)
    attentions = (module for module in modules if isinstance(module, nn.MultiheadAttention))
    in_attention = {id(child) for attention in attentions for child in attention.modules()}
    for module in modules:
        where, kind = places[id(module)], kind_of(module)
        weights = [("weight", kind, where, tuple(paths[id(module)]))] if kind else []
        for key in BARE.get(type(module).__name__, ()):
            if key in module._parameters:
                names = tuple(f"{path}.{key}".lstrip(".") for path in paths[id(module)])
                weights.append((key, "parameter", [(module, key)], names))
        for key, of_kind, here, names in weights:
            reason, fatal = obstacle(module, key, of_kind, meta)
            if id(module) in in_attention:
                reason = "belongs to torch.nn.MultiheadAttention, which reads its weight"
                fatal = False
            yield Site(names[0], of_kind, module, key, here, names, reason, fatal)
