"""Save and load results, certificates included (format: `lpgeom.records.files`)."""

from __future__ import annotations

import itertools
import math
import os
from typing import Any

import numpy as np

from lpgeom.records.curve import CostCurve
from lpgeom.records.factors import EntriesBlock, EntriesBound, EntriesCertificate, FactorResult
from lpgeom.records.files import Fields, read_record, record_kind, write_record
from lpgeom.records.subspace import Bound, Certificate, SubspaceResult


def save_result(result: SubspaceResult, path: str | os.PathLike[str]) -> None:
    """Write `result`, certificate included, to `path`; see `SubspaceResult.save`."""
    write_record(path, "SubspaceResult", _result_fields(result))


def load_result(path: str | os.PathLike[str]) -> SubspaceResult:
    """Read what `save_result` wrote; see `SubspaceResult.load`."""
    return read_record(path, "SubspaceResult", "result", _build_result)


def save_curve(curve: CostCurve, path: str | os.PathLike[str]) -> None:
    """Write `curve`, certificates included, to `path`; see `CostCurve.save`."""
    fields = _fields_of(curve)
    fields["results"] = [_result_fields(result) for result in curve.results]
    write_record(path, "CostCurve", fields)


def load_curve(path: str | os.PathLike[str]) -> CostCurve:
    """Read what `save_curve` wrote; see `CostCurve.load`."""
    return read_record(path, "CostCurve", "cost curve", _build_curve)


def save_factors(result: FactorResult, path: str | os.PathLike[str]) -> None:
    """Write `result`, certificate included, to `path`; see `FactorResult.save`."""
    fields = _fields_of(result)
    if (certificate := result.certificate) is not None:
        fields["certificate"] = _fields_of(certificate)
        fields["certificate"]["bounds"] = [
            {**_fields_of(bound), "blocks": [_block_fields(block) for block in bound.blocks]}
            for bound in certificate.bounds
        ]
    write_record(path, "FactorResult", fields)


def load_factors(path: str | os.PathLike[str]) -> FactorResult:
    """Read what `save_factors` wrote; see `FactorResult.load`."""
    return read_record(path, "FactorResult", "factorisation", _build_factors)


def load_either(path: str | os.PathLike[str]) -> SubspaceResult | FactorResult:
    """Read what either `save` wrote."""
    return load_factors(path) if record_kind(path) == "FactorResult" else load_result(path)


