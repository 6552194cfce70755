"""Subspaces of different ranks: promises, certificates, degenerate cases, forged results."""

from __future__ import annotations

import itertools
import json
import math
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_clusters import planted

import lpgeom
from lpgeom.groups.mixed import _Groups, descend
from lpgeom.records.base import p_norm
from lpgeom.records.groups import MixedResult, Part
from lpgeom.records.subspace import CertificateError
from lpgeom.rows.door import open_rows
from tests import reference
from tests.problems import KINDS, matrix, random_bases

ROOT = str(Path(__file__).parents[2])

few = settings(deadline=None, derandomize=True, max_examples=12)


def by_definition(A: Any, found: MixedResult) -> float:
    """The cost from the definition, by plain loops."""
    B = np.asarray(A, dtype=np.float64)
    omega = found.row_weights
    B = B if omega is None else reference.weighted(B, omega, found.p)
    return math.fsum(
        reference.cost_rows(B[found.labels == c], V, found.p)
        for c, V in enumerate(found.bases)
        if V.shape[1] < B.shape[1] and (found.labels == c).any()
    )


def checked(A: Any, budget: int, p: float = 1.0, **options: Any) -> MixedResult:
    """The result, with every promise held against the definition."""
    found = lpgeom.approx_mixed(A, budget, p, **options)
    n, d = np.shape(A)
    lefts, rights = found.factors(A)
    numbers = sum(x.size for x in (*lefts, *rights) if x is not None)
    assert numbers == found.storage <= budget == found.budget
    for c, (left, right, V) in enumerate(zip(lefts, rights, found.bases, strict=True)):
        rows = np.asarray(A, dtype=np.float64)[found.labels == c]
        assert len(left) == len(rows)
        if right is None:
            assert V.shape == (d, d)
            np.testing.assert_array_equal(left, rows)
        elif len(rows):
            size = np.abs(rows).max()
            np.testing.assert_allclose(left @ right, rows @ V @ V.T, atol=1e-12 * d * size)
    B = np.asarray(A, dtype=np.float64)
    omega = options.get("row_weights")
    size = sum(np.ones(n) if omega is None else omega) * max(1e-300, np.abs(B).max()) ** p
    own = by_definition(A, found)
    assert found.cost == pytest.approx(own, rel=1e-7, abs=1e-11 * size)
    assert found.cost <= found.single_cost
    assert found.history[0] == found.single_cost
    assert found.history[-1] == found.cost
    assert (np.diff(found.history) <= 0.0).all()
    assert found.lower_bound <= found.cost
    assert found.ratio >= 1.0
    assert found.single_rank == (d if budget >= n * d else budget // (n + d))
    assert sum(found.sizes) == n
    found.verify(A)
    return found


@given(
    kind=st.sampled_from(KINDS),
    n=st.integers(1, 20),
    d=st.integers(1, 6),
    seed=st.integers(0, 2**31),
    share=st.floats(0.0, 1.1),
    p=st.sampled_from([1.0, 1.3, 2.0, 2.0, 4.0]),
    subspaces=st.integers(1, 5),
    weights=st.sampled_from(["none", "falling", "zeros"]),
)
@few
def test_promises(
    kind: str, n: int, d: int, seed: int, share: float, p: float, subspaces: int, weights: str
) -> None:
    if kind in ("wide", "exact"):
        n, d = max(n, 4), max(d, 3)
    A = matrix(kind, n, d, seed)
    n, d = A.shape
    omega = None
    if weights == "falling":
        omega = 1.0 / np.arange(1.0, n + 1.0)
    elif weights == "zeros":
        omega = (np.arange(n) % 3 == 0).astype(np.float64)
    budget = max(1, int(share * n * d))
    checked(A, budget, p, subspaces=subspaces, row_weights=omega)


@pytest.mark.parametrize("p", [1.0, 2.0])
@pytest.mark.parametrize("beyond", [-1, 0])
def test_budgets_at_the_edges(p: float, beyond: int) -> None:
    """One rank for all rows, and all rows as they are: one number short of it, and just enough."""
    A = matrix("gauss", 12, 4, 0)
    one = checked(A, 16 + beyond, p)
    assert one.single_rank == 1 + beyond
    everything = checked(A, 48 + beyond, p)
    assert (everything.cost == 0.0) == (beyond == 0)
    nothing = checked(A, 1, p)
    assert nothing.storage == 0
    assert nothing.ratio == 1.0
    assert nothing.method == "single"


@given(seed=st.integers(0, 2**31), share=st.floats(0.2, 0.9))
@few
def test_bound_at_p_2_is_the_optimum_under_the_labels(seed: int, share: float) -> None:
    """Sums of the smallest eigenvalues: what is proved is all that can be."""
    A = matrix("gauss", 18, 4, seed)
    found = checked(A, int(share * 72), 2.0, subspaces=3)
    best = 0.0
    for c, k in enumerate(found.ranks):
        rows = A[found.labels == c]
        if k < 4 and len(rows):
            best += float(np.linalg.eigvalsh(rows.T @ rows)[: 4 - k].sum())
    assert found.lower_bound <= best * (1.0 + 1e-9) + 1e-12
    assert found.cost == pytest.approx(best, rel=1e-8, abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_against_every_split_and_every_choice_of_ranks(seed: int) -> None:
    """Two groups of seven rows in the plane, p = 2: the least there is."""
    A = matrix("scales", 7, 2, seed)
    budget = 9
    best = math.inf
    for labels in itertools.product(range(2), repeat=6):
        split = np.array([0, *labels])
        parts = [A[split == c] for c in range(2)]
        tails = [[*np.cumsum(np.linalg.eigvalsh(B.T @ B))[::-1], 0.0] for B in parts]
        for ranks in itertools.product(range(3), repeat=2):
            numbers = sum(
                len(B) * 2 if k == 2 else k * (len(B) + 2) * (len(B) > 0)
                for B, k in zip(parts, ranks, strict=True)
            )
            if numbers <= budget:
                best = min(best, sum(t[k] for t, k in zip(tails, ranks, strict=True)))
    found = checked(A, budget, 2.0, subspaces=2)
    assert found.cost >= best * (1.0 - 1e-9)
    assert found.cost <= best * 1.3


@pytest.mark.parametrize("p", [1.0, 1.5, 4.0])
def test_bound_holds_for_every_choice_under_the_labels(p: float) -> None:
    A = matrix("heavy", 60, 5, 4)
    found = checked(A, 130, p, subspaces=3)
    rng = np.random.default_rng(0)
    for near in (True, False):
        for _ in range(20):
            other = 0.0
            for c, V in enumerate(found.bases):
                k = V.shape[1]
                if k == 5:
                    continue
                W = random_bases(5, k, 1, rng)[0] if k else V
                W = np.linalg.qr(V + 0.05 * W)[0] if near and k else W
                other += reference.cost_rows(A[found.labels == c], W, p)
            assert found.lower_bound <= other * (1.0 + 1e-9)


@pytest.mark.parametrize(("p", "weighted"), [(1.0, True), (2.0, False), (2.0, True), (4.0, False)])
def test_finds_what_equal_ranks_find(p: float, weighted: bool) -> None:
    """Rows in clusters: never behind subspaces of one rank at the same storage."""
    n, d, k, j = 90, 6, 1, 3
    A = planted(n, d, k, j, noise=0.02)[0]
    omega = 1.0 / np.arange(1.0, n + 1.0) if weighted else None
    equal = lpgeom.approx_clusters(A, k, p, subspaces=j, row_weights=omega, certify=False)
    found = checked(A, n * k + j * d * k, p, subspaces=j, row_weights=omega)
    assert found.norm_error <= equal.norm_error * (1.0 + 1e-6)
    assert found.norm_error < 0.2 * found.single_cost ** (1.0 / p)


def test_heavy_rows_get_high_ranks() -> None:
    A = matrix("gauss", 200, 10, 0)
    omega = np.where(np.arange(200) < 20, 1e3, 1.0)
    found = checked(A, 700, 2.0, row_weights=omega)
    ranks = np.array(found.ranks)[found.labels]
    assert ranks[:20].min() == 10
    assert ranks[20:].mean() < 5


def test_rows_of_weight_zero_take_no_numbers() -> None:
    A = matrix("gauss", 60, 6, 1)
    omega = (np.arange(60) < 20).astype(np.float64)
    found = checked(A, 120, 2.0, row_weights=omega)
    assert found.cost == 0.0  # the 20 rows as they are


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
def test_exact_fits_cost_nothing(p: float) -> None:
    line = np.outer(np.arange(1.0, 31.0), [1.0, 2.0, 3.0, 4.0])
    assert checked(line, 34, p).cost == 0.0
    assert checked(np.zeros((9, 3)), 1, p).cost == 0.0
    assert checked(np.ones((1, 1)), 1, p).cost == 0.0
    some = np.eye(4)[np.arange(40) % 4]
    assert checked(some, 40 + 16, p).cost == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(("p", "e"), [(1.0, 300), (2.0, -1000), (2.0, -3), (2.0, 900)])
def test_powers_of_two_scale_the_result(p: float, e: int) -> None:
    A = matrix("heavy", 16, 4, abs(e))
    A /= np.abs(A).max()
    one, two = (lpgeom.approx_mixed(B, 40, p, subspaces=2) for B in (A, math.ldexp(1.0, e) * A))
    assert two.ranks == one.ranks
    np.testing.assert_array_equal(one.labels, two.labels)
    assert two.norm_error == pytest.approx(math.ldexp(one.norm_error, e), rel=1e-9)
    two.verify(math.ldexp(1.0, e) * A)


@pytest.mark.parametrize(
    ("p", "scale"),
    [(1.0, 1e-300), (1.0, 1e300), (2.0, 1e-300), (2.0, 1e150), (2.0, 1e300), (100.0, 1e-150)],
)
def test_any_scale(p: float, scale: float) -> None:
    """Costs may leave float64, norms and certificates do not."""
    A = matrix("gauss", 30, 5, 0)
    found = lpgeom.approx_mixed(scale * A, 80, p, subspaces=3)
    assert math.isfinite(found.norm_error)
    assert found.norm_error > 0.0
    assert found.storage <= 80
    y = np.array(
        [
            reference.norm(a - V @ (V.T @ a)) if V.shape[1] < 5 else 0.0
            for a, V in ((A[i], found.bases[c]) for i, c in enumerate(found.labels))
        ]
    )
    assert found.norm_error == pytest.approx(scale * p_norm(y, p), rel=1e-7)
    found.verify(scale * A)


@pytest.mark.parametrize("p", [2.0, 20.0])
def test_one_row_far_off(p: float) -> None:
    """Powers of what the others cost must not vanish beside its own."""
    A = planted(90, 6, 1, 2, noise=0.1)[0]
    A[0] *= 1e4
    found = checked(A, 160, p, subspaces=3)
    assert found.norm_error < 0.7 * found.single_cost ** (1.0 / p)


@pytest.mark.parametrize("omega", [np.logspace(-120, 120, 40), np.full(40, 1e300), np.eye(40)[3]])
@pytest.mark.parametrize("p", [1.0, 2.0])
def test_any_weights(omega: Any, p: float) -> None:
    A = matrix("gauss", 40, 5, 2)
    found = lpgeom.approx_mixed(A, 60, p, row_weights=omega, subspaces=3)
    assert found.cost <= found.single_cost
    assert found.storage <= 60
    found.verify(A)


@given(seed=st.integers(0, 2**31), p=st.sampled_from([1.0, 2.0, 3.0]))
@few
def test_a_round_knows_no_order_and_no_axes(seed: int, p: float) -> None:
    """Later rounds may follow another row that rounding has turned."""

    def first_round(B: Any) -> float:
        groups = _Groups(open_rows(B, p), 3, 40)
        return descend(groups, groups.first(), 0, lambda _: None).history[0]

    A = matrix("scales", 18, 4, seed)
    rng = np.random.default_rng(seed)
    Q = random_bases(4, 4, 1, rng)[0]
    cost = first_round(A)
    assert first_round(A[rng.permutation(18)]) == pytest.approx(cost, rel=1e-8)
    assert first_round(A @ Q) == pytest.approx(cost, rel=1e-8)


@pytest.mark.parametrize("p", [1.0, 2.0])
def test_permuted_rows_have_permuted_labels(p: float) -> None:
    """Groups that stand apart are found in any order of the rows and any directions."""
    A = planted(90, 6, 1, 3, noise=0.01)[0]
    rng = np.random.default_rng(0)
    order = rng.permutation(90)
    Q = random_bases(6, 6, 1, rng)[0]
    one = checked(A, 108, p, subspaces=3)
    for B, back in ((A[order], np.argsort(order)), (A @ Q, np.arange(90))):
        two = checked(B, 108, p, subspaces=3)
        assert two.cost == pytest.approx(one.cost, rel=0.02)
        assert sorted(two.ranks) == sorted(one.ranks)
        together = one.labels[:, None] == one.labels
        again = two.labels[back]
        assert np.mean(together == (again[:, None] == again)) > 0.97


@pytest.mark.slow
def test_the_same_twice_and_for_every_layout(tmp_path: Any) -> None:
    A = matrix("gauss", 60, 6, 9)
    one = lpgeom.approx_mixed(A, 150, 2.0)
    frozen = A.copy()
    frozen.setflags(write=False)
    np.save(tmp_path / "A.npy", A)
    mapped = np.load(tmp_path / "A.npy", mmap_mode="r")
    wide = np.repeat(A, 2, axis=1)[:, ::2]
    for other in (A, frozen, mapped, np.asfortranarray(A), wide, A[::-1][::-1], A.tolist()):
        two = lpgeom.approx_mixed(other, 150, 2.0)
        np.testing.assert_array_equal(one.labels, two.labels)
        assert two.cost == pytest.approx(one.cost, rel=1e-9)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int64, np.int8, ">f8"])
