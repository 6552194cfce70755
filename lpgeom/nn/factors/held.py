"""What a module holds in the place of a dense weight, as models, plans and files ask for it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

H = TypeVar("H", bound="Held")


class Held(ABC):
    """A matrix (n, d) that is not stored entry by entry: factors, or numbers in few bits.

    Whatever has these joins: `Compressed` modules are made of it, reports count it, recipes name
    its sizes, and nothing else asks how the matrix is kept.
    """

    form: ClassVar[str]
    """What a recipe calls it."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """(n, d) of the matrix."""

    @property
    @abstractmethod
    def rank(self) -> int:
        """The largest dimension in which rows lie, 1 at least."""

    @property
    @abstractmethod
    def parameters(self) -> int:
        """How many numbers there are."""

    @property
    @abstractmethod
    def first(self) -> Tensor:
        """The tensor by whose identity one tells that two modules share all of it."""

    @property
    def dtype(self) -> torch.dtype:
        """That of the matrix, and of what it multiplies."""
        return self.first.dtype

    @property
    @abstractmethod
    def sizes(self) -> dict[str, Any]:
        """The options that make a module of these sizes."""

    @property
    @abstractmethod
    def outline(self) -> dict[str, Any]:
        """The sizes as fields of a recipe's `Layer`."""

    def fault(self) -> str:
        """What does not go together in it, as a file may have it; "" if all does."""
        return ""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """What a module has of it, by the names it has there."""

    @abstractmethod
    def without_data(self: H) -> H:
        """The same on the meta device."""

    @abstractmethod
    def as_parameters(self: H, grad: bool = True) -> H:
        """The same with Parameters; what is one stays itself, so that what is shared stays so."""

    def stored(self) -> dict[str, Tensor]:
        """What lies on disk, by the same names."""
        return self.tensors()

    @property
    def nbytes(self) -> int:
        """Bytes on disk, with all that says which row is where."""
        return sum(x.nbytes for x in self.stored().values())