def _fields_of(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


def _result_fields(result: SubspaceResult) -> dict[str, Any]:
    fields = _fields_of(result)
    if result.certificate is not None:
        fields["certificate"] = _certificate_fields(result.certificate)
    return fields


def _certificate_fields(certificate: Certificate) -> dict[str, Any]:
    return {**_fields_of(certificate), "bounds": [_fields_of(b) for b in certificate.bounds]}


def _block_fields(block: EntriesBlock) -> dict[str, Any]:
    return {"indices": block.indices, "certificate": _certificate_fields(block.certificate)}


def _build_result(values: Any) -> SubspaceResult:
    f = Fields(values, "result", SubspaceResult.__dataclass_fields__)
    shape, k = f.shape("shape"), f.integer("k", 1)
    p = f.real("p", 1.0, finite=False)
    certificate = None
    if f.values["certificate"] is not None:
        certificate = _build_certificate(f.values["certificate"], shape, k, p)
    result = SubspaceResult(
        basis=f.matrix("basis", (shape[1], k)),
        cost=f.real("cost", 0.0, finite=False),
        norm_error=f.real("norm_error", 0.0, finite=False),
        lower_bound=f.real("lower_bound", 0.0, finite=False),
        ratio=f.real("ratio", 1.0, finite=False),
        guarantee=f.real("guarantee", 0.0, finite=False),
        certificate=certificate,
        p=p,
        k=k,
        shape=shape,
        objective=f.text("objective"),
        method=f.text("method"),
        backend=f.text("backend"),
        history=f.costs("history"),
        n_iter=f.integer("n_iter", 0),
        n_passes=f.real("n_passes", 0.0),
        converged=f.flag("converged"),
        seconds=f.real("seconds", 0.0),
        svd_cost=f.real("svd_cost", 0.0, finite=False),
        seed=f.integer("seed"),
    )
    _check_agreement(result, "basis")
    return result


def _build_curve(values: Any) -> CostCurve:
    f = Fields(values, "curve", CostCurve.__dataclass_fields__)
    if not isinstance(f.values["results"], list) or not f.values["results"]:
        raise f.fail("results", "a list of results")
    results = tuple(_build_result(result) for result in f.values["results"])
    first = results[0]
    if any((r.shape, r.p) != (first.shape, first.p) for r in results):
        raise ValueError("the results of a curve speak of different problems")
    if any(a.k >= b.k for a, b in itertools.pairwise(results)):
        raise ValueError("the ranks of a curve are ascending")
    return CostCurve(
        results=results,
        total=f.real("total", 0.0, finite=False),
        n_passes=f.real("n_passes", 0.0),
        seconds=f.real("seconds", 0.0),
    )


def _check_agreement(result: SubspaceResult | FactorResult, *names: str) -> None:
    """The figures a reader sees must be those of the certificate that can be re-checked."""
    certificate = result.certificate
    if certificate is None:
        return
    for name in names:
        if not np.array_equal(getattr(certificate, name), getattr(result, name)):
            raise ValueError(f"the certificate speaks of another {name}")
    for name in ("cost", "lower_bound", "ratio"):
        ours, theirs = getattr(result, name), getattr(certificate, name)
        if ours != theirs and not math.isclose(ours, theirs, rel_tol=1e-9):
            raise ValueError(f"result.{name} is {ours!r}, but the certificate says {theirs!r}")
    scaled = certificate.scaled_cost
    norm = (scaled if math.isinf(result.p) else scaled ** (1.0 / result.p)) * certificate.unit
    if not math.isclose(result.norm_error, norm, rel_tol=1e-9, abs_tol=1e-300):
        raise ValueError(f"result.norm_error is {result.norm_error!r}, by the certificate {norm!r}")


def _build_certificate(values: Any, shape: tuple[int, int], k: int, p: float) -> Certificate:
    f = Fields(values, "certificate", Certificate.__dataclass_fields__)
    if f.shape("shape") != shape or f.integer("k") != k or f.real("p", 1.0, finite=False) != p:
        raise ValueError("the certificate speaks of another problem")
    unit = f.real("unit", 0.0)
    bounds = f.values["bounds"]
    if not isinstance(bounds, list):
        raise f.fail("bounds", "a list")
    row_weights = None
    if f.values["row_weights"] is not None:
        row_weights = f.matrix("row_weights", (shape[0],))
    return Certificate(
        p=p,
        k=k,
        shape=shape,
        basis=f.matrix("basis", (shape[1], k)),
        scaled_cost=f.real("scaled_cost", 0.0),
        bounds=tuple(_build_bound(bound, i) for i, bound in enumerate(bounds)),
        guarantee=f.real("guarantee", 0.0, finite=False),
        unit=unit,
        row_weights=row_weights,
    )


def _build_bound(values: Any, index: int) -> Bound:
    f = Fields(values, f"bound {index}", Bound.__dataclass_fields__)
    witness = f.values["witness"]
    if not isinstance(witness, dict):
        raise f.fail("witness", "a mapping")
    return Bound(
        name=f.text("name"),
        theorem=f.text("theorem"),
        scaled_value=f.real("scaled_value", -math.inf),
        failure_probability=f.real("failure_probability", 0.0, 1.0),
        witness=witness,
        unit=f.real("unit", 0.0),
        p=f.real("p", 1.0, finite=False),
    )


def _build_factors(values: Any) -> FactorResult:
    if isinstance(values, dict):  # older files do not say where: there was one place
        values = {"backend": "cpu", **values}
    f = Fields(values, "result", FactorResult.__dataclass_fields__)
    shape, k = f.shape("shape"), f.integer("k", 1)
    p = f.real("p", 1.0)
    certificate = None
    if f.values["certificate"] is not None:
        certificate = _build_entries_certificate(f.values["certificate"], shape, k, p)
    result = FactorResult(
        left=f.matrix("left", (shape[0], k)),
        right=f.matrix("right", (k, shape[1])),
        cost=f.real("cost", 0.0, finite=False),
        norm_error=f.real("norm_error", 0.0, finite=False),
        lower_bound=f.real("lower_bound", 0.0, finite=False),
        ratio=f.real("ratio", 1.0, finite=False),
        guarantee=f.real("guarantee", 0.0, finite=False),
        certificate=certificate,
        history=f.costs("history"),
        method=f.text("method"),
        p=p,
        k=k,
        shape=shape,
        n_iter=f.integer("n_iter", 0),
        converged=f.flag("converged"),
        seconds=f.real("seconds", 0.0),
        svd_cost=f.real("svd_cost", 0.0, finite=False),
        seed=f.integer("seed"),
        backend=f.text("backend"),
    )
    _check_agreement(result, "left", "right")
    return result


def _build_entries_certificate(
    values: Any, shape: tuple[int, int], k: int, p: float
) -> EntriesCertificate:
    f = Fields(values, "certificate", EntriesCertificate.__dataclass_fields__)
    if f.shape("shape") != shape or f.integer("k") != k or f.real("p", 1.0) != p:
        raise ValueError("the certificate speaks of another problem")
    bounds = f.values["bounds"]
    if not isinstance(bounds, list):
        raise f.fail("bounds", "a list")
    weights = {
        name: None if f.values[name] is None else f.matrix(name, extent)
        for name, extent in (("row_weights", shape[:1]), ("entry_weights", shape))
    }
    return EntriesCertificate(
        p=p,
        k=k,
        shape=shape,
        left=f.matrix("left", (shape[0], k)),
        right=f.matrix("right", (k, shape[1])),
        scaled_cost=f.real("scaled_cost", 0.0),
        bounds=tuple(_build_entries_bound(bound, i, shape, k) for i, bound in enumerate(bounds)),
        unit=f.real("unit", 0.0),
        missing=f.text("missing"),
        **weights,
    )


def _build_entries_bound(values: Any, index: int, shape: tuple[int, int], k: int) -> EntriesBound:
    f = Fields(values, f"bound {index}", EntriesBound.__dataclass_fields__)
    axis, p, blocks = f.text("axis"), f.real("p", 1.0), f.values["blocks"]
    if axis not in ("rows", "columns"):
        raise f.fail("axis", "rows or columns")
    if not isinstance(blocks, list):
        raise f.fail("blocks", "a list")
    points = shape[0] if axis == "rows" else shape[1]
    return EntriesBound(
        name=f.text("name"),
        axis=axis,
        blocks=tuple(_build_block(block, points, k, p) for block in blocks),
        p=p,
        unit=f.real("unit", 0.0),
    )


def _build_block(values: Any, points: int, k: int, p: float) -> EntriesBlock:
    f = Fields(values, "block", EntriesBlock.__dataclass_fields__)
    indices = f.values["indices"]
    if not isinstance(indices, np.ndarray) or indices.dtype != np.int64 or indices.ndim != 1:
        raise f.fail("indices", "a vector of integers")
    shape = (points, indices.size)
    return EntriesBlock(indices, _build_certificate(f.values["certificate"], shape, k, p))
