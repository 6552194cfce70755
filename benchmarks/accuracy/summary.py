"""Tables and pictures of accuracy against parameters, from the result lines alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import report
from . import methods, tasks
from .encoders import TITLES as MODELS
from .scores import mean_and_error, unpacked
from .store import Line

LINES = report.RESULTS / "accuracy.jsonl"


class Results:
    """Lines by model, task, method and ratio."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self.lines = {(q["model"], q["task"], q["method"], q["ratio"]): q for q in lines}

    def get(self, model: str, task: str, method: str, ratio: float) -> Line | None:
        return self.lines.get((model, task, method, ratio))

    def of(self, model: str, method: str, ratio: float, names: Sequence[str]) -> list[Line] | None:
        """A line for every task in `names`, or None if one is missing."""
        found = [self.get(model, task, method, ratio) for task in names]
        return None if any(q is None for q in found) else [q for q in found if q is not None]

    def models(self) -> list[str]:
        return [m for m in MODELS if any(key[0] == m for key in self.lines)]

    def tasks(self, model: str, names: Sequence[str]) -> list[str]:
        """Those of `names` that the model was run on."""
        return [t for t in names if self.get(model, t, "none", 0.0) is not None]

    def ratios(self, scope: str = "embeddings") -> list[float]:
        return sorted({key[3] for key, q in self.lines.items() if q.get("scope") == scope})

    def lost(self, line: Line) -> NDArray[np.float64]:
        """Points lost at each text, the mean over the seeds' heads."""
        base = self.get(line["model"], line["task"], "none", 0.0)
        assert base is not None
        n = line["texts"]
        was = np.array([unpacked(text, n) for text in base["correct"]], dtype=np.float64)
        now = np.array([unpacked(text, n) for text in line["correct"]], dtype=np.float64)
        return np.asarray(100.0 * (was - now).mean(axis=0))


def mean_over_tasks(lines: Sequence[Line], name: str) -> tuple[float, float]:
    """Mean of a score over lines, and its standard error.

    Lines on the same texts (of two models, or two tasks of one corpus) are taken to err together,
    which is the worst case; corpora are independent.
    """
    errors: dict[str, float] = {}
    for i, line in enumerate(lines):
        task = line.get("task", f"line {i}")
        corpus = tasks.TASKS[task][0] if task in tasks.TASKS else task
        errors[corpus] = errors.get(corpus, 0.0) + line[f"{name}_se"]
    total = float(np.sqrt(np.square(list(errors.values())).sum()))
    return float(np.mean([line[name] for line in lines])), total / len(lines)


def excess(results: Results, ours: Line, theirs: Line) -> tuple[float, float]:
    """``drop - half of the other's drop`` and its standard error, paired text by text."""
    return mean_and_error(results.lost(ours) - 0.5 * results.lost(theirs))


# ---------------------------------------------------------------- tables


def base_table(results: Results) -> str:
    """Accuracy without compression."""
    names = [*tasks.MAIN, *(t for t in tasks.RARE if t not in tasks.MAIN)]
    rows = []
    for name in names:
        row = [tasks.TITLES[name]]
        for model in results.models():
            line = results.get(model, name, "none", 0.0)
            row.append("-" if line is None else f"{line['accuracy']:.1f}")
        any_line = next(
            (q for m in results.models() if (q := results.get(m, name, "none", 0.0))), None
        )
        row.append("-" if any_line is None else f"{any_line['texts']} / {any_line['train_size']}")
        rows.append(row)
    return markdown(["task", *(MODELS[m] for m in results.models()), "texts test / train"], rows)


def drops_table(results: Results, model: str) -> str:
    """Points lost by the SVD and by the default, task by task."""
    ratios = results.ratios()
    names = results.tasks(model, [*tasks.MAIN, *(t for t in tasks.RARE if t not in tasks.MAIN)])
    rows = []
    for task in names:
        for method in ("svd", "default"):
            row = [tasks.TITLES[task] if method == "svd" else "", methods.METHODS[method].title]
            for ratio in ratios:
                line = results.get(model, task, method, ratio)
                row.append("-" if line is None else f"{line['drop']:.1f} ± {line['drop_se']:.1f}")
            rows.append(row)
    for method in ("svd", "default"):
        row = ["**mean of the five main tasks**" if method == "svd" else ""]
        row.append(methods.METHODS[method].title)
        for ratio in ratios:
            lines = results.of(model, method, ratio, tasks.MAIN)
            row.append("-" if lines is None else _plus_minus(lines, "drop"))
        rows.append(row)
    return markdown(["task", "method", *(f"{r:.0%}" for r in ratios)], rows)


