"""Certificates made to deceive: a statement above a known optimum, and a search for its proof.

A target is a genuine record whose statement is raised above what some subspace costs: an upper
bound of the optimum, so the statement is false. Every number of its witness, its unit and what else
it holds is then edited by a (1+1) evolution strategy that climbs what the checkers prove: entries,
sizes over eighty powers of ten, eigenvalues, indices, seeds. Every `verify` counts as a try.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import lpgeom
from lpgeom.affine.lift import lifted
from lpgeom.records import CertificateError
from lpgeom.records.base import EPS, Array
from lpgeom.records.check import verify as checking
from lpgeom.records.curve import CostCurve
from lpgeom.records.factors import EntriesBlock, EntriesBound
from lpgeom.records.groups import MixedResult, Part
from lpgeom.records.subspace import Bound, Certificate

ABOVE = 1e-8
"""By which share a statement is above the optimum: ten times `rtol`."""

TINY = 1e-290
"""Optima below this have too few digits to be a measure."""

ADMITTED = 1e-3
"""A bound that may fail with a larger probability, and says so, deceives nobody."""

PATIENCE, DEEP = 120, 250
"""Tries without gain after which a search begins again, and those that a family has at least."""

Fields = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """A false statement: `build` gives, of fields, the record and what would have to be proved."""

    A: Array
    fields: Fields
    build: Callable[[Fields], tuple[Any, float]]


class Ear:
    """Hears what the checkers prove, and states for the forger the probability they ask for."""

    def __init__(self) -> None:
        self.proved: list[float] = []

    def __enter__(self) -> Ear:
        self.before = dict(checking.CHECKERS)
        for name, checker in self.before.items():
            checking.CHECKERS[name] = self.listening(checker)
        return self

    def __exit__(self, *_: object) -> None:
        checking.CHECKERS.update(self.before)

    def listening(self, checker: Any) -> Any:
        def heard(data: Any, bound: Bound) -> Any:
            proved = checker(data, bound)
            self.proved.append(proved.most(1e-9))
            chance = proved.failure_probability
            stated = bound.failure_probability if chance <= ADMITTED else chance
            return replace(proved, failure_probability=stated)

        return heard


def run(tries: int, seed: int) -> dict[str, dict[str, Any]]:
    """`tries` in all, shared by as many families, drawn by chance, as can have `DEEP` each: of each
    the tries, how many passed, and the largest ``(what was proved) / optimum - 1``."""
    rng = np.random.default_rng(seed)
    names = rng.permutation(list(FAMILIES))[: max(1, tries // DEEP)].tolist()
    share = -(-tries // len(names))
    with Ear() as ear, np.errstate(all="ignore"):
        return {name: _attack(FAMILIES[name], share, rng, ear) for name in names}


def _attack(make: Any, tries: int, rng: Any, ear: Ear) -> dict[str, Any]:
    done = passed = 0
    largest = -1.0
    while done < tries:
        for target in make(rng):
            for outcome, gained in _search(target, min(tries - done, 4 * PATIENCE), rng, ear):
                done, passed, largest = done + 1, passed + outcome, max(largest, gained)
    return {"tries": done, "passed": passed, "largest": largest}


def _search(target: Target, tries: int, rng: Any, ear: Ear) -> Iterator[tuple[bool, float]]:
    """Whether each try passed, and how far above the optimum its proof reaches."""
    best, held, step, idle = -math.inf, target.fields, 0.3, 0
    for i in range(tries):
        fields = held if i == 0 else _edited(held, step, target.A, rng)
        record, optimum = target.build(fields)
        ear.proved.clear()
        try:
            record.verify(target.A)
            passed = True
        except CertificateError:
            passed = False
        reached = math.fsum(x for x in ear.proved if math.isfinite(x)) if ear.proved else -math.inf
        gained = reached / optimum - 1.0 if ear.proved and optimum > TINY else -1.0
        yield passed, gained
        if gained > best:
            best, held, step, idle = gained, fields, min(1.5 * step, 3.0), 0
        else:
            step, idle = max(0.93 * step, 1e-9), idle + 1
        if idle > PATIENCE:  # again, from somewhere else
            best, held, step, idle = -math.inf, target.fields, 10.0 ** rng.uniform(-6, 0), 0
            for _ in range(rng.integers(1, 4)):
                held = _edited(held, 1.0, target.A, rng)


def _edited(fields: Fields, step: float, A: Array, rng: Any) -> Fields:
    """One field, or all of them, changed."""
    names = [*fields] if rng.random() < 0.2 else [rng.choice([*fields])]
    return fields | {name: _changed(fields[name], step, A, rng) for name in names}


def _changed(x: Any, step: float, A: Array, rng: Any) -> Any:
    if isinstance(x, bool):
        return not x
    if isinstance(x, int):
        return int(rng.choice([x + 1, abs(x - 1), x * 2, 0, 10 ** int(rng.integers(1, 12))]))
    if isinstance(x, float):
        return float(x * math.exp(step * rng.normal()) if rng.random() < 0.8 else _size(x, rng))
    if x.dtype.kind in "iu":
        return rng.permutation(x) if rng.random() < 0.5 else rng.integers(0, max(A.shape), x.shape)
    way, square = rng.integers(7), x.ndim == 2 and x.shape[0] == x.shape[1]
    if way == 0 or x.size == 0:
        return x * math.exp(step * rng.normal())
    if way == 1:
        return x * _size(1.0, rng) if rng.random() < 0.3 else x
    if way == 2 and square:
        lam, U = np.linalg.eigh(np.nan_to_num(0.5 * (x + x.T)))
        lam = lam * np.exp(step * rng.normal(size=lam.size))
        if rng.random() < 0.2:
            lam[rng.integers(lam.size)] *= _size(1.0, rng)
        return (U * lam) @ U.T
    if way == 3 and square and x.shape[0] == A.shape[1]:
        a = A[rng.integers(len(A))]
        away = np.eye(len(a)) - np.outer(a, a) / max(float(a @ a), 1e-300)
        return x + step * rng.normal() * np.outer(a, a) if rng.random() < 0.5 else away @ x @ away
    noise = step * max(float(np.abs(x).max()), 1e-300) * rng.normal(size=x.shape)
    if way <= 4:
        noise *= rng.random(x.shape) < 1.0 / x.size + 0.1
    return x + (0.5 * (noise + noise.T) if square else noise)


def _size(x: float, rng: Any) -> float:
    return float(x * 10.0 ** rng.uniform(-40, 40))


# ---------------------------------------------------------------- what is attacked


def _matrix(rng: Any, d: int = 3) -> Array:
    """Small rows of several kinds."""
    A = rng.standard_normal((int(rng.integers(d + 2, d + 7)), d))
    kind = rng.integers(5)
    if kind == 1:
        A[0] *= 10.0 ** rng.uniform(2, 14)
    elif kind == 2:
        A = np.round(4.0 * A) + np.eye(*A.shape)
    elif kind == 3:  # nearly of rank 1
        A = A[:, :1] * A[:1] + 10.0 ** rng.uniform(-9, -1) * A
    elif kind == 4:
        A[0] = [10.0 ** rng.uniform(4, 17), *np.zeros(d - 1)]
    return np.asarray(A)


def _power(norm: float, p: float) -> float:
    return float(norm if math.isinf(p) else norm**p)


def _distance(A: Array, V: Array, p: float, omega: Array | None = None) -> float:
    y = np.linalg.norm(A - A @ V @ V.T, axis=1)
    return float(y.max() if math.isinf(p) else lpgeom.records.base.p_norm(
        y if omega is None else y * omega ** (1.0 / p), p))  # fmt: skip


def _raised(
    A: Array, basis: Array, p: float, name: str, best: float, omega: Array | None = None
) -> Callable[[Fields, float], tuple[Certificate, float]]:
    """A certificate of `basis`, whose one bound is above the cost `best` (a norm) by a factor."""
    cost = _distance(A, basis, p, omega)

    def build(fields: Fields, above: float = 1.0 + ABOVE) -> tuple[Certificate, float]:
        unit = math.ldexp(1.0, round(min(max(fields["log unit"], -990.0), 990.0)))
        try:
            optimum = _power(best / unit, p)
            scaled = _power(cost / unit, p)
        except OverflowError:
            optimum = scaled = 1e308
        witness = {x: y for x, y in fields.items() if x != "log unit" and not x.startswith("_")}
        chance = 1e-9 if name.startswith("radial") else 0.0
        stated = max(above * optimum, 5e-324)  # 0 would be true
        bound = Bound(name, "forged", stated, chance, witness, unit, p)
        return Certificate(
            p, basis.shape[1], A.shape, basis, scaled, (bound,), math.inf, unit, omega
        ), optimum  # fmt: skip

    return build


def _problem(rng: Any, p: float, name: str, level: str, d: int) -> Any:
    """A matrix, its best subspace known, the witness of a bound for it, and a bad subspace."""
    while True:
        A, k = _matrix(rng, d), int(rng.integers(1, d))
        omega = rng.uniform(0.2, 3.0, len(A)) if rng.random() < 0.3 else None
        result = lpgeom.approx_subspace(A, k, p, row_weights=omega, certify=False)
        certificate = lpgeom.certify(A, result.basis, p, level, row_weights=omega)
        found = [b for b in certificate.bounds if b.name == SAME.get(name, name)]
        basis = np.linalg.qr(rng.standard_normal((d, k)))[0]
        norm = result.norm_error
        if found and norm > 1e3 * EPS * np.linalg.norm(A) and found[0].scaled_value > 0.0 and (
            name not in ("radial", "radial_two", "radial_quartic") or found[0].witness
        ) and _distance(A, basis, p, omega) > 1.01 * norm:  # fmt: skip
            fields = dict(found[0].witness) | {"log unit": math.log2(certificate.unit)}
            return A, basis, omega, norm, fields


SAME = {"mixed": "tangent"}
"""The name that a bound's witness has now, by one that it had."""