def test_types(dtype: Any) -> None:
    A = np.clip(20.0 * matrix("gauss", 40, 5, 3), -100.0, 100.0).astype(dtype)
    found = checked(A, 90, 2.0, subspaces=3)
    plain = lpgeom.approx_mixed(A.astype(np.float64), 90, 2.0, subspaces=3)
    assert found.cost == pytest.approx(plain.cost, rel=1e-6)


def environment(threads: int) -> dict[str, str]:
    names = ("OMP", "OPENBLAS", "MKL", "NUMBA")
    paths = {"PATH": "", "PYTHONPATH": ROOT}
    return {**paths, **{f"{name}_NUM_THREADS": str(threads) for name in names}}


@pytest.mark.slow
def test_threads_do_not_matter() -> None:
    """Large enough for several workers, float32."""
    code = """
import numpy as np, lpgeom
from tests.groups.test_clusters import planted
A = planted(21000, 52, 4, 3, noise=0.3)[0].astype(np.float32)
w = 1.0 / np.arange(1.0, len(A) + 1.0)
f = lpgeom.approx_mixed(A, A.size // 4, 2.0, row_weights=w, certify=False, max_iter=6)
print(repr(f.cost), f.storage, int((f.labels * np.arange(len(A))).sum()), f.method)
"""
    found = []
    for threads in (1, 3):
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
            env=environment(threads),
        )
        cost, rest = done.stdout.split(maxsplit=1)
        found.append((float(cost), rest))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-6)
    assert found[0][1] == found[1][1]


