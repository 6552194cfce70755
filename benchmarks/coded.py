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


def large_tables() -> str:
    rows = [
        [
            f"{line['rows']:,} x {line['columns']:,}, {line['dtype']}",
            f"{line['bytes_before'] / 1e6:.0f}", f"{line['bytes_after'] / 1e6:.0f}",
            report.seconds(line["cpu_seconds"]), f"{line['memory_over_table']:.2f}",
        ]
        for line in report.stored("quantized")["tables"]
    ]  # fmt: skip
    head = ["table", "MB", "MB after", "CPU s", "memory, of the table's own"]
    return report.markdown(head, rows)


def entropies() -> str:
    rows = [
        [
            f"{line['share']:.1%}", f"{line['code_bytes'] / 1e6:.3f}",
            f"{line['ideal_bytes'] / 1e6:.3f}", f"{line['saved']:.1%}",
        ]
        for line in report.stored("quantized")["entropy"]
    ]  # fmt: skip
    return report.markdown(["bytes", "MB of codes", "coded ideally", "less of all"], rows)


def look_ups() -> str:
    rows = [
        [str(line["batch"]), str(line["words"]), f"{line['time_over_dense']:.2f}"]
        for line in report.stored("quantized")["forward"]
    ]
    return report.markdown(["texts", "tokens of each", "time over the dense model's"], rows)
