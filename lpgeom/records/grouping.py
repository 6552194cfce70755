"""What records of rows in groups share, each group with a subspace of its own, and its check."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lpgeom.io.interchange import as_numpy
from lpgeom.records.certified import plain
from lpgeom.records.subspace import Array, CertificateError, SubspaceResult

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

BLOCK = 4096
"""Rows of one block."""

EPS, TINY = float(np.finfo(np.float64).eps), float(np.finfo(np.float64).tiny)
LARGEST = float(np.finfo(np.float64).max)


class Grouping(ABC):
    """Rows in groups: row i is approximated in the subspace of group ``labels[i]``.

    For frozen dataclasses with the fields below. They say what their groups are (`_groups`), which
    parts must agree with one another (`_check_parts`) and what of the lower bound a group proves
    (`_proved`).
    """

    labels: NDArray[np.int64]
    cost: float
    norm_error: float
    lower_bound: float
    single_cost: float
    history: tuple[float, ...]
    p: float
    shape: tuple[int, int]
    method: str
    n_iter: int
    converged: bool
    seconds: float
    row_weights: Array | None

    _WORD = "group"
    """What error messages call one."""

    @abstractmethod
    def _groups(self) -> Sequence[tuple[Array, SubspaceResult | None]]:
        """An orthonormal basis for each label, and the result for its rows alone."""

    @abstractmethod
    def _check_parts(self) -> None:
        """Raise a CertificateError unless the parts agree with one another."""

    @abstractmethod
    def _proved(self, c: int, A: NDArray[Any], index: NDArray[np.intp], rtol: float) -> float:
        """The lower bound that a group's certificate proves for its rows A, all else recomputed."""

    @property
    def subspaces(self) -> int:
        """How many there are: j."""
        return len(self._groups())

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Rows of each label, shape (j,)."""
        return np.bincount(self.labels, minlength=self.subspaces)

    @property
    def failure_probability(self) -> float:
        """Of `lower_bound`: at most the sum over the groups; 0.0: it holds always."""
        found = (result.certificate for _, result in self._groups() if result is not None)
        return min(1.0, sum(c.failure_probability for c in found if c is not None))

    def verify(self, A: ArrayLike, *, rtol: float = 1e-9) -> None:
        """Recompute everything from A: labels, costs, and each certificate on the rows it is about.

        Parameters
        ----------
        A : array_like, shape (n, d)
        rtol : float
            Relative rounding slack between the two computations.

        Raises
        ------
        CertificateError
            If the parts do not fit together, a cost is not the stated one, or more is stated than
            the certificates prove for the rows of their labels.
        """
        A = self._data(A, CertificateError)
        self._check_parts()
        lower = 0.0
        for c in range(self.subspaces):
            index = np.flatnonzero(self.labels == c)
            lower += self._proved(c, A[index], index, rtol)
        if not self.lower_bound <= lower * (1.0 + rtol):
            raise CertificateError(
                f"lower bound stated as {self.lower_bound!r}; the certificates prove {lower!r}"
            )

    def _data(self, A: Any, error: type[ValueError] = ValueError) -> NDArray[Any]:
        """The matrix that the result is about."""
        A = as_numpy(A, "A")
        if A.shape != self.shape:
            raise error(f"A has shape {A.shape}; the result is for shape {self.shape}")
        return np.asarray(A)

    def _check_labels(self) -> None:
        n, j = self.shape[0], self.subspaces
        if self.labels.shape != (n,) or self.labels.dtype.kind not in "iu":
            raise CertificateError(f"labels are not {n} integers")
        if int(self.labels.min()) < 0 or int(self.labels.max()) >= j:
            raise CertificateError(f"labels are not all between 0 and {j - 1}")

    def _check_bases(self) -> None:
        for c, (V, _) in enumerate(self._groups()):
            defect = float(np.abs(V.T @ V - np.eye(V.shape[1])).max(initial=0.0))
            if not defect <= 1e-9:
                raise CertificateError(f"basis {c} is not orthonormal: off by {defect:.3g}")

    def _check_sums(self, total: float, norms: Sequence[float]) -> None:
        """The groups' costs, of this sum, and their norm errors make the whole's; it never rose."""
        if not math.isclose(total, self.cost, rel_tol=1e-12):
            raise CertificateError(f"cost is {self.cost!r}, its parts add up to {total!r}")
        norm = p_norm(norms, self.p)
        if not math.isclose(norm, self.norm_error, rel_tol=1e-12):
            raise CertificateError(f"norm error is {self.norm_error!r}, its parts make {norm!r}")
        if not self.cost <= self.single_cost:
            raise CertificateError(f"cost {self.cost!r} is above single_cost {self.single_cost!r}")
        falling = all(b <= a for a, b in zip(self.history, self.history[1:], strict=False))
        if not (self.history and falling and self.history[-1] == self.cost):
            raise CertificateError("history rises, or does not end in the cost")

    def _check_certificate(self, c: int, index: NDArray[np.intp]) -> None:
        """One group's certificate is about its subspace and the weights of its rows."""
        basis, result = self._groups()[c]
        assert result is not None
        certificate, omega = result.certificate, self.row_weights
        assert certificate is not None
        if not (certificate.p == self.p and np.array_equal(certificate.basis, basis)):
            raise CertificateError(f"the certificate of {self._WORD} {c} is about another subspace")
        theirs = certificate.row_weights
        if theirs is None or omega is None:
            same = theirs is None and omega is None
        else:
            same = np.array_equal(theirs, omega[index])
        if not same:
            raise CertificateError(f"the certificate of {self._WORD} {c} has other row weights")

    def _check_norm(
        self, c: int, stated: float, A: NDArray[Any], index: NDArray[np.intp], rtol: float
    ) -> None:
        """A group's norm error is that of its rows A in its basis."""
        V = self._groups()[c][0]
        omega = self.row_weights
        weights = np.ones(index.size) if omega is None else omega[index]
        norm, slack = distance_norm(A, V, weights, self.p)
        if not abs(stated - norm) <= rtol * norm + slack:
            raise CertificateError(
                f"{self._WORD} {c} is stated to have norm error {stated!r}, recomputed {norm!r}"
            )

    def _said_of_method(self) -> str:
        """A line of `summary`."""
        return f"  method       {self.method}: {self.n_iter} rounds, {self.seconds:.2f} s" + (
            "" if self.converged else ", not converged"
        )

    def _plain(self, *names: str) -> dict[str, Any]:
        """What `to_dict` has of every such record, and these properties of it."""
        return {
            "shape": list(self.shape),
            "sizes": self.sizes.tolist(),
            **plain(self, names),
            "history": ["inf" if cost == math.inf else cost for cost in self.history],
            "results": [None if r is None else r.to_dict() for _, r in self._groups()],
        }