def test_interrupted() -> None:
    """Ctrl-C in the middle of a descent on several workers comes through."""
    code = """
import numpy as np, lpgeom
from lpgeom.groups import mixed
A = np.random.default_rng(0).standard_normal((9000, 120))
mixed.PATIENCE = 10**9
fitted = mixed._Groups.fitted
def told(*args):
    print("go", flush=True)
    return fitted(*args)
mixed._Groups.fitted = told
try:
    lpgeom.approx_mixed(A, A.size // 3, 2.0, max_iter=10**6, certify=False)
except KeyboardInterrupt:
    print("interrupted")
"""
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(2),
        # A shell's background jobs ignore SIGINT, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "go\n"
            child.send_signal(signal.SIGINT)
            assert child.communicate(timeout=120)[0].endswith("interrupted\n")
        finally:
            child.kill()


def test_large_data() -> None:
    """In float32, with one start."""
    A = matrix("gauss", 16400, 64, 0) * np.arange(1.0, 65.0) ** -0.5
    omega = 1.0 / np.arange(1.0, 16401.0)
    found = lpgeom.approx_mixed(A, A.size // 5, 2.0, row_weights=omega)
    found.verify(A)
    assert found.storage <= A.size // 5
    assert found.cost < 0.5 * found.single_cost
    assert max(found.ranks) == 64


def test_one_round() -> None:
    A = matrix("gauss", 60, 6, 5)
    found = checked(A, 150, max_iter=1)
    assert found.n_iter <= 1


def test_without_certificates_and_with_tight_ones() -> None:
    A = matrix("gauss", 60, 6, 5)
    none = checked(A, 150, 1.5, certify=False)
    assert (none.lower_bound, none.ratio) == (0.0, math.inf)
    assert "none computed" in none.summary()
    fast = checked(A, 150, 1.5)
    tight = checked(A, 150, 1.5, certify="tight")
    assert tight.lower_bound >= fast.lower_bound > 0.0
    assert tight.failure_probability <= 1e-5
    assert fast.failure_probability == 0.0


def test_factors_and_text() -> None:
    A = matrix("gauss", 60, 6, 5)
    found = checked(A, 150)
    with pytest.raises(ValueError, match="shape"):
        found.factors(A[:10])
    assert "under these labels and ranks" in found.summary()
    assert repr(found).startswith("MixedResult(ranks=")
    data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert data["sizes"] == found.sizes.tolist()
    assert data["ranks"] == list(found.ranks)


@pytest.fixture(scope="module")
def solved() -> tuple[Any, MixedResult]:
    """A result with a group as it is, one of rank 0 and one between."""
    A = planted(80, 6, 2, 1, noise=0.1)[0]
    A[:10] = 100.0 * matrix("gauss", 10, 6, 3)
    A[50:] = 1e-3 * matrix("gauss", 30, 6, 4)
    omega = np.linspace(1.0, 2.0, 80)
    found = lpgeom.approx_mixed(A, 155, 1.5, row_weights=omega)
    found.verify(A)
    kinds = [0 if k == 0 else 2 if k == 6 else 1 for k in found.ranks]
    assert set(kinds) == {0, 1, 2}, found
    return A, found


class TestVerify:
    """A doctored result fails, whatever was doctored."""

    def fails(self, A: Any, found: MixedResult, match: str, **changes: Any) -> None:
        with pytest.raises(CertificateError, match=match):
            replace(found, **changes).verify(A)

    def part(self, found: MixedResult, c: int, **changes: Any) -> dict[str, Any]:
        parts = list(found.parts)
        parts[c] = replace(parts[c], **changes)
        return {"parts": tuple(parts)}

    def between(self, found: MixedResult) -> int:
        return next(c for c, r in enumerate(found.results) if r is not None and r.certificate)

    def test_other_data(self, solved: Any) -> None:
        A, found = solved
        self.fails(A[:70], found, "shape")
        self.fails(A + 1e-2, found, "recomputed|bound")

    def test_labels(self, solved: Any) -> None:
        A, found = solved
        rank = np.array(found.ranks)[found.labels]
        labels = found.labels.copy()
        i, k = np.flatnonzero(rank == 6)[0], np.flatnonzero(rank == 0)[0]
        labels[[i, k]] = labels[[k, i]]
        self.fails(A, found, "recomputed|row weights", labels=labels)
        labels = found.labels.copy()
        labels[i] = labels[k]
        self.fails(A, found, "storage|recomputed|row weights", labels=labels)
        self.fails(A, found, "between 0 and", labels=found.labels + found.subspaces)
        self.fails(A, found, "integers", labels=found.labels.astype(float))
        self.fails(A, found, "integers", labels=found.labels[:-1])

    def test_bases(self, solved: Any) -> None:
        A, found = solved
        c = self.between(found)
        V = found.bases[c]
        turned = np.linalg.qr(V + 0.01)[0]
        self.fails(A, found, "recomputed|another", **self.part(found, c, basis=turned))
        self.fails(A, found, "another", **self.part(found, c, basis=-V))
        self.fails(A, found, "orthonormal", **self.part(found, c, basis=2.0 * V))
        self.fails(A, found, "storage", **self.part(found, c, basis=np.eye(6)))
        self.fails(A, found, "shape", **self.part(found, c, basis=V[:5]))

    def test_figures(self, solved: Any) -> None:
        A, found = solved
        self.fails(A, found, "single_cost", single_cost=0.5 * found.cost)
        self.fails(A, found, "history", history=(1.0, 2.0, found.cost))
        self.fails(A, found, "history", history=(found.single_cost, 0.9 * found.cost))
        self.fails(A, found, "history", history=())
        self.fails(A, found, "storage", budget=found.storage - 1)
        self.fails(A, found, "another subspace|norm error", p=1.25)
        for name in ("cost", "norm_error", "lower_bound", "ratio", "storage"):  # of the parts
            with pytest.raises(TypeError):
                replace(found, **{name: 0.9})

    def test_consistent_figures(self, solved: Any) -> None:
        """Half the cost everywhere, with all that depends on it."""
        A, found = solved
        half = 0.5 ** (1.0 / found.p)

        def halved(part: Part) -> Part:
            if part.result is None:
                return replace(part, norm=half * part.norm)
            c = part.result.statement
            bounds = tuple(replace(b, scaled_value=0.5 * b.scaled_value) for b in c.bounds)
            statement = replace(c, scaled_cost=0.5 * c.scaled_cost, bounds=bounds)
            return replace(part, result=replace(part.result, statement=statement))

        less = replace(found, parts=tuple(map(halved, found.parts)))
        self.fails(A, less, "recomputed", history=(found.cost, less.cost))

    def test_parts(self, solved: Any) -> None:
        A, found = solved
        c = self.between(found)
        part = found.parts[c]
        stated = {"result": None, "norm": part.norm_error, "p": found.p}
        self.fails(A, found, "lower bound", **self.part(found, c, **stated))
        zero, dense = found.ranks.index(0), found.ranks.index(6)
        for changed, norm in ((zero, 0.99 * found.parts[zero].norm), (dense, 1e-9)):
            forged = replace(found, **self.part(found, changed, norm=norm, p=found.p))
            history = (max(found.single_cost, forged.cost), forged.cost)
            self.fails(A, forged, "recomputed|lower bound", history=history)

    def test_certificates(self, solved: Any) -> None:
        A, found = solved
        c = self.between(found)
        result = found.parts[c].result
        assert result is not None
        certificate = result.certificate
        assert certificate is not None

        def doctored(**changes: Any) -> dict[str, Any]:
            other = replace(result, statement=replace(certificate, **changes))
            return self.part(found, c, result=other)

        raised = tuple(replace(b, scaled_value=1.01 * b.scaled_value) for b in certificate.bounds)
        self.fails(A, found, "bound", **doctored(bounds=raised))
        self.fails(A, found, "another|history", **doctored(p=2.0))
        self.fails(A, found, "another", **doctored(basis=-certificate.basis))
        self.fails(A, found, "other row weights", **doctored(row_weights=None))
        low = replace(found, **doctored(scaled_cost=0.9 * certificate.scaled_cost))
        self.fails(A, low, "cost is stated", history=(found.single_cost, low.cost))
        self.fails(A, found, "guarantee", **doctored(bounds=()))
        bare = replace(found, **doctored(bounds=(), guarantee=math.inf))
        bare.verify(A)
        assert bare.lower_bound < found.lower_bound

    def test_row_weights(self, solved: Any) -> None:
        A, found = solved
        omega = found.row_weights
        self.fails(A, found, "recomputed|row weights", row_weights=None)
        self.fails(A, found, "recomputed|row weights", row_weights=2.0 * omega)
        self.fails(A, found, "row weights", row_weights=-omega)
        self.fails(A, found, "row.weights", row_weights=omega[:-1])

    def test_uncertified_costs_are_checked_too(self, solved: Any) -> None:
        A, _ = solved
        found = lpgeom.approx_mixed(A, 155, certify=False)
        found.verify(A)
        self.fails(A, found, "recomputed|storage", labels=np.roll(found.labels, 1))


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"budget": 0}, ValueError, "budget must be >= 1"),
        ({"budget": 2.0}, TypeError, "budget must be an integer"),
        ({"budget": math.inf}, TypeError, "budget must be an integer"),
        ({"subspaces": 0}, ValueError, "subspaces must be >= 1"),
        ({"subspaces": 2.0}, TypeError, "subspaces must be an integer"),
        ({"p": math.inf}, ValueError, "p must be a finite number"),
        ({"p": 0.5}, ValueError, "p must be"),
        ({"p": 101.0}, ValueError, "p must be at most 100"),
        ({"p": "1"}, TypeError, "p must be a real number"),
        ({"row_weights": [1.0]}, ValueError, "row_weights must have shape"),
        ({"row_weights": [0.0] * 4}, ValueError, "all zero"),
        ({"row_weights": [1.0, 1.0, 1.0, -1.0]}, ValueError, r"row_weights\[3\]"),
        ({"certify": "yes"}, ValueError, "certify must be one of"),
        ({"seed": -1}, ValueError, "seed must be >= 0"),
        ({"max_iter": 0}, ValueError, "max_iter must be >= 1"),
        ({"A": [[1.0, 2.0, math.nan]]}, ValueError, "finite"),
        ({"A": [[1.0, 2.0, math.inf]]}, ValueError, "finite"),
        ({"A": [1.0, 2.0]}, ValueError, "two-dimensional"),
        ({"A": np.empty((0, 3))}, ValueError, "empty"),
        ({"A": np.eye(3).astype(object)}, TypeError, "real numbers"),
        ({"A": np.eye(3) * 1j}, TypeError, "real numbers"),
    ],
)
def test_bad_input(changes: dict[str, Any], error: type[Exception], match: str) -> None:
    arguments: dict[str, Any] = {"A": np.eye(4, 3), "budget": 5, **changes}
    with pytest.raises(error, match=match):
        lpgeom.approx_mixed(**arguments)


def test_a_coreset_is_told_what_to_do() -> None:
    A = planted(100, 4, 1, 2)[0]
    with pytest.raises(TypeError, match="Coreset: pass its rows"):
        lpgeom.approx_mixed(lpgeom.coreset(A, size=20), 50)  # type: ignore[arg-type]
