"""A basis of what l_p regressions fit with: orthonormal columns, and the way there and back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lpgeom.rows.base import Array
from lpgeom.rows.place import Place, place_of

EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Basis:
    """An orthonormal Q of V's column span; and how to change coefficients of one to the other's.

    Attributes
    ----------
    Q : shape (d, r)
        Where V is, as are the others.
    back, forth : shapes (k, r) and (r, k)
    products : shape (d, r (r + 1) / 2), or None
        ``q_ja q_jb`` for a <= b, where that table is not too large.
    given : shape (d, k), or None
        V itself, columns scaled, on the host; bounds are then proved for it, and otherwise for Q.
    inner : shape (k, r), or None
        What takes coefficients of Q to those of `given`, on the host.
    """

    Q: Any
    back: Any
    forth: Any
    products: Any
    given: Any = None
    inner: Any = None

    @staticmethod
    def of(V: Any, *, proving: bool = False) -> Basis:
        """Q from the SVD of V with columns scaled alike; directions of rounding size are left."""
        place = place_of(V)
        V = V.astype(np.float64, copy=False)
        top = place.host(np.abs(V).max(axis=0))
        # Columns that small are nothing: coefficients for them would leave float64.
        scale = np.ldexp(1.0, np.where(top < 2.0**-960, 0, -np.frexp(top)[1]))
        V = V * place.xp.asarray(scale)
        U, s, Wt = _thin_svd(V, place)
        rank = int(np.sum(s > max(V.shape) * EPS * s.max(initial=1e-300)))
        Q = place.array(U[:, :rank])
        back = (scale[:, None] * Wt[:rank].T) / s[:rank]
        forth = s[:rank, None] * (Wt[:rank] / scale)
        given, inner = (place.host(V), Wt[:rank].T / s[:rank]) if proving else (None, None)
        products = _products(Q, place)
        return Basis(Q, place.array(back), place.xp.asarray(forth), products, given, inner)

    def seen(self, at: Any) -> Basis:
        """A basis for some of the entries, whose coefficients are those of V all the same."""
        own = Basis.of(self.Q[at])
        given = None if self.given is None else self.given[at]
        inner = None if self.inner is None else self.inner @ own.back
        return replace(own, back=self.back @ own.back, given=given, inner=inner)

    def at(self, place: Place) -> Basis:
        """The same in another memory."""
        there = place_of(self.Q)
        if there.on_device == place.on_device:
            return self
        Q, back, forth = (place.array(there.host(v)) for v in (self.Q, self.back, self.forth))
        return replace(self, Q=Q, back=back, forth=forth, products=_products(Q, place))


def _thin_svd(V: Any, place: Place) -> tuple[Any, Array, Array]:
    """(U, s, W^T), U where V is; the others, no larger than (k, k), on the host."""
    if not place.on_device:
        return np.linalg.svd(V, full_matrices=False)
    # The device is quick at QR, and slow at small SVDs.
    Q, R = np.linalg.qr(V)
    U, s, Wt = np.linalg.svd(place.host(R), full_matrices=False)
    return Q @ place.array(U), s, Wt


def _products(Q: Any, place: Place) -> Any:
    d, r = Q.shape
    if not 0 < d * r * (r + 1) // 2 <= place.packed_entries:
        return None
    return place.xp.concatenate([Q[:, a : a + 1] * Q[:, a:] for a in range(r)], axis=1)