def _bound(name: str, ps: tuple[float, ...], level: str = "fast") -> Any:
    def make(rng: Any) -> Iterator[Target]:
        p = float(rng.choice(ps))
        # Lanczos' theorem says nothing after the few steps that there are in three dimensions.
        d = 6 if name.startswith("radial") else 3
        A, basis, omega, norm, fields = _problem(rng, p, name, level, d)
        yield Target(A, fields, _raised(A, basis, p, name, norm, omega))  # type: ignore[arg-type]

    return make


def _guarantee(rng: Any) -> Iterator[Target]:
    """Less than the ratio of the subspace is, beside a bound that may be loose."""
    name, p = [("chord", 1.0), ("relaxation", 1.0), ("lewis_trace", 1.5), ("power", 3.0)][
        rng.integers(4)
    ]
    A, basis, omega, norm, fields = _problem(rng, p, name, "fast", 3)
    build = _raised(A, basis, p, name, norm, omega)
    ratio = _distance(A, basis, p, omega) / norm

    def promised(fields: Fields) -> tuple[Certificate, float]:
        c, optimum = build(fields, min(abs(fields["_share"]), 1.0 + ABOVE))
        return replace(c, guarantee=1.0 + (1.0 - ABOVE) * (ratio - 1.0)), optimum

    yield Target(A, fields | {"_share": 0.5}, promised)


