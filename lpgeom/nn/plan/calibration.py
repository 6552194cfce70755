"""The metric of a layer's own inputs: second moments from calibration batches."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lpgeom.nn.factors.factored import Metric
from lpgeom.nn.model.sites import Group
from lpgeom.records.subspace import Array

RIDGE = 1e-6
"""Added to the second moment, as a share of its mean eigenvalue."""

SINGULAR = 1e-10
"""Eigenvalues below this share of the largest are directions the batches did not reach."""


def metrics_of(
    model: nn.Module, groups: Sequence[Group], batches: Iterable[Any]
) -> dict[str, Metric]:
    """Metrics of the linear layers among `groups`, by name.

    The model is run on every batch in evaluation mode without gradients, then set back. The second
    moment is ``C = mean x x^T`` over all inputs x of the layer, plus a ridge of 1e-6 of its mean
    eigenvalue; the metric is its square root. Inputs at tokens that a batch's ``attention_mask``
    takes out do not count. The mean is kept for layers with a bias that no other
    module has.

    Raises
    ------
    ValueError
        No batch, a layer that no batch reaches, or inputs that are not finite.
    TypeError
        Batches that the model does not take.
    """
    moments = {g.name: _Moment() for g in groups if g.kind in ("linear", "conv1d")}
    handles = [
        site.owner.register_forward_pre_hook(moments[group.name].add, with_kwargs=True)
        for group in groups
        if group.name in moments
        for site in group.sites
    ]
    modes = [(module, module.training) for module in model.modules()]
    count = 0
    try:
        model.eval()
        with torch.no_grad():
            for batch in batches:
                read = read_of(batch)
                for moment in moments.values():
                    moment.read = read
                run_batch(model, batch)
                count += 1
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes:
            module.training = training
    if not count:
        raise ValueError("calibration has no batches")
    held = Counter(id(q) for _, q in model.named_parameters(remove_duplicate=False))
    alone = {
        group.name: all(
            site.owner._parameters.get("bias") is not None
            and held[id(site.owner._parameters["bias"])] == len(site.paths)
            for site in group.sites
        )
        for group in groups
    }
    return {name: moment.metric(name, alone[name]) for name, moment in moments.items()}


def read_of(batch: Any) -> Tensor | None:
    """Which tokens (texts, tokens) of a batch are read; None: all, or it is not known."""
    mask = batch.get("attention_mask") if isinstance(batch, Mapping) else None
    if not isinstance(mask, Tensor) or mask.ndim != 2 or "decoder_input_ids" in batch:
        return None
    return mask.bool()


def run_batch(model: nn.Module, batch: Any) -> Any:
    """What a model returns for a batch.

    Raises
    ------
    TypeError
        Something that is no batch.
    """
    if isinstance(batch, Mapping):
        return model(**batch)
    if isinstance(batch, tuple | list | Tensor):
        return model(*([batch] if isinstance(batch, Tensor) else batch))
    raise TypeError(
        f"a calibration batch is a mapping, a tuple or a tensor, got {type(batch).__name__}"
    )


class _Moment:
    """Sum of ``x x^T`` over what a layer is given."""

    def __init__(self) -> None:
        self.total: Array | None = None
        self.sum: Array | None = None
        self.rows = 0
        self.read: Tensor | None = None

    def add(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A forward pre-hook."""
        given = args[0] if args else next(iter(kwargs.values()))
        # In float64: rounding must not pass for directions that the inputs have.
        x = given.detach()
        if self.read is not None and x.shape[:-1] == self.read.shape:
            x = x[self.read.to(x.device)]
        x = x.reshape(-1, x.shape[-1]).double()
        gram, line = (x.T @ x).cpu().numpy(), x.sum(0).cpu().numpy()
        self.total = gram if self.total is None else self.total + gram
        self.sum = line if self.sum is None else self.sum + line
        self.rows += len(x)

    def metric(self, name: str, with_mean: bool) -> Metric:
        """The square root of the mean, with the ridge."""
        if self.total is None or self.sum is None or not self.rows:
            raise ValueError(f"{name}: no calibration batch reaches it")
        if not np.isfinite(self.total).all():
            raise ValueError(f"{name}: its inputs on the calibration batches are not finite")
        values, U = np.linalg.eigh(self.total / self.rows)
        values = np.maximum(values, 0.0)
        d, mean = values.size, float(values.mean())
        if mean == 0.0:
            raise ValueError(f"{name}: its inputs on the calibration batches are all zero")
        seen = int((values > SINGULAR * values[-1]).sum())
        note = ""
        if seen < d:
            note = f"calibration reached {seen} of {d} directions; a ridge stands for the others"
            warnings.warn(f"{name}: {note}", stacklevel=4)
        roots = np.sqrt(values + RIDGE * mean)
        line = self.sum / self.rows if with_mean else None
        return Metric((U * roots) @ U.T, (U / roots) @ U.T, note, line)
