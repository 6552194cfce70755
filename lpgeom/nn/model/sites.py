"""Where a model keeps its weights: found by the types of its modules."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from lpgeom.nn.factors.factored import FLOATING
from lpgeom.nn.modules.embedding import LowRankEmbedding
from lpgeom.nn.modules.linear import LowRankLinear
from lpgeom.nn.modules.mixed import MixedRank
from lpgeom.nn.modules.mixed_embedding import MixedRankEmbedding
from lpgeom.nn.modules.mixed_linear import MixedRankLinear
from lpgeom.nn.modules.parameter import LowRankParameter
from lpgeom.nn.modules.scaled import SCALE, scaling_of

BARE = {"XLNetRelativeAttention": ("q", "k", "v", "o", "r")}
"""Type of module -> its parameters that multiply as a layer's weight does."""

FACTORED = (LowRankEmbedding, LowRankLinear, LowRankParameter, MixedRank)


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
    def weight(self) -> Tensor:
        """The weight as it lies in the model."""
        value = getattr(self.owner, self.attribute)
        assert isinstance(value, Tensor)
        return value

    @property
    def dtype(self) -> torch.dtype:
        """Of the weight."""
        if isinstance(self.owner, FACTORED):
            return stored_in(self.owner)[0].dtype
        return self.weight.dtype

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d) of the matrix it is seen as."""
        if isinstance(self.owner, FACTORED):  # without multiplying out
            if isinstance(self.owner, MixedRank):
                return sum(self.owner.counts), self.owner.rights[0].shape[1]
            return self.owner.left.shape[0], self.owner.right.shape[-1]
        shape = self.weight.shape
        if self.kind == "parameter":
            return shape[0], math.prod(shape[1:])
        return (shape[1], shape[0]) if self.kind == "conv1d" else (shape[0], shape[1])

    def matrix(self, weight: Tensor) -> Tensor:
        """A weight of this site as (n, d): a view."""
        if self.kind == "parameter":
            return weight.flatten(1)
        return weight.t() if self.kind == "conv1d" else weight


@dataclass(frozen=True, eq=False)
class Group:
    """Sites that share one weight; the first, an embedding if there is one, names them.

    Attributes
    ----------
    sites : tuple of Site
        Those that share the factors, too.
    kept : tuple of Site
        Those that keep the dense weight for themselves.
    """

    sites: tuple[Site, ...]
    kept: tuple[Site, ...] = ()

    @property
    def head(self) -> Site:
        """The site that names the group."""
        return self.sites[0]

    @property
    def name(self) -> str:
        """Of the head."""
        return self.head.name

    @property
    def kind(self) -> str:
        """Of the head."""
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

    @property
    def fatal(self) -> bool:
        """Whether asking for it is an error."""
        return any(site.fatal for site in self.sites)


def stored_in(module: nn.Module) -> list[Tensor]:
    """The factors of a module that is in `FACTORED`, then what says which row is where."""
    if isinstance(module, MixedRank):
        return [*module.lefts, *module.rights, module.labels, module.places]
    labels = getattr(module, "labels", None)
    return [module.left, module.right, *([] if labels is None else [labels])]


def groups(model: nn.Module, *, meta: bool = False) -> list[Group]:
    """Every weight of the kinds this package replaces, tied ones together, in the model's order.

    `meta` lets in a model without data, of which only the structure is wanted.
    """
    sites = list(_sites(model, meta))
    holders = _holders(model)
    by_weight: dict[int, list[Site]] = {}
    for site in sites:
        key = id(site.owner) if site.obstacle else id(site.weight)
        by_weight.setdefault(key, []).append(site)
    found = []
    for same in by_weight.values():
        same.sort(key=lambda site: site.kind != "embedding")  # stable: else in the model's order
        if not same[0].obstacle:
            mine = {(id(site.owner), site.attribute) for site in same}
            others = [
                path for owner, key, path in holders[id(same[0].weight)] if (owner, key) not in mine
            ]
            reason = ""
            if others:
                reason = f"shares its weight with {others[0]}, which cannot be replaced"
            elif len({site.kind == "conv1d" for site in same}) > 1 or (
                len(same) > 1 and any(site.kind == "parameter" for site in same)
            ):
                reason = "shares its weight with a layer that holds it in another shape"
            if reason:
                same = [_obstructed(site, reason) for site in same]
        found.append(Group(tuple(same)))
    return found


def _obstructed(site: Site, reason: str) -> Site:
    return replace(site, obstacle=reason)


def _holders(model: nn.Module) -> dict[int, list[tuple[int, str, str]]]:
    """id of each parameter -> (id of a module that holds it, key, path)."""
    found: dict[int, list[tuple[int, str, str]]] = {}
    for path, module in model.named_modules():
        for key, parameter in module._parameters.items():
            if parameter is not None:
                place = (id(module), key, f"{path}.{key}".lstrip("."))
                found.setdefault(id(parameter), []).append(place)
    return found


def _sites(model: nn.Module, meta: bool) -> Iterator[Site]:
    places: dict[int, list[tuple[nn.Module, str]]] = {}
    for _, parent in model.named_modules():
        for key, child in parent._modules.items():
            if child is not None:
                places.setdefault(id(child), []).append((parent, key))
    paths: dict[int, list[str]] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        paths.setdefault(id(module), []).append(path)
    in_attention = {
        id(child)
        for _, module in model.named_modules()
        if isinstance(module, nn.MultiheadAttention)
        for child in module.modules()
    }
    for name, module in model.named_modules():
        where = places.get(id(module), [])
        kind = kind_of(module)
        if kind:
            reason, fatal = _obstacle(module, "weight", kind, meta)
            if id(module) in in_attention:
                reason, fatal = (
                    "belongs to torch.nn.MultiheadAttention, which reads its weight",
                    False,
                )
            yield Site(name, kind, module, "weight", where, tuple(paths[id(module)]), reason, fatal)
        for key in BARE.get(type(module).__name__, ()):
            if key in module._parameters:
                reason, fatal = _obstacle(module, key, "parameter", meta)
                names = tuple(f"{path}.{key}".lstrip(".") for path in paths[id(module)])
                yield Site(
                    names[0], "parameter", module, key, [(module, key)], names, reason, fatal
                )


def kind_of(module: nn.Module) -> str:
    """The kind of a module that is one weight and how it is applied; "" for others."""
    if isinstance(module, LowRankParameter):
        return "parameter"
    if isinstance(module, LowRankEmbedding | MixedRankEmbedding | nn.Embedding | nn.EmbeddingBag):
        return "embedding"
    if isinstance(module, LowRankLinear | MixedRankLinear | nn.Linear):
        return "linear"
    cls = type(module)
    if cls.__name__ == "Conv1D" and cls.__module__ == "transformers.pytorch_utils":
        return "conv1d"
    if "quantized" in cls.__module__ and cls.__name__ in ("Linear", "Embedding"):
        return cls.__name__.lower()
    return ""


def _obstacle(module: nn.Module, attribute: str, kind: str, meta: bool) -> tuple[str, bool]:
    """(why this weight cannot be replaced, whether asking for it is an error)."""
    if isinstance(module, FACTORED):
        return "is in factors already", False
    if not isinstance(module, nn.Linear | nn.Embedding) and "quantized" in type(module).__module__:
        return "is quantised; compress the model before it is quantised", True
    weight = module._parameters.get(attribute)
    if weight is None:
        return "has a weight that is computed (a parametrization or weight norm)", False
    if isinstance(weight, nn.UninitializedParameter):
        return "has no data yet (it is lazy); run the model once first", True
    if weight.layout != torch.strided:
        return f"has a sparse weight ({weight.layout}); make it dense first", True
    if weight.dtype not in FLOATING:
        return (
            f"has a weight of dtype {weight.dtype}; compress the model before it is quantised",
            True,
        )
    scaling = None
    if kind in ("embedding", "linear"):
        usual = nn.Embedding.forward if kind == "embedding" else nn.Linear.forward
        if type(module).forward is not usual:
            scaling = scaling_of(module)
            if scaling is None:
                return f"is of type {type(module).__name__}, whose forward is its own", False
            if not scaling.known:
                return "scales what it looks up by a number on the meta device", False
    if "forward" in vars(module):
        return "has a forward of its own (set on the instance)", False
    if kind != "parameter":
        held = [*module._parameters, *module._buffers, *module._modules]
        known = ("weight", "bias") if scaling is None else ("weight", SCALE)
        more = next((key for key in held if key not in known), None)
        if more is not None:
            return f"holds more than a weight and a bias ({more})", False
    if weight.is_meta and not meta:
        return "has no data (it is on the meta device); load the weights first", True
    return "", False
