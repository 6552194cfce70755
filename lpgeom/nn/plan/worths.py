"""How much a layer's relative error counts: what it does to the model's own output."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lpgeom.nn.model.sites import Group
from lpgeom.nn.plan.calibration import read_of, run_batch


def worths_of(model: nn.Module, groups: Sequence[Group], batch: Any) -> dict[str, float]:
    """The share of the model's squared output that errors of a layer change, for each of its own.

    A layer's output y, over the tokens t and features i of a batch, may be off by e of mean 0,
    independent from entry to entry, with ``E e^2 = s v`` for the share s that is lost and v the
    mean square of an entry of y (about its mean, where the layer is linear). To first order the
    output f is off by J e, and ``E ||J e||^2 = s v ||J||_F^2``. With z of independent entries of
    variance 1, ``E ||J^T z||^2 = ||J||_F^2``, and ``J^T z`` is the gradient of ``z . f`` in y: one
    forward and one backward pass give all layers an estimate of ``v ||J||_F^2 / ||f||^2``.

    Parameters
    ----------
    model : torch.nn.Module
        As it is after; no gradient is left anywhere.
    groups : sequence of Group
    batch : mapping, tuple or Tensor
        As for `metrics_of`. f is the first tensor of real numbers in what the model returns.

    Returns
    -------
    dict
        By the groups' names, those that the output depends on. Empty, with a warning, where there
        is no gradient.
    """
    seen: dict[str, list[tuple[Tensor, Tensor, str]]] = defaultdict(list)
    handles = [
        site.owner.register_forward_hook(_probing(seen[group.name], site.kind))
        for group in groups
        for site in group.sites
        if site.kind != "parameter"
    ]
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        with torch.enable_grad():
            f = next(_real(run_batch(model, batch)), None)
            flat = [(name, *probe) for name, probes in seen.items() for probe in probes]
            gradients = _gradients(f, [probe for _, probe, _, _ in flat], read_of(batch))
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes:
            module.training = training
    found: dict[str, float] = defaultdict(float)
    for (name, _, y, kind), g in zip(flat, gradients, strict=True):
        if g is not None:
            found[name] += _worth(y, g, kind, read_of(batch))
    whole = 0.0 if f is None else float(f.detach().double().square().sum())
    usable = {k: v / whole for k, v in found.items() if whole and 0.0 < v / whole < float("inf")}
    if not usable:
        warnings.warn("the model's output has no gradient: layers count by size", stacklevel=3)
    return usable


def _probing(seen: list[tuple[Tensor, Tensor, str]], kind: str) -> Any:
    """A forward hook that adds a zero whose gradient is wanted."""

    def hook(module: nn.Module, args: Any, y: Tensor) -> Tensor:
        probe = torch.zeros_like(y, requires_grad=True)
        seen.append((probe, y.detach(), kind))
        return y + probe

    return hook


def _real(value: Any) -> Iterator[Tensor]:
    """Tensors of real numbers in what a model returns."""
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _real(part)
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _real(part)


def _gradients(
    f: Tensor | None, probes: Sequence[Tensor], read: Tensor | None
) -> Sequence[Tensor | None]:
    """``J^T z`` for each probe; None where f does not depend on it."""
    if f is None or not f.requires_grad or not probes:
        return [None] * len(probes)
    z = torch.randn(f.shape, generator=torch.Generator().manual_seed(0)).to(f)
    if read is not None and f.shape[: read.ndim] == read.shape:
        z = z * read.to(f).reshape(*read.shape, *[1] * (f.ndim - read.ndim))
    return torch.autograd.grad((f * z).sum(), probes, allow_unused=True)


def _worth(y: Tensor, g: Tensor, kind: str, read: Tensor | None) -> float:
    """``v ||J^T z||^2`` of a layer's output."""
    y, g = y.double(), g.double()
    if read is not None and y.shape[:-1] == read.shape:
        y, g = y[read.to(y.device)], g[read.to(y.device)]
    y = y.reshape(-1, y.shape[-1])
    if kind != "embedding":
        y = y - y.mean(0)
    return float(y.square().mean()) * float(g.square().sum())
