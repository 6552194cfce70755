"""Small tables whose outliers are known, as they were printed: facts, typed off the literature.

Each is a CSV file beside this one: names of rows first, then the columns. `load` reads one.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Classic:
    """A table: its rows and their names, the dimension looked for, and the known outliers."""

    rows: NDArray[np.float64]
    names: tuple[str, ...]
    k: int
    known: tuple[str, ...]
    source: str


# name -> (k, known outliers, where they are from)
TABLES: dict[str, tuple[int, str, str]] = {
    "hbk": (2, "1 2 3 4 5 6 7 8 9 10 11 12 13 14", "Hawkins, Bradu and Kass 1984"),
    "stackloss": (2, "1 2 3 21", "Brownlee 1965; Rousseeuw and Leroy 1987"),
    "wood": (2, "4 6 8 19", "Draper and Smith 1966, contaminated by Rousseeuw 1984"),
    "stars": (1, "11 20 30 34", "CYG OB1: Humphreys 1978; giants"),
    "animals": (1, "Triceratops Brachiosaurus Dipliodocus", "Rousseeuw and Leroy 1987, logarithms"),
    "milk": (2, "1 2 3 41 44 47 70 74", "Daudin, Duby and Trecourt 1988; Atkinson 1994"),
    "bushfire": (2, "8 9 10 11 32 33 34 35 36 37 38", "Campbell 1989; Maronna and Yohai 1995"),
}


def load(name: str) -> Classic:
    """A table by its name."""
    k, known, source = TABLES[name]
    with open(HERE / f"{name}.csv", newline="") as file:
        lines = list(csv.reader(file))[1:]
    rows = np.array([[float(x) for x in line[1:]] for line in lines])
    return Classic(rows, tuple(line[0] for line in lines), k, tuple(known.split()), source)
