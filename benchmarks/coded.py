"""Tables of the docs about tables in few bits, from the results kept here."""

from __future__ import annotations

import statistics

from . import report


def word_vectors() -> str:
    rows = [
        [
            f"{line['share']:.1%}", line["method"],
            *(f"{statistics.mean(line[of]):.4f}" for of in ("frequent", "all")),
            report.seconds(line["cpu_seconds"]),
        ]
        for line in sorted(report.stored("words")["results"], key=lambda line: -line["share"])
    ]  # fmt: skip
    return report.markdown(
        ["bytes", "method", "5,000 frequent tokens", "all tokens", "CPU s"], rows
    )
