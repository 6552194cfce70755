"""Modules whose rows have different ranks, beside the dense ones they stand for."""

from __future__ import annotations

import copy
import pickle
import warnings
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models import TOLERANCES, factors, generator, skip_if_not_one_graph
from models import product as of_subspaces
from torch import Tensor, nn
from torch.nn import functional as F

from lpgeom import nn as lpnn
from lpgeom.nn import LowRankEmbedding, LowRankLinear
from lpgeom.nn.factors.groups import are_places, places_of

some = settings(deadline=None, derandomize=True, max_examples=60)

shapes = st.fixed_dictionaries(
    {
        "d": st.integers(1, 8),
        "sizes": st.lists(st.tuples(st.integers(0, 9), st.integers(0, 8)), min_size=1, max_size=5),
        "dtype": st.sampled_from(tuple(TOLERANCES)),
        "seed": st.integers(0, 1000),
    }
)
batches = st.lists(st.integers(0, 3), max_size=3).map(tuple)


@pytest.fixture(autouse=True)
def nothing_compiled_before() -> None:
    torch.compiler.reset()


USUAL = ((4, 6), (5, 3), (7, 1), (3, 0), (0, 2), (1, 4))
"""(rows, rank) of groups: kept, low, zero and without rows."""


def groups(
    sizes: Any = USUAL, d: int = 6, dtype: torch.dtype = torch.float64, seed: int = 0
) -> tuple[list[Tensor], list[Tensor | None], Tensor, Tensor]:
    """Random (lefts, rights, labels, places), the rows of a group in any order."""
    g = generator(seed)
    lefts: list[Tensor] = []
    rights: list[Tensor | None] = []
    for n_c, k in sizes:
        k = min(k, d)
        lefts.append(torch.randn(n_c, k, generator=g, dtype=torch.float64).to(dtype))
        right = torch.randn(k, d, generator=g, dtype=torch.float64) / max(k, 1) ** 0.5
        rights.append(None if k == d else right.to(dtype))
    labels = torch.tensor([c for c, (n_c, _) in enumerate(sizes) for _ in range(n_c)]).long()
    places = torch.tensor([i for n_c, _ in sizes for i in range(n_c)]).long()
    order = torch.randperm(len(labels), generator=g)
    return lefts, rights, labels[order], places[order]


def product(
    lefts: list[Tensor], rights: list[Tensor | None], labels: Tensor, places: Tensor, d: int
) -> Tensor:
    """The dense weight, row by row, in float64."""
    rows = []
    for c, at in zip(labels.tolist(), places.tolist(), strict=True):
        right = rights[c]
        row = lefts[c][at].double()
        rows.append(row if right is None else row @ right.double())
    return torch.stack(rows) if rows else torch.zeros(0, d, dtype=torch.float64)


def embedding(sizes: Any = USUAL, d: int = 6, **options: Any) -> LowRankEmbedding:
    lefts, rights, labels, places = groups(sizes, d, options.pop("dtype", torch.float64))
    return LowRankEmbedding.from_factors(lefts, rights, labels=labels, places=places, **options)


def linear(sizes: Any = USUAL, d: int = 6, bias: bool = True, **options: Any) -> LowRankLinear:
    lefts, rights, labels, places = groups(sizes, d, **options)
    shift = torch.arange(len(labels), dtype=lefts[0].dtype) if bias else None
    return LowRankLinear.from_factors(lefts, rights, shift, labels=labels, places=places)


def close(a: Tensor, b: Tensor, dtype: torch.dtype) -> None:
    scale = 1.0 + float(b.detach().abs().max()) if b.numel() else 1.0
    torch.testing.assert_close(a.double(), b.double(), rtol=0, atol=4 * TOLERANCES[dtype] * scale)


# ---- what they compute


