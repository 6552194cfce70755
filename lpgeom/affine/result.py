"""What is known of an affine subspace, and its check as a whole."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import block_diag

from lpgeom.affine.lift import lifted
from lpgeom.io import validation
from lpgeom.records.subspace import Certificate, CertificateError
from lpgeom.rows.base import Array


@dataclass(frozen=True, eq=False)
class AffineResult:
    """An affine subspace ``centre + span(basis)`` and how far from optimal it can be.

    Attributes
    ----------
    centre : ndarray, shape (d,), float64
    basis : ndarray, shape (d, k), float64
        Orthonormal.
    cost : float
        ``sum_i omega_i dist(a_i, centre + span basis)^p``, a p-th power, in user units.
    lower_bound, ratio : float
        On the cost of every affine subspace of dimension k, whatever its centre (A2); of every
        linear one where the centre is None. ``ratio = (cost / lower_bound)^(1/p)``. 0 and inf
        where not certified.
    linear_ratio : float
        The same against the subspaces that go through `centre` alone.
    centre_ratio : float
        Against the same `basis` with any other centre (A1).
    guarantee : float
        A-priori ratio against every affine subspace (A3, A4); inf where none is known.
    certificate : Certificate or None
        The one of `ratio`: it speaks of the rows ``lifted(A, centre, lift)``, or of A where centre
        is None.
    linear_certificate : Certificate or None
        It speaks of the rows ``A - centre``.
    lift : float
        The s of `certificate`; 0 where centre is None.
    pca_cost : float
        What PCA costs: the mean and the leading principal axes (without centring, where the centre
        is None).
    linear : bool
        Whether the centre was given as None, and the bounds are those of linear subspaces.
    support : ndarray, shape (n,), bool, or None
        The rows that cost, bounds and ratios are about: those that `support_fraction` kept. None:
        all.
    p, k, shape, method, n_iter, converged, seed
        See `SubspaceResult`; `method` is "rank" where the rows lie in the subspace, "full" for
        k = d.

    Examples
    --------
    >>> import lpgeom
    >>> A = [[0.0, 1.0], [2.0, 1.0], [5.0, 1.0], [9.0, 1.0], [4.0, 3.0]]
    >>> found = lpgeom.approx_affine(A, 1)  # the line y = 1
    >>> round(found.cost, 6), bool(abs(found.basis[1, 0]) < 1e-6)
    (2.0, True)
    """

    centre: Array = field(repr=False)
    basis: Array = field(repr=False)
    cost: float
    lower_bound: float
    ratio: float
    linear_ratio: float
    centre_ratio: float
    guarantee: float
    certificate: Certificate | None = field(repr=False)
    linear_certificate: Certificate | None = field(repr=False)
    lift: float
    pca_cost: float
    linear: bool
    p: float
    k: int
    shape: tuple[int, int]
    method: str
    n_iter: int
    converged: bool
    seed: int
    support: NDArray[np.bool_] | None = field(default=None, repr=False)

    def verify(self, A: ArrayLike, *, rtol: float = 1e-9) -> None:
        """Recompute the cost and both lower bounds from A with independent NumPy code.

        Parameters
        ----------
        A : array_like, shape (n, d)
            The data that it was found for.
        rtol : float
            The same as in `Certificate.verify`.

        Raises
        ------
        CertificateError
            If a certificate does not hold for A, or a cost, bound or ratio here is not what they
            prove (`centre_ratio` and `guarantee` are not looked at); or if there is none
            (certify=False).
        """
        rows = np.asarray(validation.check_matrix(A), dtype=np.float64)
        if rows.shape != self.shape:
            raise CertificateError(f"the result is for shape {self.shape}, A has {rows.shape}")
        stated = (self.cost, self.lower_bound, self.ratio, self.linear_ratio)
        if self.k == self.shape[1]:  # the subspace is all of the space
            proved = (0.0, 0.0, 1.0, 1.0)
        else:
            own, affine = self.linear_certificate, self.certificate
            if own is None or affine is None:
                raise CertificateError("there is no certificate to check (certify=False)")
            B = rows - self.centre
            V = self.basis if self.linear else block_diag(self.basis, 1.0)
            for certificate, basis in ((own, self.basis), (affine, V)):
                same = certificate.basis.shape == basis.shape
                if not same or np.abs(certificate.basis - basis).max() > 1e-12:
                    raise CertificateError("a certificate is about another subspace")
            own.verify(B, rtol=rtol)
            affine.verify(B if self.linear else lifted(rows, self.centre, self.lift), rtol=rtol)
            best = min(affine.ratio, own.ratio)
            weighed = own.row_weights
            if self.support is not None and (
                weighed is None or not np.array_equal(self.support, weighed > 0.0)
            ):
                raise CertificateError("the certificate is not about the rows of the support")
            proved = (affine.cost, affine.lower_bound, affine.ratio, best)
            if self.cost == 0.0:  # every row fits to its own rounding
                replace(own, scaled_cost=0.0, bounds=(), guarantee=math.inf).verify(B, rtol=rtol)
                proved = (0.0, affine.lower_bound, 1.0, 1.0)
        if stated != proved:
            raise CertificateError(f"cost, bound and ratios are {stated}, and proved are {proved}")