def distance_norm(A: NDArray[Any], V: Array, weights: Array, p: float) -> tuple[float, float]:
    """The p-norm of the distances of rows A (m, d) from the span of V (d, k), and what rounding may
    hide of it, as for the rank of a matrix: ``max(m, d) eps`` times its norm, row by row, and what
    has few digits in float64. Nothing is farther from all of space than 0."""
    m, d = A.shape
    if V.shape[1] == d:
        return 0.0, 0.0
    y = np.zeros(m)
    frobenius = 0.0
    for lo in range(0, m, BLOCK):
        block = A[lo : lo + BLOCK].astype(np.float64)
        top = float(np.abs(block).max(initial=0.0)) or 1.0
        block /= top
        residual = block - (block @ V) @ V.T
        y[lo : lo + BLOCK] = top * np.sqrt(np.einsum("ij,ij->i", residual, residual))
        frobenius = math.hypot(frobenius, top * float(np.linalg.norm(block)))
    root = weights ** (1.0 / p)
    off = max(m, d) * EPS * frobenius
    return p_norm(root * y, p), p_norm(root * off, p) + TINY


def p_norm(x: ArrayLike, p: float) -> float:
    """``(sum x^p)^(1/p)`` for x >= 0, relative to the largest."""
    x = np.asarray(x, dtype=np.float64)
    top = float(x.max(initial=0.0))
    if top == 0.0 or math.isinf(top):
        return top
    return top * float(((x / top) ** p).sum()) ** (1.0 / p)