@some
@given(shapes, batches, st.booleans())
def test_embedding_is_the_dense_table(
    shape: dict[str, Any], batch: tuple[int, ...], fixed: bool
) -> None:
    lefts, rights, labels, places = groups(**shape)
    d, n = shape["d"], len(labels)
    rights = [torch.zeros(0, d, dtype=shape["dtype"]) if r is None else r for r in rights]
    layer = LowRankEmbedding.from_factors(lefts, rights, labels=labels, places=places)
    W = product(lefts, [r if len(r) or k == 0 else None for r, k in zip(rights, layer.ranks,
                strict=True)], labels, places, d)  # fmt: skip
    close(layer.weight, W, shape["dtype"])
    assert torch.equal(layer.to_dense().weight, layer.weight)
    if n == 0:
        assert layer(torch.zeros(*batch, 0, dtype=torch.long)).shape == (*batch, 0, d)
        return
    ids = torch.randint(n, batch, generator=generator(1))
    y = layer._masked(ids.flatten(), *(
        x.index_select(0, ids.flatten()) for x in (layer.labels, layer.places)
    )).reshape(*batch, d) if fixed else layer(ids)  # fmt: skip
    assert y.shape == (*batch, d)
    assert y.dtype == shape["dtype"]
    close(y, W[ids], shape["dtype"])


@some
@given(shapes, batches)
def test_linear_is_the_dense_product(shape: dict[str, Any], batch: tuple[int, ...]) -> None:
    lefts, rights, labels, places = groups(**shape)
    d, dtype = shape["d"], shape["dtype"]
    W = product(lefts, rights, labels, places, d)
    rights = [torch.zeros(0, d, dtype=dtype) if r is None else r for r in rights]
    bias = torch.randn(len(labels), generator=generator(1)).to(dtype)
    layer = LowRankLinear.from_factors(lefts, rights, bias, labels=labels, places=places)
    x = torch.randn(*batch, d, generator=generator(2)).to(dtype)
    y = layer(x)
    assert y.shape == (*batch, len(labels))
    assert y.dtype == dtype
    close(y, F.linear(x.double(), W, bias.double()), dtype)
    if len(labels):  # torch warns of layers that are empty
        assert torch.equal(layer.to_dense().weight, layer.weight)
        assert torch.equal(layer.to_dense().bias, bias)


def test_ids_of_any_shape() -> None:
    layer = embedding()
    for ids in (torch.tensor(3), torch.zeros(0, dtype=torch.long), torch.zeros(2, 0, 3).long()):
        assert layer(ids).shape == (*ids.shape, 6)
    assert torch.equal(layer(torch.tensor(3)), layer(torch.tensor([3]))[0])
    assert torch.equal(layer(torch.tensor([3], dtype=torch.int32)), layer(torch.tensor([3])))
    for outside in (20, -1):
        with pytest.raises(IndexError):
            layer(torch.tensor([outside]))


def test_rows_that_are_kept_or_zero_are_so_exactly() -> None:
    layer = embedding(dtype=torch.float16)
    y = layer(torch.arange(20))
    assert torch.equal(y[layer.labels == 0], layer.lefts[0][layer.places[layer.labels == 0].long()])
    assert not y[layer.labels == 3].any()
    assert y[layer.labels == 1].any()


def test_places_in_the_order_of_labels() -> None:
    lefts, rights, labels, _ = groups()
    layer = LowRankEmbedding.from_factors(lefts, rights, labels=labels)
    seen = [0] * len(lefts)
    for c, at in zip(labels.tolist(), layer.places.tolist(), strict=True):
        assert at == seen[c]
        seen[c] += 1
    assert are_places(labels, layer.places, layer.counts)
    assert torch.equal(places_of(labels, len(lefts)), layer.places)
    for wrong in (layer.places + 1, layer.places - 1, layer.places * 0, layer.places[:-1]):
        assert not are_places(labels, wrong, layer.counts)
    assert not are_places(labels + 1, layer.places, layer.counts)


def test_three_hundred_groups() -> None:
    sizes = [(1, c % 3) for c in range(300)]
    layer = embedding(sizes, d=2)
    assert layer.labels.dtype == torch.int32
    assert torch.equal(layer(torch.arange(300)), layer.weight)


# ---- how they are made


