"""A module in the place of a dense weight: what models, plans and files know of all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch import Tensor, nn

from lpgeom.nn.factors.held import Held


class Compressed(nn.Module, ABC):
    """A matrix (n, d) that is kept in another form than entry by entry."""

    kind: ClassVar[str]
    """The kind of weight whose place it takes."""

    how: ClassVar[str]
    """In which form: what is said where it is to be compressed once more."""

    @property
    @abstractmethod
    def held(self) -> Held:
        """The matrix in its form; Parameters are the module's own."""

    @abstractmethod
    def take(self, held: Any) -> None:
        """Use these numbers as they are: Parameters stay shared."""

    @property
    @abstractmethod
    def weight(self) -> Tensor:
        """The dense matrix (n, d), made at each access.

        For code that reads ``layer.weight``; gradients flow to the parameters. It cannot be set.
        """

    @abstractmethod
    def options(self) -> dict[str, Any]:
        """What a recipe says of the module beside the sizes of what it holds."""

    @abstractmethod
    def to_dense(self) -> nn.Module | nn.Parameter:
        """What the module stands for, in memory of its own."""

    @abstractmethod
    def said(self) -> str:
        """What print shows of the form."""

    @classmethod
    @abstractmethod
    def in_place_of(cls, owner: nn.Module, attribute: str, held: Any) -> Compressed:
        """The module that takes a weight's place; Parameters given to it stay shared."""

    def learns(self) -> bool:
        """Whether one of the numbers asks for gradients."""
        return any(tensor.requires_grad for tensor in self.held.tensors().values())


def own(value: Tensor, grad: bool) -> nn.Parameter:
    """A Parameter with these numbers, in memory of its own."""
    return nn.Parameter(value.detach().clone(), requires_grad=grad)
