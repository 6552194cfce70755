"""Factors into the place of a weight: ordinary modules, options and state carried over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from lpgeom.io import validation
from lpgeom.nn.factors.factor import factorise
from lpgeom.nn.factors.factored import Factored, Spec
from lpgeom.nn.model.sites import Group, Site, _sites
from lpgeom.nn.modules.embedding import LowRankEmbedding
from lpgeom.nn.modules.linear import LowRankLinear
from lpgeom.nn.modules.mixed_embedding import MixedRankEmbedding
from lpgeom.nn.modules.mixed_linear import MixedRankLinear
from lpgeom.nn.modules.parameter import LowRankParameter
from lpgeom.nn.modules.scaled import scaling_of
from lpgeom.nn.stored.recipe import EMBEDDING_OPTIONS

_HOOKS = (
    "_forward_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called",
    "_forward_pre_hooks", "_forward_pre_hooks_with_kwargs",
    "_backward_hooks", "_backward_pre_hooks", "_is_full_backward_hook",
)  # fmt: skip


def build(site: Site, left: Tensor, right: Tensor, labels: Tensor | None) -> nn.Module:
    """The module that takes the weight's place at a site; Parameters given to it stay shared."""
    owner = site.owner
    if site.kind == "parameter":
        return LowRankParameter.from_factors(left, right, site.weight.shape).train(owner.training)
    made: nn.Module
    if site.kind == "embedding":
        assert isinstance(owner, nn.Embedding)
        made = LowRankEmbedding.from_factors(
            left, right, labels=labels, scaling=scaling_of(owner),
            **{key: getattr(owner, key) for key in EMBEDDING_OPTIONS},
        )  # fmt: skip
    else:
        bias = owner._parameters.get("bias")
        made = LowRankLinear.from_factors(left, right, bias, labels=labels)
    return carried_over(owner, made)


def carried_over(old: nn.Module, made: nn.Module) -> nn.Module:
    """The new module with the old one's hooks and mode."""
    for name in _HOOKS:
        setattr(made, name, getattr(old, name))
    return made.train(old.training)


def build_all(
    group: Group, left: Tensor, right: Tensor, labels: Tensor | None
) -> list[tuple[Site, nn.Module]]:
    """Modules for every site of a group, from the same two Parameters.

    Tied layers keep using one another's weights: an output layer computes ``(x right^T) left^T``
    with the embedding's own factors.
    """
    grad = group.head.weight.requires_grad
    left, right = nn.Parameter(left, grad), nn.Parameter(right, grad)
    return [(site, build(site, left, right, labels)) for site in group.sites]


def build_mixed(group: Group, found: Factored) -> list[tuple[Site, nn.Module]]:
    """`build_all` for groups of rows that have ranks of their own."""
    grad = group.head.weight.requires_grad
    # No gradient where there are no numbers, which nothing should wait for.
    lefts = [nn.Parameter(left, grad and len(left) > 0) for left in found.lefts]
    rights = [nn.Parameter(right, grad and len(right) > 0) for right in found.rights]
    made: list[tuple[Site, nn.Module]] = []
    for site in group.sites:
        module: nn.Module
        if site.kind == "embedding":
            options = {key: getattr(site.owner, key) for key in EMBEDDING_OPTIONS}
            module = MixedRankEmbedding.from_factors(
                lefts, rights, found.labels, places=found.places,
                scaling=scaling_of(site.owner), **options,
            )  # fmt: skip
        else:
            bias = site.owner._parameters.get("bias")
            module = MixedRankLinear.from_factors(
                lefts, rights, found.labels, bias, places=found.places
            )
        made.append((site, carried_over(site.owner, module)))
    return made


def install(replacements: Sequence[tuple[Site, nn.Module]]) -> None:
    """Set all modules in their places, or none."""
    # Whole tables, so that what is put back keeps its place in their order.
    before = {
        parent: (dict(parent._parameters), dict(parent._modules))
        for site, _ in replacements
        for parent, _ in site.places
    }
    try:
        for site, made in replacements:
            for parent, key in site.places:
                if site.kind == "parameter":
                    del parent._parameters[key]
                    parent.add_module(key, made)
                else:
                    parent._modules[key] = made
    except BaseException:
        for parent, tables in before.items():
            for table, old in zip((parent._parameters, parent._modules), tables, strict=True):
                table.clear()
                table.update(old)
        raise


def factored(
    module: nn.Module, rank: int, p: float, kinds: tuple[str, ...], options: dict[str, Any]
) -> nn.Module:
    """A single module's replacement: `from_linear` and `from_embedding`."""
    site = next(iter(_sites(module, False)), None)
    if site is None or site.owner is not module or site.kind not in kinds:
        wanted = " or ".join(
            {"linear": "torch.nn.Linear", "conv1d": "Conv1D"}.get(k, "torch.nn.Embedding")
            for k in kinds
        )
        raise TypeError(f"expected a {wanted}, got {type(module).__name__}")
    if site.obstacle:
        raise TypeError(f"the {type(module).__name__} {site.obstacle}")
    row_weights = options.pop("row_weights", None)
    unknown = set(options) - {"objective", "subspaces", "certify", "seed"}
    if unknown:
        raise TypeError(f"unknown option {sorted(unknown)[0]!r}")
    spec = Spec(p=validation.check_p(p), **options)
    n, d = site.shape
    rank = validation.check_positive_int("rank", rank)
    if rank > min(n, d):
        raise ValueError(f"rank must be at most min{(n, d)} = {min(n, d)}, got {rank}")
    found = factorise(
        site.matrix(site.weight), rank, spec, validation.check_weights(row_weights, n)
    )
    return build_all(Group((site,)), found.left, found.right, found.labels)[0][1]
