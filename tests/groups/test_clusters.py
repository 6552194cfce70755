"""Several subspaces: promises, certificates under the labels, degenerate cases, bad input."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lpgeom
from lpgeom.geometry.grassmann import Frame
from lpgeom.groups import seeding, splits
from lpgeom.groups.lloyd import Points, descend
from lpgeom.records.groups import Part
from lpgeom.records.subspace import CertificateError
from lpgeom.rows.door import open_rows
from tests import reference
from tests.problems import KINDS, matrix, random_bases


def planted(
    n: int, d: int, k: int, j: int, seed: int = 0, noise: float = 1e-3
) -> tuple[Any, Any, Any]:
    """(A, labels, bases): rows near j random subspaces of dimension k."""
    rng = np.random.default_rng(seed)
    bases = np.stack(random_bases(d, k, j, rng))
    labels = np.arange(n) % j
    A = np.einsum("idk,ik->id", bases[labels], rng.standard_normal((n, k)))
    return A + noise * rng.standard_normal((n, d)), labels, bases


def by_definition(A: Any, labels: Any, bases: Any, p: float, omega: Any = None) -> float:
    B = np.asarray(A, dtype=np.float64)
    B = B if omega is None else reference.weighted(B, omega, p)
    return math.fsum(
        reference.cost_rows(B[labels == c], V, p)
        for c, V in enumerate(bases)
        if (labels == c).any()
    )


def checked(A: Any, k: int, p: float, j: int, **options: Any) -> lpgeom.ClusterResult:
    """The result, with every promise held against the definition."""
    omega = options.get("row_weights")
    found = lpgeom.approx_clusters(A, k, p, subspaces=j, **options)
    n, d = np.shape(A)
    assert found.labels.shape == (n,)
    assert found.bases.shape == (j, d, k)
    assert len(found.results) == j
    assert found.sizes.sum() == n
    B = np.asarray(A, dtype=np.float64)
    size = sum(np.ones(n) if omega is None else omega) * max(1e-300, np.abs(B).max()) ** p
    own = by_definition(B, found.labels, found.bases, p, omega)
    assert found.cost == pytest.approx(own, rel=1e-7, abs=1e-11 * size)
    single = lpgeom.approx_subspace(
        A, k, p, row_weights=omega, certify=False, seed=options.get("seed", 0)
    )
    assert found.single_cost == single.cost
    assert found.svd_cost == single.svd_cost
    assert found.cost <= single.cost
    assert found.history[0] == single.cost
    assert found.history[-1] == found.cost
    assert (np.diff(found.history) <= 0.0).all()
    assert found.lower_bound <= found.cost * (1.0 + 1e-9)
    found.verify(A)
    return found


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_finds_what_was_planted(p: float, weighted: bool) -> None:
    A, truth, bases = planted(240, 8, 2, 3)
    omega = np.random.default_rng(1).uniform(0.5, 2.0, 240) if weighted else None
    found = checked(A, 2, p, 3, row_weights=omega)
    assert found.cost <= by_definition(A, truth, bases, p, omega) * (1.0 + 1e-9)
    assert found.cost < 0.01 * found.single_cost
    assert found.ratio < 1.05
    # The same groups, whatever their names; a row near two of the planes may be in either.
    names = [np.bincount(found.labels[truth == c], minlength=3).argmax() for c in range(3)]
    assert sorted(names) == [0, 1, 2]
    assert np.mean(np.array(names)[truth] == found.labels) > 0.98


@pytest.mark.slow
@pytest.mark.parametrize(("p", "slack"), [(1.0, 0.02), (2.0, 1e-6)])
@pytest.mark.parametrize("seed", [7, 8])
def test_against_every_split(p: float, slack: float, seed: int) -> None:
    """Two lines for six points: the least over all labels; p = 1 has many local minima."""
    A = np.random.default_rng(seed).standard_normal((6, 3))
    best = math.inf
    for labels in itertools.product(range(2), repeat=5):
        split = np.array([0, *labels])
        parts = [A[split == c] for c in range(2) if (split == c).any()]
        best = min(
            best,
            sum(lpgeom.approx_subspace(B, 1, p, method="irls", certify=False).cost for B in parts),
        )
    found = checked(A, 1, p, 2)
    assert found.cost <= best * (1.0 + slack)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 6.0])
def test_promises_on_awkward_data(kind: str, p: float) -> None:
    A = matrix(kind, 30, 5, seed=3)
    checked(A, 1, p, 3, restarts=3)


def test_bound_holds_for_every_choice_under_the_labels() -> None:
    A, _, _ = planted(90, 5, 2, 3, noise=0.3)
    rng = np.random.default_rng(2)
    found = checked(A, 2, 1.0, 3)
    for _ in range(50):
        some = np.stack(random_bases(5, 2, 3, rng))
        near = np.linalg.qr(found.bases + 0.05 * rng.standard_normal(found.bases.shape))[0]
        for bases in (some, near):
            assert found.lower_bound <= by_definition(A, found.labels, bases, 1.0)


def test_bound_does_not_claim_other_labels() -> None:
    """Labels from one bad start: their bound lies above what better labels reach."""
    A, truth, bases = planted(120, 4, 1, 2)
    found = lpgeom.approx_clusters(A, 1, subspaces=1)
    assert found.lower_bound > by_definition(A, truth, bases, 1.0)


@pytest.mark.slow
def test_every_row_is_in_its_nearest_subspace() -> None:
    A, _, _ = planted(200, 6, 2, 4, noise=0.2)
    for p in (1.0, 2.0, 3.0):
        found = checked(A, 2, p, 4)
        y = np.stack([reference.residuals(A, V) for V in found.bases])
        own = y[found.labels, np.arange(200)]
        assert (own**p).sum() <= (y.min(axis=0) ** p).sum() * (1.0 + 1e-6)


@pytest.mark.parametrize("p", [1.0, 2.0, 4.0])
def test_one_subspace_is_approx_subspace(p: float) -> None:
    A = matrix("heavy", 80, 6, seed=0)
    found = checked(A, 2, p, 1)
    one = lpgeom.approx_subspace(A, 2, p)
    assert found.cost == one.cost
    assert found.lower_bound == one.lower_bound
    assert found.ratio == pytest.approx(one.ratio, rel=1e-12)
    np.testing.assert_array_equal(found.bases[0], one.basis)
    assert found.sizes.tolist() == [80]


@pytest.mark.parametrize("p", [1.0, 1.7, 2.0, 5.0])
@pytest.mark.parametrize("j", [10, 12, 40])
def test_as_many_subspaces_as_rows_over_k_cost_nothing(p: float, j: int) -> None:
    A = np.random.default_rng(0).standard_normal((20, 6))
    found = checked(A, 2, p, j)
    assert found.cost == 0.0
    assert found.ratio == 1.0
    assert found.converged


@pytest.mark.parametrize("p", [1.0, 2.5, 3.0, 100.0])
@pytest.mark.parametrize("j", [2, 3])
def test_rows_that_lie_in_a_few_planes_exactly(p: float, j: int) -> None:
    """The roots of D3: a descent may end where the rows of a cluster cost nothing at all."""
    A = np.array(
        [v for v in itertools.product((-1.0, 0.0, 1.0), repeat=3) if np.abs(v).sum() == 2.0]
    )
    assert A.shape == (12, 3)
    for seed in range(3):
        found = lpgeom.approx_clusters(A, 2, p, subspaces=j, seed=seed)
        assert found.lower_bound <= found.cost
        assert found.cost == 0.0 or j == 2


@pytest.mark.slow
def test_duplicates_count_once() -> None:
    rng = np.random.default_rng(0)
    A = rng.standard_normal((6, 5))[rng.integers(0, 6, 200)]
    assert checked(A, 2, 1.0, 3).cost == 0.0
    assert checked(A, 2, 1.0, 2).cost > 0.0


@pytest.mark.parametrize("p", [1.0, 2.0])
def test_rank_at_most_k_costs_nothing(p: float) -> None:
    A = matrix("gauss", 30, 2, seed=1) @ matrix("gauss", 2, 6, seed=2)
    found = checked(A, 2, p, 3)
    assert (found.method, found.cost) == ("rank", 0.0)
    assert checked(np.zeros((5, 3)), 1, p, 2).cost == 0.0
    assert checked(np.ones((1, 3)), 1, p, 4).cost == 0.0


def test_one_cluster_of_low_rank_among_others() -> None:
    rng = np.random.default_rng(5)
    exact = rng.standard_normal((40, 2)) @ rng.standard_normal((2, 8))
    A = np.concatenate([exact, planted(60, 8, 2, 1, seed=6, noise=0.05)[0]])
    found = checked(A, 2, 1.0, 2)
    assert sorted(r.method == "rank" for r in found.results if r is not None) == [False, True]
    assert sorted(found.sizes.tolist()) == [40, 60]


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
def test_rows_of_weight_zero(p: float) -> None:
    """They decide nothing, and have a label all the same: the nearest."""
    A, truth, _ = planted(120, 6, 1, 2)
    omega = np.ones(120)
    omega[:40] = 0.0
    found = checked(A, 1, p, 2, row_weights=omega)
    names = [np.bincount(found.labels[40:][truth[40:] == c], minlength=2).argmax() for c in (0, 1)]
    far = np.linalg.norm(A, axis=1) > 0.1
    assert (np.array(names)[truth] == found.labels)[far].all()


def test_a_cluster_of_weightless_rows_has_no_result() -> None:
    A = np.concatenate([np.outer(np.arange(1.0, 6.0), [1.0, 0.0, 0.0]), np.eye(3)[[1, 1]]])
    A[5:] += 1e-3 * np.eye(3)[2]
    omega = np.array([1.0] * 5 + [0.0] * 2)
    found = checked(A, 1, 1.0, 2, row_weights=omega)
    assert found.cost == 0.0
    assert found.results.count(None) >= 1


def test_zero_rows_and_more_subspaces_than_are_of_use() -> None:
    A = np.zeros((30, 4))
    A[:10] = planted(10, 4, 1, 2, noise=0.0)[0]
    found = checked(A, 1, 1.0, 6)
    assert found.cost == 0.0


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int64])
def test_types_and_layouts(dtype: Any) -> None:
    A = (30.0 * planted(100, 6, 2, 2, noise=0.1)[0]).astype(dtype)
    found = checked(A, 2, 1.0, 2)
    for other in (np.asfortranarray(A), np.repeat(A, 2, axis=1)[:, ::2], A.tolist()):
        again = lpgeom.approx_clusters(other, 2, subspaces=2)
        assert again.cost == pytest.approx(found.cost, rel=1e-6)


@pytest.mark.parametrize("scale", [2.0**-500, 2.0**500, 1e-300, 1e300])
@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
def test_any_scale(scale: float, p: float) -> None:
    A = planted(60, 5, 1, 2, noise=0.1)[0]
    plain = lpgeom.approx_clusters(A, 1, p, subspaces=2)
    found = lpgeom.approx_clusters(scale * A, 1, p, subspaces=2)
    found.verify(scale * A)
    assert found.norm_error == pytest.approx(scale * plain.norm_error, rel=1e-6)
    assert found.ratio == pytest.approx(plain.ratio, rel=1e-6)


@pytest.mark.slow
def test_high_powers_and_tiny_weights_keep_their_costs() -> None:
    """Powers of small residuals leave float64 where they are not taken relative to the largest."""
    A, _, _ = planted(60, 5, 1, 2, noise=1e-5)
    for omega in (None, np.where(np.arange(60) % 2, 1e-300, 1.0)):
        for p in (1.0, 100.0):
            found = lpgeom.approx_clusters(A, 1, p, subspaces=2, row_weights=omega)
            y = np.array([np.linalg.norm(A - (A @ V) @ V.T, axis=1) for V in found.bases])
            y = y[found.labels, np.arange(60)] * (1.0 if omega is None else omega ** (1.0 / p))
            norm = y.max() * ((y / y.max()) ** p).sum() ** (1.0 / p)
            assert norm > 0.0
            assert found.norm_error == pytest.approx(norm, rel=1e-8)
            for c, part in enumerate(found.results):
                own = y[found.labels == c]
                if part is not None and own.max() > 0.0:
                    norm = own.max() * ((own / own.max()) ** p).sum() ** (1.0 / p)
                    assert part.norm_error == pytest.approx(norm, rel=1e-8)
            found.verify(A, rtol=1e-7)


@pytest.mark.slow
def test_fewer_rows_than_columns() -> None:
    A = np.random.default_rng(0).standard_normal((12, 40))
    found = checked(A, 3, 1.0, 2)
    assert found.cost > 0.0


def test_the_seed_decides() -> None:
    A = matrix("gauss", 150, 6, seed=9)
    one, two = (lpgeom.approx_clusters(A, 2, subspaces=4, seed=3) for _ in range(2))
    np.testing.assert_array_equal(one.labels, two.labels)
    np.testing.assert_array_equal(one.bases, two.bases)
    assert one.history == two.history


def test_more_starts_never_end_higher_for_a_seed() -> None:
    """Few starts are the first of many: the best of more of them, followed to its end."""
    A = matrix("gauss", 100, 5, seed=4)
    costs = [
        lpgeom.approx_clusters(A, 1, 2.0, subspaces=4, restarts=count).cost for count in (1, 20)
    ]
    assert costs[1] <= costs[0] * (1.0 + 0.02)


@pytest.mark.slow
def test_threads_do_not_matter() -> None:
    """Large enough for several workers, float32 and the quick road."""
    code = """