def _cost(rng: Any) -> Iterator[Target]:
    """A cost below that of the basis; a long row may hide behind its own rounding, no other."""
    A, p = _matrix(rng), float(rng.choice([1.0, 1.5, 2.0, 3.0, math.inf]))
    A[0] = [10.0 ** rng.uniform(0, 15), 0.0, 0.0]
    V = np.eye(3)[:, :1]

    def build(fields: Fields) -> tuple[Certificate, float]:
        basis = fields["basis"] if np.isfinite(fields["basis"]).all() else V
        Q = np.linalg.qr(basis)[0]
        unit = math.ldexp(1.0, round(min(max(fields["log unit"], -990.0), 990.0)))
        least = _distance(A[1:], Q, p)  # the first row aside
        with np.errstate(all="ignore"):
            stated = float(np.float64(0.999 * least / unit) ** (1.0 if math.isinf(p) else p))
        bound = Bound("rank", "0", 0.0, 0.0, {"rank": 1}, unit, p)
        return Certificate(p, 1, A.shape, basis, stated, (bound,), math.inf, unit), 1.0

    yield Target(A, {"basis": V, "log unit": 0.0}, build)


def _affine(rng: Any) -> Iterator[Target]:
    """Rows lifted by a coordinate; no affine line costs less, it is said, than one found costs."""
    A = rng.standard_normal((8, 2)) + 3.0
    found = lpgeom.approx_affine(A, 1, 1.0)
    assert found.certificate is not None
    bound = next(b for b in found.certificate.bounds if b.name == "relaxation")
    L = lifted(A, found.centre, found.lift)
    basis = np.linalg.qr(rng.standard_normal((3, found.certificate.k)))[0]
    fields = dict(bound.witness) | {"log unit": math.log2(bound.unit)}
    if _distance(L, basis, 1.0) > 1.01 * found.cost:
        build: Any = _raised(L, basis, 1.0, "relaxation", found.cost)
        yield Target(L, fields, build)


