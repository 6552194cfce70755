"""Low-rank modules beside the dense ones they stand for."""

from __future__ import annotations

import copy
import pickle
import warnings
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models import (
    TOLERANCES,
    embedding,
    factors,
    generator,
    linear,
    product,
    skip_if_not_one_graph,
)
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from lpgeom.nn import LowRankEmbedding, LowRankLinear, LowRankParameter

DTYPES = tuple(TOLERANCES)
some = settings(deadline=None, derandomize=True, max_examples=40)

shapes = st.fixed_dictionaries(
    {
        "n": st.integers(1, 12),
        "d": st.integers(1, 9),
        "k": st.integers(1, 5),
        "j": st.integers(1, 5),
        "dtype": st.sampled_from(DTYPES),
        "seed": st.integers(0, 1000),
    }
)
batches = st.lists(st.integers(0, 3), max_size=3).map(tuple)


def close(a: Tensor, b: Tensor, dtype: torch.dtype) -> None:
    scale = 1.0 + float(b.detach().abs().max()) if b.numel() else 1.0
    torch.testing.assert_close(a.double(), b.double(), rtol=0, atol=TOLERANCES[dtype] * scale)


# ---- what they compute


@some
@given(shapes, batches)
def test_linear_is_the_dense_product(shape: dict[str, Any], batch: tuple[int, ...]) -> None:
    left, right, labels = factors(**shape)
    n, d, dtype = shape["n"], shape["d"], shape["dtype"]
    bias = torch.randn(n, generator=generator(1)).to(dtype)
    layer = LowRankLinear.from_factors(left, right, bias, labels=labels)
    x = torch.randn(*batch, d, generator=generator(2)).to(dtype)
    W = product(left, right, labels)
    y = layer(x)
    assert y.shape == (*batch, n)
    assert y.dtype == dtype
    close(y, F.linear(x.double(), W, bias.double()), dtype)
    close(layer.weight, W, dtype)
    assert torch.equal(layer.to_dense().weight, layer.weight)
    assert torch.equal(layer.to_dense().bias, bias)


@some
@given(shapes, batches)
def test_embedding_is_the_dense_table(shape: dict[str, Any], batch: tuple[int, ...]) -> None:
    left, right, labels = factors(**shape)
    layer = LowRankEmbedding.from_factors(left, right, labels=labels)
    ids = torch.randint(shape["n"], batch, generator=generator(1))
    y = layer(ids)
    assert y.shape == (*batch, shape["d"])
    assert y.dtype == shape["dtype"]
    close(y, product(left, right, labels)[ids], shape["dtype"])
    assert torch.equal(layer.to_dense().weight, layer.weight)


@pytest.mark.parametrize("j", [1, 3])
def test_ids_of_any_shape(j: int) -> None:
    layer = embedding(j=j)
    for ids in (torch.tensor(3), torch.zeros(0, dtype=torch.long), torch.zeros(2, 0, 3).long()):
        assert layer(ids).shape == (*ids.shape, 6)
    assert torch.equal(layer(torch.tensor(3)), layer(torch.tensor([3]))[0])
    assert torch.equal(layer(torch.tensor([3], dtype=torch.int32)), layer(torch.tensor([3])))
    with pytest.raises(IndexError):
        layer(torch.tensor([20]))


def test_parameter_is_the_dense_tensor() -> None:
    left, right, _ = factors(6, 8, 3)
    q = LowRankParameter.from_factors(left, right, (6, 2, 4))
    assert torch.equal(q.weight, (left @ right).view(6, 2, 4))
    assert torch.equal(q(), q.weight)
    assert torch.equal(q.to_dense(), q.weight)
    assert (q.shape, q.ndim, q.dtype) == ((6, 2, 4), 3, torch.float64)
    assert q.device == torch.device("cpu")
    transposed = LowRankParameter.from_factors(left, right.T.contiguous().T, (6, 2, 4))
    torch.testing.assert_close(transposed.weight, q.weight)
    x = torch.randn(5, 6, dtype=torch.float64)
    torch.testing.assert_close(
        torch.einsum("bh,hnd->bnd", x, transposed), torch.tensordot(x, q(), 1)
    )


# ---- how they are made


