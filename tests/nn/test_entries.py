"""Candidates of a linear layer's weight in few bits, and what is made of the chosen one."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from models import generator
from torch import nn

from lpgeom.groups.allocation import lower_hull, spent
from lpgeom.nn.factors.entries import WIDTHS, _nearest, candidates, coded_entries, cost_of
from lpgeom.nn.factors.factored import Metric, Spec
from lpgeom.nn.model.sites import groups
from lpgeom.nn.modules.quantized_linear import QuantizedLinear
from lpgeom.nn.plan.calibration import metrics_of
from lpgeom.quantized.measure import CASTS, cast_distances


def weight(n: int = 96, d: int = 128, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(n, d, generator=generator(0)).to(dtype)


def inputs(d: int = 128, rank: int = 20) -> torch.Tensor:
    g = generator(1)
    return torch.randn(400, rank, generator=g) @ torch.randn(rank, d, generator=g) + 1.0


def metric(X: torch.Tensor, bias: bool = True) -> Metric:
    model = nn.Sequential(nn.Linear(X.shape[1], 3, bias))
    return metrics_of(model, groups(model), [X])["0"]


@pytest.mark.filterwarnings("ignore:.*calibration reached")
@pytest.mark.parametrize("p", [2.0, 1.0])
@pytest.mark.parametrize("aware", [False, True])
def test_more_bytes_lose_less(aware: bool, p: float) -> None:
    spec = Spec(p=p, metric=metric(inputs()) if aware else None)
    found = candidates(weight(), spec)
    sizes = [nbytes for nbytes, _, _ in found]
    assert sizes == sorted(set(sizes))
    assert sizes[-1] < 4 * 96 * 128
    hull = lower_hull([(float(nbytes), lost) for nbytes, lost, _ in found])
    assert len(hull) > 6
    assert all(after[1] < before[1] for before, after in pairwise(hull))
    assert {bits for _, _, (bits, _) in found} == {2, 3, 4, 5, 6, 7, 8}
    for nbytes, lost, choice in found[::5]:
        made = coded_entries(weight(), choice, spec)
        assert made.factors.nbytes <= nbytes
        assert 0.4 < made.cost / made.size / lost < 2.5


def test_small_weights_have_only_candidates_that_are_smaller() -> None:
    for n, d in ((1, 1), (3, 5), (16, 16)):
        for dtype in (torch.float16, torch.float32):
            found = candidates(weight(n, d, dtype), Spec(p=2.0))
            assert all(nbytes < n * d * dtype.itemsize for nbytes, _, _ in found)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_costs_are_those_of_what_is_stored(dtype: torch.dtype) -> None:
    W = weight(dtype=dtype)
    made = coded_entries(W, (4, 32), Spec(p=2.0))
    assert made.factors.dtype == dtype
    off = (W.double() - made.factors.dense().double()).square().sum()
    assert made.cost == pytest.approx(float(off))
    assert made.size == pytest.approx(float(W.double().square().sum()))
    assert made.factors.shift is None
    assert made.method == "nearest"


@pytest.mark.filterwarnings("ignore:.*calibration reached")
def test_the_bias_takes_the_mean_error() -> None:
    X, dense = inputs(), nn.Linear(128, 96).requires_grad_(False)
    found = {}
    for bias in (True, False):
        spec = Spec(p=2.0, metric=metric(X, bias))
        made = coded_entries(dense.weight, (3, 32), spec)
        layer = QuantizedLinear.in_place_of(dense, "weight", made.factors)
        off = (layer(X) - dense(X)).detach().double()
        found[bias] = float(off.square().sum(1).mean())
        assert made.cost == pytest.approx(found[bias], rel=0.02)
        assert (layer.bias is dense.bias) != bias
        if bias:
            assert float(off.mean(0).abs().max()) < 1e-4
        plain = QuantizedLinear.from_linear(dense, 3, 32)
        assert found[bias] < 0.3 * float((plain(X) - dense(X)).square().sum(1).mean())
    assert found[True] < found[False]


def test_a_bias_that_another_module_has_stays() -> None:
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6, bias=False))
    model[1].bias = model[0].bias
    with pytest.warns(UserWarning, match="calibration reached"):
        found = metrics_of(model, groups(model), [torch.randn(3, 6)])
    assert [found[name].mean for name in "012"] == [None, None, None]
    twice = nn.Sequential(model[2], nn.Linear(6, 6))
    twice.append(twice[1])
    found = metrics_of(twice, groups(twice), [torch.randn(40, 6)])
    assert found["1"].mean is not None
    assert np.linalg.eigvalsh(found["1"].spread)[0] > -1e-9


def test_one_budget_for_several_layers() -> None:
    curves = [
        [(float(nbytes), lost * n) for nbytes, lost, _ in candidates(weight(n, d), Spec(p=2.0))]
        for n, d in ((32, 64), (128, 32), (16, 200))
    ]
    least, most = (sum(points[i][0] for points in curves) for i in (0, -1))
    before = np.inf
    for budget in np.linspace(least, most + 100.0, 9):
        taken = spent(curves, budget)
        assert sum(points[i][0] for points, i in zip(curves, taken, strict=True)) <= budget
        cost = sum(points[i][1] for points, i in zip(curves, taken, strict=True))
        assert cost <= before * (1 + 1e-12)
        before = cost
    with pytest.raises(ValueError, match="the least there is"):
        spent(curves, least - 1.0)


def test_widths_are_worth_their_bytes() -> None:
    assert len(set(WIDTHS)) == len(WIDTHS)
    W = weight(8, 64)
    assert cost_of(W.numpy(), np.zeros((8, 64)), Spec(p=2.0)) == pytest.approx(
        float(W.square().sum()), rel=1e-5
    )


def test_casts_beside_layers_are_those_beside_tables() -> None:
    """What int8 and int4 cost is told by two codes, for rows and for entries."""
    W = np.random.default_rng(0).standard_normal((9, 70)).astype(np.float32) / 8.0
    for bits, off in zip(CASTS, cast_distances(lambda here: W[here], W.shape, None), strict=True):
        cost = cost_of(W, _nearest(W, bits), Spec(p=2.0))
        assert cost == pytest.approx(float((off**2).sum()), rel=1e-3)