def methods_table(
    results: Results, model: str, ratio: float, scope: str | None = None, names: Any = tasks.MAIN
) -> str:
    """Every method at one ratio: means over tasks, the best agreement first."""
    found = []
    for method in methods.METHODS.values():
        lines = results.of(model, method.name, ratio, names)
        if scope in (None, method.scope) and lines is not None:
            found.append((method, lines))
    found.sort(key=lambda pair: -mean_over_tasks(pair[1], "agreement")[0])
    rows = [
        [
            method.title,
            f"`{method.name}`",
            _plus_minus(lines, "drop"),
            _plus_minus(lines, "agreement"),
            f"{mean_over_tasks(lines, 'kl')[0]:.3f}",
            f"{np.mean([line['cosine'] for line in lines]):.3f}",
        ]
        for method, lines in found
    ]
    return markdown(["method", "name", "points lost", "agreement %", "KL", "cosine"], rows)


def pairs_at(results: Results, ratio: float) -> list[tuple[Line, Line]]:
    """Default and SVD on every model and main task."""
    pairs = []
    for model in results.models():
        for task in results.tasks(model, tasks.MAIN):
            ours = results.get(model, task, "default", ratio)
            theirs = results.get(model, task, "svd", ratio)
            if ours is not None and theirs is not None:
                pairs.append((ours, theirs))
    return pairs


def goals_table(results: Results) -> str:
    """The default's mean drop over models and main tasks, and where it is above half the SVD's."""
    rows = []
    for ratio in results.ratios():
        pairs = pairs_at(results, ratio)
        if not pairs:
            continue
        over = [
            f"{MODELS[a['model']]} {a['task']}"
            for a, b in pairs
            if (e := excess(results, a, b))[0] > 2.0 * e[1]
        ]
        rows.append(
            [
                f"{ratio:.0%}",
                _plus_minus([b for _, b in pairs], "drop"),
                _plus_minus([a for a, _ in pairs], "drop"),
                f"{len(pairs)}",
                ", ".join(over) or "none",
            ]
        )
    head = ["removed", "SVD", "default", "models x tasks", "above half the SVD's by two errors"]
    return markdown(head, rows)


def _plus_minus(lines: Sequence[Line], name: str) -> str:
    value, error = mean_over_tasks(lines, name)
    return f"{value:.2f} ± {error:.2f}"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    text = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    text += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(text)


# ---------------------------------------------------------------- pictures


def picture(results: Results, model: str, scope: str = "embeddings") -> Any:
    """Points lost and disagreement against what is removed, methods that were run throughout."""
    from lpgeom.plots.style import COLOURS, new_figure

    figure = new_figure(9.0, 3.8, layout="constrained")
    left, right = figure.subplots(1, 2)
    drawn = []
    for method in methods.METHODS.values():
        found = {r: results.of(model, method.name, r, tasks.MAIN) for r in results.ratios(scope)}
        everywhere = {r: lines for r, lines in found.items() if lines is not None}
        if method.scope == scope and len(everywhere) >= 4:
            drawn.append((method, everywhere))
    for (method, got), colour in zip(drawn, cycle(COLOURS), strict=False):
        bold = method.name in ("default", "svd")
        style = {"color": colour, "lw": 2.2 if bold else 1.1, "marker": "o", "ms": 3.5}
        removed = [0.0, *got]
        drops = [mean_over_tasks(lines, "drop") for lines in got.values()]
        left.errorbar(
            removed, [0.0, *(v for v, _ in drops)], yerr=[0.0, *(e for _, e in drops)],
            label=method.title, elinewidth=0.8, **style,
        )  # fmt: skip
        agreements = [mean_over_tasks(lines, "agreement")[0] for lines in got.values()]
        right.plot(removed, [100.0, *agreements], **style)
    left.set(xlabel="share of the embedding removed", ylabel="points of accuracy lost")
    right.set(xlabel="share of the embedding removed", ylabel="same predictions, %")
    left.axhline(0.0, color="0.7", lw=0.8, zorder=0)
    left.legend(frameon=False, fontsize=8)
    figure.suptitle(f"{MODELS[model]}: mean of five tasks", fontsize=10)
    return figure
