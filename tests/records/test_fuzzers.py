"""Short runs of the fuzzers whose counts docs/robustness.md has, and that they would notice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import lpgeom
from lpgeom.records.subspace import Certificate
from tests.fuzz import bounds, genuine


@pytest.mark.slow
def test_genuine_certificates_are_not_refused() -> None:
    found = genuine.run(120, 0)
    assert found["certificates"] == 120 == sum(found["by_problem"].values())
    assert found["refused"] == []


@pytest.mark.slow
def test_no_bound_is_above_an_optimum() -> None:
    found = bounds.run(400, 0)
    assert found["bounds"] >= 400
    assert found["above"] == []
    assert -1.0 < max(line["largest"] for line in found["by_family"].values()) <= bounds.ROUNDING


@pytest.mark.slow
@pytest.mark.parametrize("family", [bounds.curve, bounds.affine, bounds.groups, bounds.entries])
def test_every_family_has_bounds(family: Any) -> None:
    found = [line for seed in range(3) for line in family(np.random.default_rng(seed))]
    assert found
    assert all(0.0 <= bound <= best * (1.0 + bounds.ROUNDING) for _, bound, best in found)


@pytest.mark.slow
def test_they_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds a fifth larger are above some optimum, and refused."""
    certify = lpgeom.certify

    def raised(*given: Any, **options: Any) -> Certificate:
        c = certify(*given, **options)
        larger = (replace(b, scaled_value=1.2 * b.scaled_value) for b in c.bounds)
        return replace(c, bounds=tuple(larger))

    monkeypatch.setattr(lpgeom, "certify", raised)
    assert bounds.run(60, 0)["above"]
    assert genuine.run(20, 0)["refused"]