def test_factors_that_do_not_go_together() -> None:
    lefts, rights, labels, places = groups()
    for make in (LowRankEmbedding.from_factors, LowRankLinear.from_factors):
        make(lefts, rights, labels=labels, places=places)
        short, other = list(lefts), list(lefts)
        short[1], other[1] = lefts[1][:-1], lefts[1][:, :-1]
        wrong_right, no_right, long_right = list(rights), list(rights), list(rights)
        wrong_right[1], no_right[1], long_right[0] = torch.zeros(3, 5).double(), None, torch.eye(6)
        flat = list(lefts)
        flat[2] = lefts[2][0]
        for bad, match in (
            ((lefts[:-1], rights, labels), "left and a right factor"),
            (([], [], labels), "left and a right factor"),
            ((lefts, wrong_right, labels), r"must be \(n_c, k\) and right"),
            ((lefts, no_right, labels), "group 1: left must be"),
            ((lefts, long_right, labels), "dtype"),
            ((lefts, [torch.eye(6).double(), *rights[1:]], labels), "group 0: left must be"),
            ((other, rights, labels), "group 1: left must be"),
            ((flat, rights, labels), "group 2: the left factor must be a matrix"),
            ((short, rights, labels), "labels must be 19 integers"),
            (([x.long() for x in lefts], rights, labels), "floating"),
            ((lefts, rights, labels[:-1]), "labels must be 20 integers"),
            ((lefts, rights, labels.double()), "labels must be 20 integers"),
            ((lefts, rights, labels + 1), "labels must lie between"),
            ((lefts, rights, labels - 1), "labels must lie between"),
            ((lefts, rights, labels * 0), r"rows, the left factors \[4, 5"),
            (([torch.zeros(20, 0)], [None], labels * 0), "no factor tells how long"),
        ):
            with pytest.raises(ValueError, match=match):
                make(*bad[:2], labels=bad[2])
        for wrong in (places + 1, places * 0, places[:-1], places.double()):
            with pytest.raises(ValueError, match="places must"):
                make(lefts, rights, labels=labels, places=wrong)
    with pytest.raises(ValueError, match=r"bias must have shape \(20,\), got \(5,\)"):
        LowRankLinear.from_factors(lefts, rights, torch.zeros(5), labels=labels)


@pytest.mark.parametrize("make", [LowRankEmbedding, LowRankLinear])
def test_sizes_that_make_no_layer(make: Any) -> None:
    first = (20, 6) if make is LowRankEmbedding else (6, 20)
    make(*first, (6, 2), counts=(5, 15))
    for ranks, counts, error, match in (
        ((6, 2), (5, 14), ValueError, "counts must add up to 20"),
        ((6, 2), (20,), ValueError, "as many"),
        ((), (), ValueError, "as many"),
        ((7, 2), (5, 15), ValueError, "ranks must lie between 0 and 6"),
        ((-1, 2), (5, 15), ValueError, "ranks must lie between 0 and 6"),
        ((6, 2), (-5, 25), ValueError, "counts must be at least 0"),
        ((2.0, 2), (5, 15), TypeError, "ranks must be whole numbers"),
        ((2, 2), (True, 19), TypeError, "counts must be whole numbers"),
        ("22", (5, 15), TypeError, "ranks must be whole numbers"),
    ):
        with pytest.raises(error, match=match):
            make(*first, ranks, counts=counts)
    with pytest.raises(ValueError, match="padding_idx must lie within the 5 rows"):
        LowRankEmbedding(5, 4, (2,), counts=(5,), padding_idx=5)


def test_new_layers_have_the_scale_of_dense_ones() -> None:
    torch.manual_seed(0)
    table = LowRankEmbedding(900, 80, (80, 20, 5), counts=(300, 300, 300), padding_idx=-1)
    assert table.padding_idx == 899
    for c in range(3):
        rows = table.weight[table.labels == c]
        assert 0.85 < float(rows.std().detach()) < 1.15
    assert not table.weight[899].any()
    dense = nn.Linear(80, 900)
    layer = LowRankLinear(80, 900, (80, 20, 5), counts=(300, 300, 300))
    for c in range(3):
        rows = layer.weight[layer.labels == c]
        assert 0.8 < float((rows.std() / dense.weight.std()).detach()) < 1.25


