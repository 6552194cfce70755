"""How anyone checks a statement: with NumPy and the data, from witnesses alone.

Imports `lpgeom.records.base` and how data are read; no record, and nothing that made one. Begin
with `verify`, and `linear` for a bound; `CHECKERS` has the checker of each bound by its name.
"""

from lpgeom.records.check.data import Checked, Checker, Data
from lpgeom.records.check.verify import CHECKERS

__all__ = ["CHECKERS", "Checked", "Checker", "Data"]
