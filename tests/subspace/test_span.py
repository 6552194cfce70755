"""Fewer rows than columns: searched and certified in their span (docs/theory/span.md)."""

from __future__ import annotations

import dataclasses
import math
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lpgeom
from lpgeom.bounds.evidence import Evidence
from lpgeom.bounds.table import lower_bounds
from lpgeom.geometry.grassmann import complement, widened
from lpgeom.records.subspace import CertificateError
from lpgeom.rows.door import open_rows
from lpgeom.subspace.assemble import with_bounds
from lpgeom.subspace.cost import lp_cost
from lpgeom.subspace.span import in_span
from tests import reference
from tests.problems import fixed, matrix, random_bases

PS = (1.0, 1.5, 2.0, 3.0, math.inf)


def cost_of(A: Any, V: Any, p: float) -> float:
    """The reference, p = inf included."""
    return reference.largest_distance(A, V) if math.isinf(p) else reference.cost_rows(A, V, p)


@settings(fixed, max_examples=15)
@given(
    st.sampled_from(("gauss", "heavy", "duplicates", "scales")),
    st.integers(3, 6),
    st.integers(1, 12),
    st.sampled_from(PS),
    st.integers(0, 2**31),
)
def test_what_is_found_and_proved_in_the_span_holds_of_the_rows(
    kind: str, n: int, more: int, p: float, seed: int
) -> None:
    A, rng = matrix(kind, n, n + more, seed), np.random.default_rng(seed)
    k = int(rng.integers(1, n))
    result = lpgeom.approx_subspace(A, k, p, method="irls", max_iter=20)
    noise = 1e-13 * cost_of(A, np.zeros((n + more, 1)), p)
    assert result.cost == pytest.approx(cost_of(A, result.basis, p), rel=1e-9, abs=noise)
    result.certificate.verify(A)
    # Subspaces that leave the span, altogether and by little.
    (V,) = random_bases(n + more, k, 1, rng)
    near = np.linalg.qr(result.basis + 1e-3 * V)[0]
    judged = lpgeom.certify(A, near, p)
    judged.verify(A)
    for other in (V, near):
        cost = cost_of(A, other, p)
        assert lpgeom.cost(A, other, p) == pytest.approx(cost, rel=1e-9, abs=noise)
        assert max(result.lower_bound, judged.lower_bound) <= cost


def test_tight_bounds_and_row_weights() -> None:
    rng = np.random.default_rng(0)
    A, omega = rng.standard_normal((5, 8)), rng.uniform(0.5, 3.0, 5)
    omega[2], A[2] = 0.0, 1e40
    result = lpgeom.approx_subspace(A, 2, row_weights=omega, certify="tight", method="svd")
    result.certificate.verify(A)
    inner = in_span(open_rows(A, 1.0, omega))[0].rows.dense()
    same = lpgeom.approx_subspace(inner, 2, certify="tight", method="svd")
    assert result.ratio == pytest.approx(same.ratio, rel=1e-4)


@pytest.mark.parametrize("p", PS)
def test_a_basis_that_leaves_rows_out_proves_nothing(p: float) -> None:
    """A certificate of other rows: their span is not that of these."""
    rng = np.random.default_rng(1)
    A, B = rng.standard_normal((2, 5, 9))
    certificate = lpgeom.approx_subspace(A, 2, p, method="svd").certificate
    other = np.linalg.qr(B.T)[0]
    bound = certificate.bounds[0]
    for span in (other, bound.witness["span"][:, :4], bound.witness["span"][:-1], np.ones(9)):
        forged = dataclasses.replace(bound, witness={**bound.witness, "span": span})
        with pytest.raises(CertificateError, match=f"'{bound.name}'|witness"):
            dataclasses.replace(certificate, bounds=(forged,), guarantee=math.inf).verify(A)
    # The basis is as good however it is scaled: it is made orthonormal.
    scaled = {**bound.witness, "span": 2.0 * bound.witness["span"]}
    same = dataclasses.replace(bound, witness=scaled)
    dataclasses.replace(certificate, bounds=(same,), guarantee=math.inf).verify(A)


@pytest.mark.parametrize("p", PS)
def test_witnesses_in_the_coordinates_of_the_columns(p: float) -> None:
    """As earlier versions had them where n < d."""
    A = np.random.default_rng(2).standard_normal((5, 9))
    V = np.linalg.svd(A)[2][:2].T
    problem = open_rows(A, p, infinite=True)
    W = complement(V)
    evidence = Evidence(V, W, problem.rows.quadratic_form(W), problem.rows.squared_norms())
    bounds = lower_bounds(problem.rows, evidence, 2, p, "fast", 0)
    assert bounds
    assert all("span" not in bound.witness for bound in bounds)
    cost = lp_cost(evidence.t, p)
    with_bounds(problem, V, cost, bounds, math.inf).verify(A)


def test_no_matrix_of_the_columns_by_the_columns() -> None:
    """5 rows, 20,000 columns: 0.8 MB, where one (d, d) matrix has 3.2 GB."""
    A = np.random.default_rng(3).standard_normal((5, 20_000))
    V = np.linalg.qr(np.random.default_rng(4).standard_normal((20_000, 2)))[0]
    tracemalloc.start()
    try:
        for p in (1.0, 2.0, math.inf):
            lpgeom.certify(A, V, p).verify(A)
        lpgeom.approx_subspace(A, 2, method="svd").certificate.verify(A)
        lpgeom.cost_curve(A, 2.0, [1, 4, 6]).verify(A)
        lpgeom.approx_affine(A, 2, 2.0).verify(A)
        lpgeom.lp_median(A)
        lpgeom.approx_subspace(A, 11).certificate.verify(A)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20 * A.nbytes


def test_more_columns_are_those_of_the_whole_basis() -> None:
    V = np.linalg.qr(np.random.default_rng(5).standard_normal((9, 3)))[0]
    wide = widened(V, 7)
    np.testing.assert_allclose(wide, np.concatenate([V, complement(V)[:, :4]], axis=1), atol=1e-14)
    assert widened(V, 2) is V
    np.testing.assert_array_equal(widened(V[:, :0], 2), np.eye(9, 2))


def test_rows_of_very_different_lengths() -> None:
    """Each row is known to its own rounding in the coordinates, too."""
    lengths = 10.0 ** np.array([8.0, -8.0, 0.0, 0.0, 1.0, -1.0])
    A = np.random.default_rng(6).standard_normal((6, 40)) * lengths[:, None]
    noise = 1e-15 * reference.cost_rows(A, np.zeros((40, 1)), 1.0)
    for k in (1, 4):
        result = lpgeom.approx_subspace(A, k, method="irls")
        result.certificate.verify(A)
        assert result.ratio < 1.2
        assert result.cost == pytest.approx(
            reference.cost_rows(A, result.basis, 1.0), rel=1e-9, abs=noise
        )
