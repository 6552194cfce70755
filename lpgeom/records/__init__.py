"""What lpgeom states, and how anyone checks it: the part one has to trust to believe a certificate.

Frozen records and their check in NumPy; imports nothing else of lpgeom but how files and arrays are
read. Begin with `base` (units, bounds), then `subspace` (a certificate), then `check.verify`;
docs/trusting.md says what is proved.
"""

from __future__ import annotations

import os

from lpgeom.records.base import CertificateError
from lpgeom.records.curve import CostCurve
from lpgeom.records.factors import EntriesBound, EntriesCertificate, FactorResult
from lpgeom.records.files import record_kind
from lpgeom.records.groups import ClusterResult, MixedResult, Part
from lpgeom.records.subspace import Bound, Certificate, SubspaceResult

__all__ = [
    "Bound", "Certificate", "CertificateError", "ClusterResult", "CostCurve",
    "EntriesBound", "EntriesCertificate", "FactorResult", "MixedResult", "Part",
    "SubspaceResult", "load",
]  # fmt: skip


def load(path: str | os.PathLike[str]) -> SubspaceResult | FactorResult:
    """Read what the `save` of either result wrote."""
    if record_kind(path) == "FactorResult":
        return FactorResult.load(path)
    return SubspaceResult.load(path)