def test_factors_that_do_not_go_together() -> None:
    left, right, _ = factors(6, 4, 2)
    three, labels = right.expand(3, 2, 4), torch.tensor([0, 1, 2, 0, 1, 2])
    for make in (LowRankLinear.from_factors, LowRankEmbedding.from_factors):
        make(left, three.clone(), labels=labels)
        for bad in (
            (left, right[:1]), (left[0], right), (left, three), (left, right.float()),
            (left.long(), right.long()), (left[:, :0], right[:0]),
        ):  # fmt: skip
            with pytest.raises(ValueError, match="left|factors"):
                make(*bad)
        for wrong in (labels[:5], labels - 1, labels + 1, labels.double(), labels > 0):
            with pytest.raises(ValueError, match="labels"):
                make(left, three, labels=wrong)
        with pytest.raises(ValueError, match="labels go with two subspaces"):
            make(left, three[:1], labels=labels * 0)
    with pytest.raises(ValueError, match=r"bias must have shape \(6,\), got \(5,\)"):
        LowRankLinear.from_factors(left, right, torch.zeros(5))
    for bad_shape in ((5, 4), (6, 3), (4, 6)):
        with pytest.raises(ValueError, match="factors"):
            LowRankParameter.from_factors(left, right, bad_shape)
    with pytest.raises(ValueError, match="left"):
        LowRankParameter.from_factors(left, right[:1], (6, 4))
    with pytest.raises(ValueError, match="no factors"):
        LowRankParameter((6,), 2)


@pytest.mark.parametrize("make", [LowRankLinear, LowRankEmbedding])
def test_sizes_that_make_no_layer(make: Any) -> None:
    for bad, error in ((0, ValueError), (-1, ValueError), (2.5, TypeError)):
        with pytest.raises(error, match="rank must be"):
            make(6, 8, bad)
        with pytest.raises(error, match="subspaces must be"):
            make(6, 8, 2, subspaces=bad)
    with pytest.raises(ValueError, match="rank must be"):
        LowRankParameter((6, 2), 0)


def test_new_layers_have_the_scale_of_dense_ones() -> None:
    torch.manual_seed(0)
    dense, low = nn.Linear(400, 300), LowRankLinear(400, 300, 50)
    assert 0.8 < float((low.weight.std() / dense.weight.std()).detach()) < 1.25
    for j in (1, 3):
        table = LowRankEmbedding(500, 80, 20, padding_idx=-1, subspaces=j)
        assert 0.9 < float(table.weight.std().detach()) < 1.1
        assert table.padding_idx == 499
        assert not table.weight[499].any()
    with pytest.raises(ValueError, match="padding_idx must lie within the 5 rows"):
        LowRankEmbedding(5, 4, 2, padding_idx=5)


def test_factors_are_shared_not_copied() -> None:
    left, right, _ = factors(6, 4, 2)
    left, right = nn.Parameter(left, requires_grad=False), nn.Parameter(right)
    bias = nn.Parameter(torch.zeros(6, dtype=torch.float64))
    layer = LowRankLinear.from_factors(left, right, bias)
    table = LowRankEmbedding.from_factors(left, right)
    assert layer.left is table.left is left
    assert layer.right is table.right is right
    assert layer.bias is bias
    assert not layer.to_dense().weight.requires_grad
    assert layer.to_dense().bias.requires_grad
    assert layer.to_dense().bias is not bias


def test_weight_cannot_be_set() -> None:
    for layer in (linear(), embedding()):
        with pytest.raises(AttributeError):
            layer.weight = torch.zeros(2, 2)


# ---- options of nn.Embedding