import numpy as np, lpgeom
from tests.groups.test_clusters import planted
A = planted(21000, 52, 4, 3, noise=0.3)[0].astype(np.float32)
f = lpgeom.approx_clusters(A, 4, 1.0, subspaces=3, restarts=2, certify=False)
print(repr(f.cost), int((f.labels * np.arange(len(A))).sum()), f.method)
"""
    root = str(Path(__file__).parents[2])
    found = []
    for threads in ("1", "3"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            cwd=root,
            env={
                "PATH": "",
                "PYTHONPATH": root,
                **{f"{name}_NUM_THREADS": threads for name in ("OMP", "OPENBLAS", "MKL")},
            },
        )
        cost, labels, method = done.stdout.split(maxsplit=2)
        found.append((float(cost), labels, method))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-9)
    assert found[0][1:] == found[1][1:]


def test_large_data_and_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """Starts on a sample of the rows, the descent on all of them, in float32."""
    monkeypatch.setattr(splits, "SAMPLE", 2000)
    A, truth, bases = planted(24000, 48, 3, 4, noise=0.05)
    found = lpgeom.approx_clusters(A, 3, 1.0, subspaces=4)
    assert found.cost <= by_definition(A[::20], truth[::20], bases, 1.0) * 20 * 1.05
    assert found.cost < 0.5 * found.single_cost
    assert found.ratio < 1.1
    found.verify(A)


def test_memory_maps_are_read_in_place(tmp_path: Any) -> None:
    A = planted(100, 5, 1, 2)[0]
    np.save(tmp_path / "A.npy", A)
    mapped = np.load(tmp_path / "A.npy", mmap_mode="r")
    assert (
        lpgeom.approx_clusters(mapped, 1, subspaces=2).cost
        == lpgeom.approx_clusters(A, 1, subspaces=2).cost
    )


@pytest.mark.parametrize("p", [1.0, 1.3, 2.0, 4.0])
def test_a_round_never_raises_the_cost(p: float) -> None:
    """From random subspaces, round after round: the smoothing is off where eps cannot matter."""
    A = matrix("gauss", 80, 5, seed=2)
    problem = open_rows(A, p)
    points = Points(problem.rows, None, 2, p, np.random.default_rng(0))
    frames = [Frame.of(V) for V in random_bases(5, 2, 3, np.random.default_rng(1))]
    before = math.inf
    for rounds in range(8):
        split = descend(points, frames, tol=1e-12, max_iter=rounds)
        assert split.cost <= before
        B = A / problem.unit
        own = by_definition(B, split.labels, [f.V for f in split.frames], p)
        assert split.cost == pytest.approx(own, rel=1e-9)
        before = split.cost


def test_a_subspace_that_lost_its_rows_is_put_to_use() -> None:
    A = planted(90, 6, 1, 3)[0]
    problem = open_rows(A, 2.0)
    points = Points(problem.rows, None, 1, 2.0, np.random.default_rng(0))
    frame = Frame.of(random_bases(6, 1, 1, np.random.default_rng(1))[0])
    split = descend(points, [frame] * 3, tol=1e-9, max_iter=50)
    assert np.bincount(split.labels, minlength=3).min() > 0


def test_without_certificates() -> None:
    A = planted(100, 6, 2, 2, noise=0.1)[0]
    found = lpgeom.approx_clusters(A, 2, subspaces=2, certify=False)
    assert found.lower_bound == 0.0
    assert found.ratio == math.inf
    assert all(r is not None and r.certificate is None for r in found.results)
    found.verify(A)
    assert "none computed" in found.summary()


def test_tight_certificates_state_their_probability() -> None:
    A = planted(150, 6, 2, 2, noise=0.3)[0]
    fast = lpgeom.approx_clusters(A, 2, subspaces=2)
    tight = lpgeom.approx_clusters(A, 2, subspaces=2, certify="tight")
    assert fast.failure_probability == 0.0
    assert tight.lower_bound >= fast.lower_bound
    assert tight.failure_probability <= 2e-6
    tight.verify(A)


def test_factors_and_text() -> None:
    A = planted(50, 6, 2, 3, noise=0.1)[0]
    found = lpgeom.approx_clusters(A, 2, subspaces=3)
    left, right = found.factors(A)
    B = np.einsum("ik,ikd->id", left, right[found.labels])
    cost = np.linalg.norm(A - B, axis=1).sum()
    assert cost == pytest.approx(found.cost, rel=1e-9)
    with pytest.raises(ValueError, match="shape"):
        found.factors(A[:10])
    text = found.summary()
    assert "under these labels" in text
    assert repr(found).startswith("ClusterResult(subspaces=3, k=2")
    data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert data["sizes"] == found.sizes.tolist()
    assert data["results"][0]["k"] == 2


@pytest.fixture(scope="module")
def solved() -> tuple[Any, lpgeom.ClusterResult]:
    A = planted(90, 6, 2, 3, noise=0.2)[0]
    omega = np.linspace(1.0, 2.0, 90)
    found = lpgeom.approx_clusters(A, 2, 1.5, subspaces=3, row_weights=omega)
    found.verify(A)
    return A, found


class TestVerify:
    """A doctored result fails, whatever was doctored."""

    def fails(self, A: Any, found: lpgeom.ClusterResult, match: str, **changes: Any) -> None:
        with pytest.raises(CertificateError, match=match):
            replace(found, **changes).verify(A)

    def one(self, found: lpgeom.ClusterResult, **changes: Any) -> tuple[Part, ...]:
        """The parts, with changes to the result of the first."""
        first = found.parts[0]
        assert first.result is not None
        return (replace(first, result=replace(first.result, **changes)), *found.parts[1:])

    def turned(self, found: lpgeom.ClusterResult, bases: Any) -> tuple[Part, ...]:
        """The parts, with other bases."""
        return tuple(replace(q, basis=V) for q, V in zip(found.parts, bases, strict=True))

    def test_other_data(self, solved: Any) -> None:
        A, found = solved
        self.fails(A[:80], found, "shape")
        self.fails(A + 1e-3, found, "cost|bound")

    def test_labels(self, solved: Any) -> None:
        A, found = solved
        labels = found.labels.copy()
        labels[0] = (labels[0] + 1) % 3
        self.fails(A, found, "row weights|shape|cost", labels=labels)
        labels = found.labels.copy()
        i, k = np.flatnonzero(labels == 0)[0], np.flatnonzero(labels == 1)[0]
        labels[[i, k]] = labels[[k, i]]
        self.fails(A, found, "row weights|cost", labels=labels)
        self.fails(A, found, "between 0 and 2", labels=found.labels + 1)
        self.fails(A, found, "integers", labels=found.labels.astype(float))

    def test_bases(self, solved: Any) -> None:
        A, found = solved
        self.fails(A, found, "another subspace", parts=self.turned(found, found.bases[::-1]))
        self.fails(A, found, "orthonormal", parts=self.turned(found, 2.0 * found.bases))
        self.fails(A, found, "between 0 and 1", parts=found.parts[:2])
        wider = replace(found.parts[2], basis=np.eye(6)[:, :3])
        self.fails(A, found, "3 of rank", parts=(*found.parts[:2], wider))

    def test_figures(self, solved: Any) -> None:
        A, found = solved
        self.fails(A, found, "single_cost", single_cost=0.5 * found.cost)
        self.fails(A, found, "history", history=(1.0, 2.0, found.cost))
        self.fails(A, found, "history", history=(found.single_cost, 0.9 * found.cost))
        self.fails(A, found, "another subspace", p=1.25)
        self.fails(A, found, "row weights", row_weights=None)
        self.fails(A, found, "row weights", row_weights=2.0 * found.row_weights)
        self.fails(A, found, "row weights", row_weights=-found.row_weights)
        for name in ("cost", "norm_error", "lower_bound", "ratio"):  # they follow from the parts
            with pytest.raises(TypeError):
                replace(found, **{name: 0.9})

    def test_certificates(self, solved: Any) -> None:
        A, found = solved
        first = found.results[0]
        certificate = first.certificate
        raised = tuple(replace(b, scaled_value=1.01 * b.scaled_value) for b in certificate.bounds)
        doctored = replace(certificate, bounds=raised)
        self.fails(A, found, "bound", parts=self.one(found, statement=doctored))
        other = replace(found.parts[0], result=None, norm=first.norm_error, p=found.p)
        self.fails(A, found, "no certificate", parts=(other, *found.parts[1:]))
        cheaper = replace(certificate, scaled_cost=0.9 * certificate.scaled_cost)
        low = replace(found, parts=self.one(found, statement=cheaper))
        self.fails(A, low, "cost is stated", history=(found.single_cost, low.cost))
        bare = replace(found, parts=self.one(found, certified=False))
        bare.verify(A)
        assert bare.lower_bound < found.lower_bound

    def test_uncertified_costs_are_checked_too(self, solved: Any) -> None:
        A, _ = solved
        found = lpgeom.approx_clusters(A, 2, subspaces=3, certify=False)
        found.verify(A)
        turned = np.linalg.qr(found.bases + 0.01)[0]
        self.fails(A, found, "another subspace", parts=self.turned(found, turned))
        parts = tuple(
            Part(V, replace(r, statement=replace(r.statement, basis=V)))
            for r, V in zip(found.results, turned, strict=True)
        )
        self.fails(A, found, "recomputed", parts=parts)
        self.fails(A, found, "recomputed", labels=np.roll(found.labels, 1))


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"subspaces": 0}, ValueError, "subspaces must be >= 1"),
        ({"subspaces": 2.0}, TypeError, "subspaces must be an integer"),
        ({"k": 0}, ValueError, "k must lie between"),
        ({"k": 3}, ValueError, "k must lie between"),
        ({"p": math.inf}, ValueError, "p must be a finite number"),
        ({"p": 0.5}, ValueError, "p must be"),
        ({"p": "1"}, TypeError, "p must be a real number"),
        ({"row_weights": [1.0]}, ValueError, "row_weights must have shape"),
        ({"row_weights": [0.0] * 4}, ValueError, "all zero"),
        ({"certify": "yes"}, ValueError, "certify must be one of"),
        ({"seed": -1}, ValueError, "seed must be >= 0"),
        ({"restarts": 0}, ValueError, "restarts must be >= 1"),
        ({"max_iter": 0}, ValueError, "max_iter must be >= 1"),
        ({"A": [[1.0, 2.0, math.nan]]}, ValueError, "finite"),
        ({"A": [1.0, 2.0]}, ValueError, "two-dimensional"),
    ],
)
def test_bad_input(changes: dict[str, Any], error: type[Exception], match: str) -> None:
    arguments: dict[str, Any] = {"A": np.eye(4, 3), "k": 1, "subspaces": 2, **changes}
    with pytest.raises(error, match=match):
        lpgeom.approx_clusters(**arguments)


def test_a_coreset_is_told_what_to_do() -> None:
    A = planted(100, 4, 1, 2)[0]
    with pytest.raises(TypeError, match="Coreset: pass its rows"):
        lpgeom.approx_clusters(lpgeom.coreset(A, size=20), 1, subspaces=2)  # type: ignore[arg-type]


def test_rounds_that_compare_few_subspaces_end_as_low() -> None:
    """Ten subspaces: most rounds look at the four that were nearest, and never raise the cost."""
    A = planted(600, 24, 1, 10, noise=0.2)[0]
    problem = open_rows(A, 2.0)
    points = Points(problem.rows, None, 1, 2.0, np.random.default_rng(0))
    frames = [Frame.of(V) for V in random_bases(24, 1, 10, np.random.default_rng(1))]
    labels, t, among = points.nearest(frames)
    assert among is not None
    assert (among.sum(axis=0) <= 5).all()
    assert among[labels, np.arange(600)].all()
    again = points.nearest(frames, among)
    np.testing.assert_array_equal(again[0], labels)
    np.testing.assert_allclose(again[1], t, rtol=1e-12)
    split = descend(points, frames, tol=1e-9, max_iter=200)
    assert split.converged
    assert (np.diff(split.history) <= 0.0).all()
    # Where it ends every row is in the nearest of all subspaces.
    everywhere = points.nearest(split.frames)[1]
    np.testing.assert_allclose(split.t, everywhere, rtol=1e-9, atol=1e-15)


def test_a_kind_of_start_joins_by_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(seeding.KINDS, "mine", seeding.KINDS["random"])
    monkeypatch.setattr(seeding, "ORDER", ["mine"])
    A = planted(90, 6, 1, 3, noise=0.01)[0]
    found = lpgeom.approx_clusters(A, 1, subspaces=3, certify=False, restarts=3)
    assert found.method == "k-subspaces from mine"