def _curve(rng: Any) -> Iterator[Target]:
    """One rank of a curve with a bound that is too high; or the cost of rank 0."""
    A = rng.standard_normal((8, 4))
    curve = lpgeom.cost_curve(A, 1.0, [1, 2])
    r = curve.results[rng.integers(2)]
    basis = np.linalg.qr(rng.standard_normal((4, r.k)))[0]
    build = _raised(A, basis, 1.0, "relaxation", r.cost)
    bound = next(b for b in r.statement.bounds if b.name == "relaxation")

    def forged(fields: Fields) -> tuple[CostCurve, float]:
        certificate, optimum = build(fields, 1.0 + ABOVE)
        return replace(curve, results=(replace(r, statement=certificate),)), optimum

    fields = dict(bound.witness) | {"log unit": math.log2(bound.unit)}
    if _distance(A, basis, 1.0) > 1.01 * r.cost:
        yield Target(A, fields, forged)

    def total(fields: Fields) -> tuple[CostCurve, float]:
        off = max(abs(fields["off"]), 1e-8)
        return replace(curve, total=curve.total * (1.0 + off)), math.inf

    yield Target(A, {"off": 1e-8}, total)


def _entries(rng: Any) -> Iterator[Target]:
    """Two blocks of columns, that add up to more than the factors found cost."""
    A, p = rng.standard_normal((6, 4)), float(rng.choice([1.0, 1.5, 3.0]))
    found = lpgeom.approx_factors(A, 1, p, max_iter=20)
    name = "relaxation" if p < 2.0 else "power"
    blocks, fields = [], {}
    for i, J in enumerate(([0, 1], [2, 3])):
        result = lpgeom.approx_subspace(A[:, J], 1, p)
        bound = next(b for b in result.statement.bounds if b.name == name)
        basis = np.linalg.qr(rng.standard_normal((2, 1)))[0]
        blocks.append((_raised(A[:, J], basis, p, name, result.norm_error), result.cost))
        fields |= {f"{x} {i}": y for x, y in bound.witness.items()} | {f"_J {i}": np.array(J)}
    fields["log unit"] = 0.0
    whole = sum(cost for _, cost in blocks) * min(1.0, 2.0 ** (1.0 - p / 2.0))
    above = (1.0 + ABOVE) * found.cost / whole

    def forged(fields: Fields) -> tuple[Any, float]:
        made = []
        for i, (build, _) in enumerate(blocks):
            own = {x[:-2]: y for x, y in fields.items() if x.endswith(f" {i}") and x[0] != "_"}
            inner, _ = build(own | {"log unit": fields["log unit"]}, above)
            made.append(EntriesBlock(fields[f"_J {i}"], inner))
        bound = EntriesBound("rows, 2 groups", "rows", tuple(made), p, found.statement.unit)
        return replace(found.statement, bounds=(bound,)), above * whole / made[
            0
        ].certificate.unit ** p

    yield Target(A, fields, forged)