@pytest.mark.parametrize("norm", [1.0, 2.0, 3.5, float("inf")])
@pytest.mark.parametrize("j", [1, 3])
def test_max_norm_shortens_rows_in_place_as_before(norm: float, j: int) -> None:
    low = embedding(j=j, max_norm=1.5, norm_type=norm)
    dense = nn.Embedding(20, 6, max_norm=1.5, norm_type=norm, dtype=torch.float64)
    dense.weight.data = low.weight.detach().clone()
    lefts = low.factors.lefts
    ids = torch.tensor([[3, 3, 7], [0, 19, 3]])
    for _ in range(2):
        torch.testing.assert_close(low(ids), dense(ids), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(low.weight, dense.weight, rtol=1e-12, atol=1e-12)
    assert all(now is left for now, left in zip(low.factors.lefts, lefts, strict=True))
    assert bool((low.weight[ids].norm(p=norm, dim=-1) <= 1.5 + 1e-12).all())
    untouched = low.weight[1].detach().clone()
    low(torch.zeros(0, dtype=torch.long))
    assert torch.equal(low.weight[1], untouched)
    low(ids).sum().backward()  # the change in place is no part of the graph
    assert all(left.grad is not None for left in lefts if len(left))


@pytest.mark.parametrize("j", [1, 3])
@pytest.mark.parametrize(("sparse", "by_frequency"), [(False, False), (False, True), (True, False)])
@pytest.mark.parametrize("padding", [None, 2, -3])
def test_gradients_are_those_of_an_embedding_and_a_product(
    j: int, sparse: bool, by_frequency: bool, padding: int | None
) -> None:
    options = {"padding_idx": padding, "scale_grad_by_freq": by_frequency, "sparse": sparse}
    low = embedding(j=j, **options)
    inner = nn.Embedding(20, 3, dtype=torch.float64, **options)
    left, right, _ = factors(20, 6, 3, j)
    inner.weight.data = left
    right.requires_grad_()
    ids = torch.tensor([[2, 2, 17], [5, 2, 0]])
    picked = right if j == 1 else right[low.labels.long()[ids]]
    y = inner(ids)[..., None, :] @ picked
    coefficients = torch.randn(2, 3, 6, generator=generator(3), dtype=torch.float64)
    (y.squeeze(-2) * coefficients).sum().backward()
    (low(ids) * coefficients).sum().backward()
    expected = inner.weight.grad.to_dense()
    for c, pair in enumerate(low.pairs):
        rows = slice(None) if j == 1 else low.labels == c
        of_right = right.grad if j == 1 else right.grad[c]
        torch.testing.assert_close(pair.right.grad, of_right)
        if len(pair.left):
            assert pair.left.grad.is_sparse == sparse
            torch.testing.assert_close(pair.left.grad.to_dense(), expected[rows])
    if padding is not None:
        c, at = low._padding()
        assert not low.pairs[c].left.grad.to_dense()[at].any()


def test_options_reach_the_dense_table_and_back() -> None:
    options: dict[str, Any] = {
        "padding_idx": 4, "max_norm": 2.0, "norm_type": 1.0, "scale_grad_by_freq": True,
        "sparse": True,
    }  # fmt: skip
    low = embedding(**options).eval()
    dense = low.to_dense()
    assert {key: getattr(dense, key) for key in options} == options
    assert not dense.training
    again = LowRankEmbedding.from_embedding(dense, 2)
    assert {key: getattr(again, key) for key in options} == options
    assert not again.training


# ---- ordinary modules


def everyone() -> list[Any]:
    left, right, _ = factors(6, 8, 3)
    return [
        linear(), linear(j=3, bias=False), embedding(padding_idx=1), embedding(j=3, max_norm=9.0),
        LowRankParameter.from_factors(left, right, (6, 2, 4)),
    ]  # fmt: skip


@pytest.mark.parametrize("i", range(5))
def test_pickled_and_copied(i: int) -> None:
    module = everyone()[i]
    x = torch.tensor([1, 5]) if isinstance(module, LowRankEmbedding) else torch.ones(2, 6).double()
    for again in (pickle.loads(pickle.dumps(module)), copy.deepcopy(module)):
        assert repr(again) == repr(module)
        assert torch.equal(again.weight, module.weight)
        assert again.factors.lefts[0] is not module.factors.lefts[0]
        if not isinstance(module, LowRankParameter):
            assert torch.equal(again(x), module(x))


@pytest.mark.parametrize("i", range(5))
def test_state_dict_round_trip(i: int) -> None:
    module, fresh = everyone()[i], copy.deepcopy(everyone()[i])
    with torch.no_grad():
        for tensor in fresh.state_dict().values():
            tensor.zero_()
    fresh.load_state_dict(module.state_dict(), strict=True)
    assert torch.equal(fresh.weight, module.weight)
    expected = {"left", "right"}
    if module.labels is not None:
        expected = {f"{side}.{c}" for side in ("lefts", "rights") for c in range(3)}
        expected |= {"labels", "places"}
    expected |= {"bias"} if getattr(module, "bias", None) is not None else set()
    assert set(module.state_dict()) == expected
    assert len(list(module.parameters())) == len(expected - {"labels", "places"})


@pytest.mark.parametrize("i", range(5))
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_cast(i: int, dtype: torch.dtype) -> None:
    module = everyone()[i]
    before, labels = module.weight.detach().clone(), module.labels
    module.to(dtype)
    assert {q.dtype for q in module.parameters()} == {module.weight.dtype} == {dtype}
    close(module.weight, before, dtype)
    assert labels is None or torch.equal(module.labels, labels)
    module.double().half()
    assert {q.dtype for q in module.parameters()} == {torch.float16}
    meta = copy.deepcopy(module).to("meta")
    assert meta.weight.is_meta
    assert meta.weight.shape == module.weight.shape


@pytest.mark.parametrize("j", [1, 3])
def test_autocast_computes_in_its_dtype(j: int) -> None:
    layer, x = linear(j=j, dtype=torch.float32), torch.randn(2, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(x)
        assert y.dtype == nn.Linear(6, 8)(x).dtype == torch.bfloat16
        assert torch.isfinite(embedding(j=j, dtype=torch.float32)(torch.tensor([1, 2]))).all()
    close(y, layer(x), torch.bfloat16)
    y.float().sum().backward()
    assert layer.factors.lefts[0].grad.dtype == torch.float32


def test_repr() -> None:
    assert repr(linear()) == ("LowRankLinear(in_features=6, out_features=8, rank=3, bias=True)")
    assert "subspaces=3, bias=False" in repr(linear(j=3, bias=False))
    text = repr(embedding(j=2, padding_idx=-1, max_norm=1.0, sparse=True))
    assert (
        text
        == "LowRankEmbedding(20, 6, rank=3, subspaces=2, padding_idx=19, max_norm=1.0, sparse=True)"
    )
    assert repr(LowRankParameter((6, 2, 4), 3)) == "LowRankParameter((6, 2, 4), rank=3)"


def test_gradcheck() -> None:
    x = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    ids = torch.tensor([[0, 3], [3, 5]])
    for j in (1, 3):
        module, table = linear(6, 5, 2, j, bias=False), embedding(6, 5, 2, j)
        names = [name for name, q in module.named_parameters() if q.numel()]
        values = [module.get_parameter(name).detach().requires_grad_() for name in names]

        def layer(
            x: Tensor, *values: Tensor, module: nn.Module = module, names: list[str] = names
        ) -> Tensor:
            given = dict(zip(names, values, strict=True))
            return torch.func.functional_call(module, given, (x,))  # type: ignore[no-any-return]

        def looked_up(
            *values: Tensor, table: nn.Module = table, names: list[str] = names
        ) -> Tensor:
            given = dict(zip(names, values, strict=True))
            return torch.func.functional_call(table, given, (ids,))  # type: ignore[no-any-return]

        assert torch.autograd.gradcheck(layer, (x, *values))
        assert torch.autograd.gradcheck(looked_up, values)


@pytest.mark.parametrize("j", [1, 4])
def test_fine_tuning_moves_the_factors(j: int) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(embedding(j=j, dtype=torch.float32), linear(j=j, dtype=torch.float32))
    ids = torch.arange(20)
    target = torch.randn(20, 8)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = (model(ids) - target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


# ---- compilers


def cases() -> list[tuple[nn.Module, Tensor, Tensor]]:
    ids, more = torch.tensor([[1, 2, 3]]), torch.tensor([[4, 4, 0], [19, 1, 2], [7, 8, 9]])
    x = torch.randn(2, 6, dtype=torch.float64)
    return [
        (linear(j=1), x, torch.randn(5, 6, dtype=torch.float64)),
        (linear(j=3), x, torch.randn(5, 6, dtype=torch.float64)),
        (embedding(j=1, padding_idx=0), ids, more),
        (embedding(j=3), ids, more),
        (embedding(max_norm=1.0), ids, more),
    ]


@pytest.mark.parametrize("i", range(5))
def test_export_with_a_dynamic_batch(i: int) -> None:
    module, x, more = cases()[i]
    skip_if_not_one_graph(module)
    x = torch.cat([x, x])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(
            copy.deepcopy(module), (x,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)
        )
    torch.testing.assert_close(program.module()(more), module(more))


@pytest.mark.parametrize("i", range(5))
def test_compiled_in_one_graph(i: int) -> None:
    module, x, _ = cases()[i]
    skip_if_not_one_graph(module)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled = torch.compile(copy.deepcopy(module), backend="aot_eager", fullgraph=True)
        y = compiled(x)
        y.sum().backward()
    torch.testing.assert_close(y, module(x))
    module(x).sum().backward()
    for ours, theirs in zip(compiled.parameters(), module.parameters(), strict=True):
        assert (ours.grad is None) == (theirs.grad is None)
        if theirs.grad is not None:
            torch.testing.assert_close(ours.grad, theirs.grad)


@pytest.mark.parametrize("i", [0, 2])
def test_scripted(i: int) -> None:
    module, x, more = cases()[i]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(module)
    for some in (x, more):
        torch.testing.assert_close(scripted(some), module(some))


@pytest.mark.parametrize("i", range(4))
def test_traced_with_other_sizes(i: int) -> None:
    module, x, more = cases()[i]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(module, x)
    torch.testing.assert_close(traced(more), module(more))


# ---- a parameter that is none


class Largest(TorchDispatchMode):
    """The most numbers that any operation made."""

    numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for value in made if isinstance(made, tuple | list) else (made,):
            if isinstance(value, Tensor):
                self.numel = max(self.numel, value.numel())
        return made


def parameter() -> LowRankParameter:
    left, right, _ = factors(24, 40, 3, seed=5)
    return LowRankParameter.from_factors(left, right, (24, 5, 8))


CONTRACTIONS = (
    ("ibh,hnd->ibnd", (2, 3, 24)),  # queries, keys, values
    ("ibnd,hnd->ibh", (2, 3, 5, 8)),  # the output
    ("h,hnd->nd", (24,)),
    ("bh , hnd -> bdn", (3, 24)),
    ("bnh,hnd->bnd", (2, 5, 24)),  # a batch index in the parameter
    ("nd,hnd->h", (5, 8)),
    ("bd,hnd->bhn", (2, 8)),
    ("bh,hnd->bh", (2, 24)),  # the parameter's own sums
    ("hh,hnd->nd", (24, 24)),
    ("hnd,hnd->", (24, 5, 8)),
    ("b,hnd->bhnd", (2,)),
    ("bH,HND->bND", (3, 24)),
)


@pytest.mark.parametrize(("equation", "shape"), CONTRACTIONS)
@pytest.mark.parametrize("first", [True, False])
def test_einsum(equation: str, shape: tuple[int, ...], first: bool) -> None:
    q, x = parameter(), torch.randn(*shape, generator=generator(1), dtype=torch.float64)
    x.requires_grad_()
    dense = q.weight.detach().requires_grad_()
    arguments = (x, q)
    if not first:
        terms, output = equation.split("->")
        equation = "{1},{0}->{2}".format(*terms.split(","), output)
        arguments = (q, x)
    y = torch.einsum(equation, *arguments)
    expected = torch.einsum(equation, *(dense if a is q else a for a in arguments))
    torch.testing.assert_close(y, expected)
    expected.square().sum().backward()
    expected_grad, x.grad = x.grad, None
    y.square().sum().backward()
    torch.testing.assert_close(x.grad, expected_grad)
    torch.testing.assert_close(q.left.grad, dense.grad.flatten(1) @ q.right.detach().T)
    torch.testing.assert_close(q.right.grad, q.left.detach().T @ dense.grad.flatten(1))


@pytest.mark.parametrize(("equation", "shape"), CONTRACTIONS[:7])
def test_einsum_never_makes_the_dense_parameter(equation: str, shape: tuple[int, ...]) -> None:
    q, x = parameter(), torch.randn(*shape, dtype=torch.float64)
    with torch.no_grad(), Largest() as largest:
        y = torch.einsum(equation, x, q)
    assert largest.numel <= max(x.numel(), y.numel(), q.left.numel(), q.right.numel())
    assert largest.numel < q.weight.numel()
    with torch.no_grad(), Largest() as largest:
        torch.einsum(equation, x, q.weight)
    assert largest.numel >= q.weight.numel()  # the counter counts


def test_other_functions_see_the_dense_tensor() -> None:
    left, right, _ = factors(6, 8, 3)
    q = LowRankParameter.from_factors(left, right, (6, 8))
    W, x = q.weight, torch.randn(4, 6, dtype=torch.float64)
    for f in (
        lambda w: torch.matmul(x, w), lambda w: x @ w, lambda w: torch.transpose(w, 0, 1),
        lambda w: torch.cat([w, w], dim=1), lambda w: torch.stack((w, x[:, :1].T @ x[:, :1] + w)),
        lambda w: F.linear(x, torch.t(w)), lambda w: torch.add(w, 1.0), lambda w: x.mm(w),
        lambda w: torch.einsum("bh,hn", x, w), lambda w: torch.einsum("...h,hn->...n", x, w),
        lambda w: torch.einsum("bh,hn->bn", [x, w]), lambda w: torch.einsum("hn->nh", w),
        lambda w: torch.einsum("bh,hn,cn->bc", x, w, torch.ones_like(W[:2])),
        lambda w: torch.einsum("hn,hn->hn", w, w), lambda w: torch.mul(input=W, other=w),
        lambda w: torch.einsum("bh,hZ->bZ", x, w),
    ):  # fmt: skip
        torch.testing.assert_close(f(q), f(W))
        q.zero_grad()
        f(q).sum().backward()
        assert q.left.grad is not None
        assert bool(q.left.grad.any())
    with pytest.raises(RuntimeError):
        torch.einsum("bh,hnd->bnd", x, q)  # the dense tensor's own error
    with pytest.raises(RuntimeError):
        torch.einsum("bh,hn->bx", x, q)