def test_factors_are_shared_not_copied() -> None:
    table = embedding()
    layer = LowRankLinear.from_factors(
        table.lefts, table.rights, labels=table.labels, places=table.places
    )
    for ours, theirs in zip(table.parameters(), layer.parameters(), strict=True):
        assert ours is theirs
    assert layer.labels is table.labels
    assert layer.places is table.places
    both = nn.ModuleList([table, layer]).float()
    assert all(a is b for a, b in zip(table.lefts, layer.lefts, strict=True))
    numbers = sum(n_c * k + (k * 6 if k < 6 else 0) for n_c, k in USUAL)
    assert sum(q.numel() for q in both.parameters()) == numbers
    for module in both:
        with pytest.raises(AttributeError):
            module.weight = torch.zeros(2, 2)


# ---- options of nn.Embedding


@pytest.mark.parametrize("norm", [1.0, 2.0, float("inf")])
def test_max_norm_shortens_rows_in_place_as_before(norm: float) -> None:
    low = embedding(max_norm=1.0, norm_type=norm)
    dense = nn.Embedding(20, 6, max_norm=1.0, norm_type=norm, dtype=torch.float64)
    dense.weight.data = low.weight.detach().clone()
    ids = torch.tensor([[3, 3, 7], [0, 19, 3], [4, 5, 6]])
    for _ in range(2):
        torch.testing.assert_close(low(ids), dense(ids), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(low.weight, dense.weight, rtol=1e-12, atol=1e-12)
    untouched = low.weight[1].detach().clone()
    low(torch.zeros(0, dtype=torch.long))
    assert torch.equal(low.weight[1], untouched)
    low(ids).sum().backward()  # the change in place is no part of the graph


@pytest.mark.parametrize(("sparse", "by_frequency"), [(False, False), (False, True), (True, False)])
@pytest.mark.parametrize("padding", [None, 2, -3, 5])
@pytest.mark.parametrize("how", ["sorted", "compiled"])
def test_gradients_are_those_of_embeddings_and_products(
    sparse: bool, by_frequency: bool, padding: int | None, how: str
) -> None:
    options = {"padding_idx": padding, "scale_grad_by_freq": by_frequency, "sparse": sparse}
    low = embedding(**options)
    # A table of the padded left factors, and for each row the padded right factor of its group.
    wide = torch.zeros(20, 6, dtype=torch.float64)
    rights = torch.zeros(len(USUAL), 6, 6, dtype=torch.float64)
    for c, (_, k) in enumerate(USUAL):
        rows = low.labels == c
        wide[rows, :k] = low.lefts[c].detach()[low.places[rows].long()]
        rights[c, :k] = torch.eye(6) if k == 6 else low.rights[c].detach()
    inner = nn.Embedding(20, 6, dtype=torch.float64, **options)
    inner.weight.data = wide
    rights.requires_grad_()
    ids = torch.tensor([[2, 2, 17], [5, 2, 0], [5, 11, 8]])
    y = inner(ids)[..., None, :] @ rights[low.labels.long()[ids]]
    coefficients = torch.randn(3, 3, 6, generator=generator(3), dtype=torch.float64)
    (y.squeeze(-2) * coefficients).sum().backward()
    called = low
    if how == "compiled":
        called = torch.compile(low, backend="aot_eager", fullgraph=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        z = called(ids)
    (z * coefficients).sum().backward()
    torch.testing.assert_close(z, y.squeeze(-2))
    expected = inner.weight.grad.to_dense()
    for c, (n_c, k) in enumerate(USUAL):
        if n_c == 0 or k == 0:
            continue
        rows = low.labels == c
        grad = low.lefts[c].grad.to_dense()[low.places[rows].long()]
        torch.testing.assert_close(grad, expected[rows, :k])
        if k < 6:
            torch.testing.assert_close(low.rights[c].grad, rights.grad[c, :k])
    if padding is not None:
        c, at = int(low.labels[padding]), int(low.places[padding])
        assert not low.lefts[c].grad.to_dense()[at].any()


def test_options_reach_the_dense_table() -> None:
    options: dict[str, Any] = {
        "padding_idx": 4, "max_norm": 2.0, "norm_type": 1.0, "scale_grad_by_freq": True,
        "sparse": True,
    }  # fmt: skip
    dense = embedding(**options).eval().to_dense()
    assert {key: getattr(dense, key) for key in options} == options
    assert not dense.training


# ---- ordinary modules


def everyone() -> list[tuple[nn.Module, Tensor]]:
    x = torch.randn(2, 6, generator=generator(4), dtype=torch.float64)
    ids = torch.tensor([[1, 5, 5, 0]])
    return [(linear(), x), (linear(bias=False), x), (embedding(padding_idx=1), ids),
            (embedding(max_norm=9.0), ids)]  # fmt: skip


@pytest.mark.parametrize("i", range(4))
def test_pickled_copied_and_loaded(i: int) -> None:
    module, x = everyone()[i]
    fresh = copy.deepcopy(module)
    with torch.no_grad():
        for tensor in fresh.state_dict().values():
            tensor.zero_()
    fresh.load_state_dict(module.state_dict(), strict=True)
    for again in (pickle.loads(pickle.dumps(module)), copy.deepcopy(module), fresh):
        assert repr(again) == repr(module)
        assert torch.equal(again.weight, module.weight)
        assert again.lefts[0] is not module.lefts[0]
        assert torch.equal(again(x), module(x))
    expected = {f"{side}.{c}" for side in ("lefts", "rights") for c in range(len(USUAL))}
    expected |= {"labels", "places"} | ({"bias"} if getattr(module, "bias", None) is not None
                                        else set())  # fmt: skip
    assert set(module.state_dict()) == expected
    other = embedding(((10, 6), (10, 3))) if i > 1 else linear(((10, 6), (10, 3)))
    with pytest.raises(RuntimeError, match="size mismatch"):
        other.load_state_dict(module.state_dict(), strict=False)


@pytest.mark.parametrize("i", range(4))
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_cast(i: int, dtype: torch.dtype) -> None:
    module, x = everyone()[i]
    before, labels, places = module.weight.detach(), module.labels, module.places
    module.to(dtype)
    assert {q.dtype for q in module.parameters()} == {module.weight.dtype} == {dtype}
    close(module.weight, before, dtype)
    assert module.labels is labels
    assert module.places is places
    assert module(x.to(dtype) if x.is_floating_point() else x).dtype == dtype
    meta = copy.deepcopy(module).to("meta")
    assert meta.weight.is_meta
    assert meta(x.to("meta", dtype if x.is_floating_point() else None)).is_meta


def test_every_parameter_that_has_numbers_gets_a_gradient() -> None:
    """Also of groups that no id is of: what waits for all gradients does not wait forever."""
    for module, x in everyone():
        module(x[:1]).sum().backward()
        for name, parameter in module.named_parameters():
            assert parameter.requires_grad or parameter.numel() == 0
            assert (parameter.grad is not None) == parameter.requires_grad, name


def test_autocast() -> None:
    layer, x = linear(dtype=torch.float32), torch.randn(2, 6)
    table = embedding(dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
        # As nn.Embedding, whichever groups the ids are of.
        for ids in (torch.arange(20), torch.tensor([1]), torch.tensor([2])):
            assert table(ids).dtype == torch.float32
        close(table(torch.arange(20)), table.weight.float(), torch.bfloat16)
    close(layer(x), F.linear(x, layer.weight, layer.bias), torch.float32)


def test_repr() -> None:
    assert repr(LowRankEmbedding(9, 6, (6, 2), counts=(4, 5), padding_idx=-1, max_norm=1.0)) == (
        "LowRankEmbedding(9, 6, ranks=(6, 2), counts=(4, 5), padding_idx=8, max_norm=1.0)"
    )
    assert repr(LowRankLinear(6, 9, (6, 2), counts=(4, 5), bias=False)) == (
        "LowRankLinear(in_features=6, out_features=9, ranks=(6, 2), counts=(4, 5), bias=False)"
    )


def test_gradcheck() -> None:
    table, layer = embedding(), linear()
    x = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)
    ids = torch.tensor([[0, 3], [3, 5], [12, 19]])
    names = [name for name, q in table.named_parameters() if q.requires_grad and q.numel()]
    values = [table.get_parameter(name).detach().requires_grad_() for name in names]

    def looked_up(*given: Tensor) -> Tensor:
        return torch.func.functional_call(table, dict(zip(names, given, strict=True)), (ids,))

    def multiplied(x: Tensor, *given: Tensor) -> Tensor:
        return torch.func.functional_call(layer, dict(zip(names, given, strict=True)), (x,))

    assert torch.autograd.gradcheck(looked_up, values)
    assert torch.autograd.gradcheck(multiplied, (x, *values))


def test_fine_tuning_moves_the_factors() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(embedding(dtype=torch.float32), linear(dtype=torch.float32))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    target = torch.randn(20, 20)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = (model(torch.arange(20)) - target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


# ---- compilers


@pytest.mark.parametrize("i", range(4))
@pytest.mark.parametrize("how", ["export", "compile", "trace"])
def test_in_one_graph_with_other_sizes(i: int, how: str) -> None:
    module, x = everyone()[i]
    if how == "trace" and i == 3:
        pytest.skip("a traced change in place is part of the graph")
    skip_if_not_one_graph(module)
    x = torch.cat([x, x])
    more = torch.cat([x, x.flip(0), x.flip(-1)])
    own = copy.deepcopy(module)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if how == "export":
            dynamic = ({0: torch.export.Dim.DYNAMIC},)
            made = torch.export.export(own, (x,), dynamic_shapes=dynamic).module()
        elif how == "compile":
            made = torch.compile(own, backend="aot_eager", fullgraph=True, dynamic=True)
        else:
            made = torch.jit.trace(own, x)
        torch.testing.assert_close(made(x), module(x))
        torch.testing.assert_close(made(more), module(more))


# ---- what was before


def test_names_of_before_warn_and_make_the_same() -> None:
    lefts, rights, labels, places = groups()
    with pytest.warns(DeprecationWarning, match="MixedRankEmbedding is now LowRankEmbedding"):
        before: Any = lpnn.MixedRankEmbedding
    table = before.from_factors(lefts, rights, labels, places=places, padding_idx=2)
    assert type(table) is LowRankEmbedding
    assert isinstance(table, before)
    assert not isinstance(LowRankEmbedding(9, 6, 2), before)
    assert table.padding_idx == 2
    assert torch.equal(table.weight, embedding().weight)
    made = before(9, 6, (6, 2), (4, 5), -1, max_norm=1.0)
    again = LowRankEmbedding(9, 6, (6, 2), -1, counts=(4, 5), max_norm=1.0)
    assert repr(made) == repr(again)
    with pytest.warns(DeprecationWarning, match="MixedRankLinear is now LowRankLinear"):
        before = lpnn.MixedRankLinear
    layer = before.from_factors(lefts, rights, labels, torch.zeros(20).double(), places=places)
    assert type(layer) is LowRankLinear
    assert isinstance(layer, before)
    assert torch.equal(layer.weight, table.weight)
    assert repr(before(6, 9, (6, 2), (4, 5), False)) == repr(
        LowRankLinear(6, 9, (6, 2), False, counts=(4, 5))
    )


@pytest.mark.parametrize("rank", [3, 6])
@pytest.mark.parametrize("make", ["embedding", "linear"])
def test_state_dicts_of_equal_subspaces_as_they_were(make: str, rank: int) -> None:
    """`left` (n, k), `right` (j, k, d) and `labels`, into groups of any sizes."""
    left, right, labels = factors(20, 6, rank, 3)
    assert labels is not None
    state = {"left": left, "right": right, "labels": labels.to(torch.uint8)}
    if make == "embedding":
        layer: Any = LowRankEmbedding(20, 6, rank, subspaces=3, dtype=torch.float64)
    else:
        layer = LowRankLinear(6, 20, rank, False, subspaces=3, dtype=torch.float64)
    first, counts = layer.lefts[0], layer.counts
    holder = nn.ModuleDict({"a": layer})
    holder.load_state_dict({f"a.{name}": value for name, value in state.items()}, strict=True)
    assert layer.lefts[0] is first  # an optimizer still holds it
    assert layer.counts != counts
    torch.testing.assert_close(layer.weight, of_subspaces(left, right, labels))
    assert are_places(layer.labels, layer.places, layer.counts)
    # And what is stored today, into fresh groups of other sizes.
    fresh = LowRankEmbedding(20, 6, rank, subspaces=3, dtype=torch.float64)
    fresh.load_state_dict(layer.state_dict(), strict=True)
    assert torch.equal(fresh.weight, layer.weight)
    with pytest.raises(ValueError, match="labels must lie between 0 and 2"):
        layer.load_state_dict(state | {"labels": labels + 3})