def _mixed(rng: Any) -> Iterator[Target]:
    """A group's bound that is too high; and rows that become zero, said to cost more."""
    A = np.vstack([rng.standard_normal((8, 3)), 0.1 * rng.standard_normal((3, 3))])
    best = lpgeom.approx_subspace(A[:8], 1, 1.0)
    basis = np.linalg.qr(rng.standard_normal((3, 1)))[0]
    build = _raised(A[:8], basis, 1.0, "relaxation", best.cost)
    bound = next(b for b in best.statement.bounds if b.name == "relaxation")
    zero = float(np.linalg.norm(A[8:], axis=1).sum())
    single = 1e3

    def forged(fields: Fields) -> tuple[MixedResult, float]:
        raised = 1.0 if fields["_zero"] else 1.0 + ABOVE
        certificate, optimum = build(fields, 0.1 if fields["_zero"] else raised)
        part = Part(basis, replace(best, statement=certificate))
        norm = zero * (1.0 + max(abs(fields["_norm"]), 1e-8)) if fields["_zero"] else zero
        nought = Part(np.zeros((3, 0)), None, norm, abs(fields["_p"]) if fields["_zero"] else 1.0)
        cost = part.cost + nought.cost
        return MixedResult(
            labels=np.repeat([0, 1], [8, 3]), parts=(part, nought), single_cost=max(single, cost),
            svd_cost=single, history=(cost,), p=1.0, shape=A.shape, method="forged", n_iter=1,
            converged=True, seconds=0.0, seed=0, budget=99, single_rank=1,
        ), optimum  # fmt: skip

    fields = dict(bound.witness) | {"log unit": math.log2(bound.unit), "_p": 1.0, "_norm": 1e-8}
    if _distance(A[:8], basis, 1.0) > 1.01 * best.cost:
        yield Target(A, fields | {"_zero": False}, forged)
        yield Target(A, fields | {"_zero": True}, forged)


CONCAVE = (1.0, 1.25, 1.5, 1.9)

FAMILIES: dict[str, Callable[[Any], Iterator[Target]]] = {
    "spectral": _bound("spectral", (2.0,)),
    "chord": _bound("chord", CONCAVE),
    "lewis_trace": _bound("lewis_trace", (*CONCAVE, 3.0)),
    "lewis_sharpened": _bound("lewis_sharpened", CONCAVE),
    "relaxation": _bound("relaxation", CONCAVE),
    "tangent": _bound("tangent", (1.1, 1.5, 1.9)),
    "mixed name": _bound("mixed", (1.1, 1.5, 1.9)),
    "power": _bound("power", (2.5, 3.0, 8.0, 40.0)),
    "john": _bound("john", (math.inf,)),
    "minimax": _bound("minimax", (math.inf,)),
    "radial": _bound("radial", CONCAVE, "all"),
    "radial_two": _bound("radial_two", CONCAVE, "all"),
    "radial_quartic": _bound("radial_quartic", CONCAVE, "all"),
    "guarantee": _guarantee,
    "cost": _cost,
    "affine": _affine,
    "curve": _curve,
    "entries": _entries,
    "groups": _mixed,
}
"""What yields targets, by the name of the family."""
