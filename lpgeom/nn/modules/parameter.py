"""A bare parameter in two factors, for modules that multiply by ``self.q`` without a layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lpgeom.nn.factors.groups import Factors
from lpgeom.nn.modules.compressed import own
from lpgeom.nn.modules.low_rank import LowRank, scale_of


class LowRankParameter(LowRank):
    """Takes the place of a parameter, and is a tensor to torch's functions.

    XLNet's attention multiplies by bare parameters, ``torch.einsum("ibh,hnd->ibnd", x, self.q)``.
    This module registers under the parameter's name, holds the factors, and follows torch's
    ``__torch_function__`` protocol: in `torch.einsum` it is contracted factor by factor, and every
    other function of torch gets it multiplied out. Its owner's class stays as it is.

    Parameters
    ----------
    shape : sequence of int
        The parameter's shape; it is seen as a matrix (shape[0], the rest).
    rank : int
    device, dtype

    Attributes
    ----------
    left : Parameter, shape (shape[0], rank)
    right : Parameter, shape (rank, product of shape[1:])
    shape : torch.Size

    Examples
    --------
    >>> import torch
    >>> from lpgeom.nn import LowRankParameter
    >>> q = LowRankParameter((16, 2, 4), rank=3)
    >>> x = torch.randn(5, 16)
    >>> y = torch.einsum("bh,hnd->bnd", x, q)
    >>> torch.allclose(y, torch.einsum("bh,hnd->bnd", x, q.weight), atol=1e-5)
    True
    """

    kind = "parameter"

    def __init__(
        self,
        shape: Sequence[int],
        rank: int,
        *,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if len(shape) < 2:
            raise ValueError(f"a parameter of shape {tuple(shape)} has no factors")
        self.shape = torch.Size(shape)
        self._make_factors(shape[0], math.prod(shape[1:]), rank, 1, None, device, dtype)
        nn.init.normal_(self.left, std=scale_of(rank))
        nn.init.normal_(self.right)

    @classmethod
    def from_factors(cls, left: Tensor, right: Tensor, shape: Sequence[int]) -> LowRankParameter:
        """The parameter of that shape with these factors.

        Raises
        ------
        ValueError
            Shapes or dtypes that do not go together.
        """
        return cls._made(Factors.checked(left, right), shape)

    @classmethod
    def _made(cls, factors: Factors, shape: Sequence[int]) -> LowRankParameter:
        if factors.shape != (shape[0], math.prod(shape[1:])):
            raise ValueError(f"factors of {factors.shape} are not of {tuple(shape)}")
        made = cls(shape, factors.rank, device="meta", dtype=factors.lefts[0].dtype)
        made.take(factors)
        return made

    @classmethod
    def in_place_of(cls, owner: nn.Module, attribute: str, factors: Factors) -> LowRankParameter:
        """The module that takes the place of a bare parameter."""
        weight = owner._parameters[attribute]
        assert weight is not None
        return cls._made(factors, weight.shape).train(owner.training)

    def options(self) -> dict[str, Any]:
        """What a recipe says of the parameter beside its factors."""
        return {"shape": list(self.shape)}

    @property
    def weight(self) -> Tensor:
        """The parameter multiplied out, in its own shape."""
        return super().weight.reshape(self.shape)

    @property
    def dtype(self) -> torch.dtype:
        """The factors' dtype."""
        return self.left.dtype

    @property
    def device(self) -> torch.device:
        """The factors' device."""
        return self.left.device

    @property
    def ndim(self) -> int:
        """Number of dimensions of the parameter."""
        return len(self.shape)

    def to_dense(self) -> nn.Parameter:
        """A parameter with the product; its own memory."""
        return own(self.weight, self.learns())

    def forward(self) -> Tensor:
        """The parameter multiplied out."""
        return self.weight

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is torch.einsum and not kwargs:
            done = _contracted(*args)
            if done is not None:
                return done
        dense = [_dense(a) for a in args]
        return func(*dense, **{key: _dense(v) for key, v in (kwargs or {}).items()})

    def extra_repr(self) -> str:
        """What print(parameter) shows."""
        return f"{tuple(self.shape)}, rank={self.rank}"


def _dense(value: Any) -> Any:
    if isinstance(value, LowRankParameter):
        return value.weight
    if isinstance(value, list | tuple):
        return type(value)(_dense(v) for v in value)
    return value


def _contracted(equation: Any, *operands: Any) -> Tensor | None:
    """The einsum of a tensor and one low-rank parameter, through the nearer factor first.

    With the parameter's indices h, rest, and an index Z for the rank: first the factor that shares
    an index with the other operand to sum over, then the other factor, so that nothing larger than
    the operand and the result is made. None where the equation is not of that kind.
    """
    if len(operands) != 2 or not isinstance(equation, str) or "->" not in equation:
        return None
    inputs, output = equation.replace(" ", "").split("->")
    terms = inputs.split(",")
    which = [isinstance(operand, LowRankParameter) for operand in operands]
    if sum(which) != 1 or len(terms) != 2 or "." in equation or "Z" in equation:
        return None
    q = operands[which.index(True)]
    own, other = terms[which.index(True)], terms[which.index(False)]
    x = operands[which.index(False)]
    if len(own) != len(q.shape) or len(set(own)) != len(own):
        return None
    left = (own[0] + "Z", q.left)
    right = ("Z" + own[1:], q.right.reshape(q.rank, *q.shape[1:]))
    summed = [index for index in own if index in other and index not in output]
    first, second = (left, right) if own[0] in summed else (right, left)
    between = _kept(other, first[0], output + second[0])
    inner = torch.einsum(f"{other},{first[0]}->{between}", x, first[1])
    return torch.einsum(f"{between},{second[0]}->{output}", inner, second[1])


def _kept(a: str, b: str, needed: str) -> str:
    """The indices of a and b that are still needed, each once."""
    return "".join(dict.fromkeys(index for index in a + b if index in needed))
