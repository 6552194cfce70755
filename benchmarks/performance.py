"""Tables of the docs from the results kept here: ``python -m benchmarks.performance``.

All of docs/performance.md's, and those marked in other pages. Every such table stands between
``<!-- table: name -->`` and ``<!-- end -->``; a test makes the pages anew and compares.
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lpgeom.io.atomic import write_atomically

from . import breakdown, coded, components, outliers, report
from .estimator import averages
from .report import markdown, seconds
from .robustness import wrong

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = DOCS / "performance.md"
MARKED = re.compile(r"(<!-- table: ([^>]+) -->\n).*?(<!-- end -->)", re.DOTALL)
METHODS = ("lpgeom", "svd", "randomized_svd", "fms", "reaper", "r1_pca", "tyler", "l1_pca")
MATRICES = (("digits", 10), ("heavy-tailed", 10), ("minilm", 96))


def results(name: str) -> dict[str, Any]:
    return dict(json.loads((report.RESULTS / f"{name}.json").read_text()))


def solve() -> str:
    found: dict[tuple[float, int], dict[str, Any]] = {}
    for line in results("certificates")["results"]:
        found.setdefault((line["p"], line["k"]), {})[line["level"]] = line
    rows = []
    for (p, k), levels in found.items():
        cells = [f"{p:g}", str(k)]
        for level in ("fast", "tight"):
            line = levels[level]
            cells += [seconds(line["seconds"]), f"{line['n_passes']:.0f}", f"{line['ratio']:.3f}"]
        rows.append(cells)
    head = ["p", "k", "seconds", "passes", "ratio", "tight: seconds", "passes", "ratio"]
    return markdown(head, rows)


def heuristics() -> str:
    lines = results("compare")["results"]
    rows = []
    for method in METHODS:
        cells = [f"`{method}`"]
        for data, k in MATRICES:
            mine = [r for r in lines if (r["data"], r["k"], r["method"]) == (data, k, method)]
            if not mine:
                cells += ["-", "-"]
                continue
            cells.append(seconds(statistics.median(r["seconds"] for r in mine)))
            cells.append(f"{statistics.median(r['cost_over_best'] for r in mine):.4f}")
        rows.append(cells)
    head = ["method"]
    for data, k in MATRICES:
        head += [f"{data}, k = {k}: seconds", "cost / least"]
    return markdown(head, rows)


def ellipsoids() -> str:
    lines = results("ellipsoids")["results"]
    shapes = sorted({tuple(line["shape"]) for line in lines})
    methods = ("lewis", "shallow-cut", "john")
    rows = []
    for n, d in shapes:
        cells = [f"{n} x {d}"]
        for method in methods:
            (time,) = (
                line["median_seconds"]
                for line in lines
                if line["matrix"] == "gaussian"
                and line["p"] == 1.0
                and (tuple(line["shape"]), line["method"]) == ((n, d), method)
            )
            cells.append(seconds(1e3 * time))
        rows.append(cells)
    return markdown(["Gaussian rows, p = 1", *(f"{m}: ms" for m in methods)], rows)


def memory() -> str:
    line = results("outofcore")
    n, d = line["shape"]
    rows = [
        ["rows", f"{n} x {d}, float32, k = {line['k']}, p = {line['p']:g}"],
        ["file", f"{line['file_GB']:.0f} GB"],
        ["memory allowed to the process", f"{line['limit_MiB']} MiB"],
        ["memory that it took for data", f"{line['data_MiB']:.0f} MiB"],
        ["passes over the file", f"{line['passes']:.0f}"],
        ["seconds, certificate included", seconds(line["seconds"])],
        ["read and worked on", f"{line['GB_per_s']:.2f} GB/s"],
        ["certified ratio", f"{line['ratio']:.3f}"],
    ]
    return markdown(["", "measured"], rows)


def dask() -> str:
    rows = [
        [
            str(line["chunks"]),
            seconds(line["seconds"]),
            f"{line['MB']:.1f}",
        ]
        for line in results("scaling")["checked"]
    ]
    return markdown(["chunks", "seconds of a pass", "MB moved"], rows)


def models() -> str:
    rows = [
        [
            line["variant"],
            seconds(line["seconds"]),
            f"{100 * line['saved']:.0f}%",
            f"{line['time_1']:.2f}",
            f"{line['time_32']:.2f}",
        ]
        for line in results("nn")["models"]
    ]
    head = [
        "what is compressed",
        "CPU seconds",
        "parameters saved",
        "time, 1 text",
        "time, 32 texts",
    ]
    return markdown(head, rows)


def compressing() -> str:
    found = results("nn")["cost"]
    tensor = found["largest_tensor_bytes"]
    names = {
        "call": "the call, in a process that has the model",
        "command, again": "the command",
        "command, a tiny model": "the command on a tiny model",
    }
    rows = []
    for name, told in names.items():
        line = found[name]
        taken = line["growth_bytes" if name == "call" else "peak_bytes"]
        rows.append([told, seconds(line["seconds"]), f"{taken / tensor:.1f}"])
    return markdown(["", "CPU seconds", "memory / the embedding's"], rows)


def compressed() -> str:
    rows = [
        [
            line["variant"],
            f"{100 * line['saved']:.1f}%",
            seconds(line["seconds"]),
            f"{line['time_1']:.2f}",
            f"{line['time_32']:.2f}",
            f"{line['cosine']:.3f}",
        ]
        for line in results("nn")["models"]
    ]
    head = ["what", "parameters saved", "CPU seconds to compress", "time, batch 1"]
    return markdown([*head, "time, batch 32", "cosine"], rows)


def factored_layers() -> str:
    shapes: dict[tuple[int, int], list[str]] = {}
    for line in results("nn")["layers"]:
        slower = " (slower)" if line["time_32"] > 1.0 else ""
        shape = (line["in"], line["out"])
        shapes.setdefault(shape, []).append(f"{line['time_32']:.2f}{slower}")
    rows = [[f"{d} x {n}", *cells] for (d, n), cells in shapes.items()]
    return markdown(["in x out", "half the parameters", "half the rank"], rows)


def regressions() -> str:
    rows = [
        [
            line["data"],
            f"{line['p']:g}",
            seconds(line["seconds"]),
            f"{1e6 * line['seconds'] / line['problems']:.0f}",
            f"{line['largest_gap']:.0e}",
        ]
        for line in results("entries")["regressions"]
    ]
    return markdown(["right sides", "p", "seconds", "µs a problem", "largest gap"], rows)


def against_pca() -> str:
    rows = []
    shown = ""
    for line in averages(results("estimator")["results"]):
        name = f"{line['data']}, k = {line['k']}"
        rows.append(
            [
                "" if name == shown else name,
                f"{line['length']:g}x" if line["length"] else "none",
                *larger(*(f"{100 * line['accuracy'][m]:.1f}" for m in ("pca", "lppca"))),
                *larger(*(f"{line['variance_kept'][m]:.3f}" for m in ("pca", "lppca"))),
                f"{line['cost_ratio']:.3f}",
                f"{line['ratio']:.3f}",
            ]
        )
        shown = name
    head = ["rows", "bad rows", "accuracy, PCA", "accuracy, LpPCA", "variance kept, PCA"]
    head += ["variance kept, LpPCA", "PCA's cost / LpPCA's", "largest certified ratio"]
    return markdown(head, rows)


def larger(a: str, b: str) -> tuple[str, str]:
    """Two figures, the larger one bold; neither where the digits shown are the same."""
    x, y = float(a), float(b)
    return f"**{a}**" if x > y else a, f"**{b}**" if y > x else b


def estimator_times() -> str:
    groups: dict[str, list[dict[str, Any]]] = {}
    for line in averages(results("estimator")["results"]):
        groups.setdefault(f"{line['data']}, k = {line['k']}", []).append(line)
    rows = []
    for name, lines in groups.items():
        cells = [name]
        for method in ("pca", "lppca", "irls"):
            times = [line["seconds"][method] for line in lines]
            cells.append(f"{seconds(min(times))} to {seconds(max(times))}")
        same, fits = (sum(line[key] for line in lines) for key in ("irls_same", "splits"))
        highest = max(line["irls_excess"] for line in lines)
        rows.append([*cells, f"{same} of {fits}", f"{100 * highest:.2f}%"])
    head = ["rows", "PCA", "LpPCA", "irls, no bounds", "same cost", "highest excess"]
    return markdown(head, rows)


def machines() -> str:
    names = sorted(p.stem for p in report.RESULTS.glob("*.json") if p.stem in USED)
    rows = []
    for name in names:
        told = results(name)["machine"]
        versions = told["versions"]
        rows.append(
            [
                f"[{name}](../benchmarks/results/{name}.json)",
                f"{told['cpu']}, {told['cores_usable']} cores, {told['memory_GiB']:g} GiB",
                f"Python {told['python']}, NumPy {versions['numpy']}, numba {versions['numba']}",
                f"{told['time'][:10]}, {told['commit'] or '-'}",
            ]
        )
    return markdown(["results", "machine", "versions", "date, commit"], rows)


TRIED = {
    "genuine": "genuine certificates, refused",
    "bounds": "bounds beside optima, above",
    "forgeries": "forgeries, accepted",
}


def tried() -> str:
    found = results("robustness")
    rows = []
    for name, text in ((x, y) for x, y in TRIED.items() if x in found["found"]):
        minutes = f"{found['seconds'][name] / 60:.0f}"
        count, faults = f"{found['done'][name]:,}", str(wrong(found["found"][name]))
        rows.append([text, count, faults, minutes, ", ".join(found["commits"][name])])
    return markdown(["what", "tried", "wrong", "minutes", "commit"], rows)


def largest() -> str:
    found = results("robustness")["found"]
    rows = [
        [name, f"{line['bounds']:,}", f"{line['largest']:.1e}"]
        for name, line in found["bounds"]["by_family"].items()
    ]
    return markdown(["family", "bounds", "largest bound / optimum - 1"], rows)


def forged() -> str:
    """No number where nothing is proved that a search could climb."""
    rows = [
        [name, f"{line['tries']:,}", str(line["passed"]), _reached(line["largest"])]
        for name, line in sorted(results("robustness")["found"]["forgeries"].items())
    ]
    return markdown(["family", "tries", "passed", "largest proved / optimum - 1"], rows)


def _reached(value: float) -> str:
    return "-" if value <= -1.0 else f"{value:.1e}"


USED = ("certificates", "compare", "ellipsoids", "entries", "nn", "outofcore", "scaling")
Tables = dict[str, Callable[[], str]]
TABLES: Tables = {
    "solve": solve,
    "heuristics": heuristics,
    "ellipsoids": ellipsoids,
    "memory": memory,
    "dask": dask,
    "models": models,
    "regressions": regressions,
    "machines": machines,
}
PAGES: dict[Path, Tables] = {
    PAGE: TABLES,
    DOCS / "compress.md": {
        "compressing": compressing,
        "models": compressed,
        "layers": factored_layers,
        "look-ups": coded.look_ups,
    },
    DOCS / "quantised.md": {
        "words": coded.word_vectors,
        "large tables": coded.large_tables,
    },
    DOCS / "theory" / "quantised.md": {"entropies": coded.entropies},
    DOCS / "robustness.md": {"tried": tried, "largest": largest, "forged": forged},
    DOCS / "outliers.md": {
        "outliers": outliers.page_table,
        "clean": outliers.clean_page_table,
        "breakdown": breakdown.angles,
        "seconds": breakdown.times,
        "shapes": breakdown.further_shapes,
    },
    DOCS / "scikit-learn.md": {
        "against PCA": against_pca,
        "times": estimator_times,
        "planted ranks": components.planted_ranks,
        "known ranks": components.known_ranks,
    },
}


def filled(page: str, tables: Tables = TABLES) -> str:
    """The page with the tables between its markers made anew.

    Raises
    ------
    ValueError
        A marker that is none of `tables`.
    """

    def made(match: re.Match[str]) -> str:
        if match[2] not in tables:
            raise ValueError(f"there is no table {match[2]!r}; known: {sorted(tables)}")
        return f"{match[1]}\n{tables[match[2]]()}\n\n{match[3]}"

    return MARKED.sub(made, page)


def main() -> None:
    for path, tables in PAGES.items():
        text = filled(path.read_text(encoding="utf-8"), tables)
        write_atomically(path, lambda file, text=text: file.write(text.encode()))  # type: ignore[misc]
        print(f"written to {path}")


if __name__ == "__main__":
    main()
