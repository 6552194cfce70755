"""Tables and pictures of accuracy against bytes, from the result lines alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np

from .. import performance, report
from . import sized, tasks
from .encoders import TITLES
from .store import Line
from .summary import markdown, mean_over_tasks

LINES = report.RESULTS / "bytes.jsonl"
MEANS = {
    "minilm": ((*tasks.MAIN, "newsgroups"), ("sentences", "r8", "newsgroups")),
    "mpnet": (tasks.MAIN, ("sentences", "r8", "rotten")),
}
"""The tasks of the tables: many, and the three that whole models are measured on."""
SCOPES = {"embeddings": "the word embedding", "all": "all weights"}
TICKS = (2, 3, 5, 7, 10, 15, 25, 50, 80)
GRACE = 1.1
"""Another method may take this many times the bytes and still counts as one of that size."""

Group = tuple[float, str, list[Line]]


def groups(lines: Iterable[Line], model: str, scope: str, names: Sequence[str]) -> list[Group]:
    """(share of the bytes, method, its lines on all of these tasks), the most bytes first."""
    found: dict[Any, dict[str, Line]] = {}
    for line in lines:
        if line["model"] == model and line.get("scope") == scope:
            found.setdefault((line["method"], line["size"]), {})[line["task"]] = line
    whole = [
        (by_task[names[0]]["share"], method, [by_task[name] for name in names])
        for (method, _), by_task in found.items()
        if method in sized.SIZED and set(names) <= set(by_task)
    ]
    return sorted(whole, key=lambda group: (-group[0], group[1]))


def table(
    lines: Iterable[Line], model: str, scope: str, names: Sequence[str], families: Any = None
) -> str:
    """Every method that was run on all of these tasks; those of a size that is asked for bold."""
    rows = []
    for share, method, of_tasks in groups(lines, model, scope, names):
        if families and sized.SIZED[method].family not in families:
            continue
        cells = [
            f"{100 * share:.1f}%", f"{of_tasks[0]['bytes'] / 1e6:.2f}", sized.SIZED[method].title,
        ]  # fmt: skip
        for name, digits in (("drop", 2), ("agreement", 2), ("cosine", 4), ("kl", 4)):
            value, error = mean_over_tasks(of_tasks, name)
            cells.append(f"{value:.{digits}f} ± {error:.{digits}f}")
        rows.append([f"**{cell}**" for cell in cells] if sized.SIZED[method].asks else cells)
    return markdown(["bytes", "MB", "method", "points lost", "agreement %", "cosine", "KL"], rows)


def rivals(found: Sequence[Group]) -> list[tuple[Group, Group | None]]:
    """Ours of every size, and the other of no more bytes (by a tenth) that agrees most."""
    mine = [group for group in found if sized.SIZED[group[1]].asks]
    others = [group for group in found if not sized.SIZED[group[1]].asks]
    return [
        (
            group,
            max(
                (other for other in others if other[0] <= GRACE * group[0]),
                key=lambda other: mean_over_tasks(other[2], "agreement")[0],
                default=None,
            ),
        )
        for group in mine
    ]


def short(lines: Iterable[Line], model: str, scope: str, names: Sequence[str]) -> str:
    """Ours at every size beside the best of the others there."""
    rows = []
    for group, other in rivals(groups(lines, model, scope, names)):
        cells = [f"{100 * group[0]:.1f}%"]
        for _, method, of_tasks in (group, other) if other else (group,):
            if not sized.SIZED[method].asks:
                cells.append(f"{sized.SIZED[method].title} ({100 * of_tasks[0]['share']:.1f}%)")
            for name in ("drop", "agreement"):
                cells.append("{:.2f} ± {:.2f}".format(*mean_over_tasks(of_tasks, name)))
        rows.append(cells + ["-"] * (6 - len(cells)))
    scores = ["points lost", "agreement %"]
    return markdown(["bytes", *scores, "best of the others", *scores], rows)


def words_table() -> str:
    """Rank correlations of cosines in wordllama's table."""
    results = performance.results("words")
    rows = [
        [
            f"{100 * line['share']:.1f}%",
            line["method"],
            *(
                f"{np.mean(line[name]):.4f} ± {np.std(line[name], ddof=1):.4f}"
                for name in ("frequent", "all")
            ),
        ]
        for line in sorted(results["results"], key=lambda line: -line["share"])
    ]
    frequent = f"the {results['frequent']:,} most frequent tokens"
    return markdown(["bytes", "method", frequent, "all tokens"], rows)


def tables(lines: Sequence[Line]) -> dict[str, Callable[[], str]]:
    """By the names in the pages' markers."""
    found: dict[str, Callable[[], str]] = {"words": words_table}
    for model in {line["model"] for line in lines}:
        for scope in SCOPES:
            for kind, names in zip(("many", "three"), MEANS[model], strict=True):
                found[f"bytes {model} {scope} {kind}"] = partial(table, lines, model, scope, names)
                for family in (sized.NEAREST, sized.RANKS):
                    only = partial(table, lines, model, scope, names, (family,))
                    found[f"{family}: {model} {scope} {kind}"] = only
                found[f"sizes {model} {scope} {kind}"] = partial(short, lines, model, scope, names)
    return found


def picture(lines: Sequence[Line], model: str) -> Any:
    """Agreement against bytes, of the embedding alone and of the whole model."""
    from lpgeom.plots.style import COLOURS, MARKERS, finished, new_figure, titled

    found = {scope: groups(lines, model, scope, MEANS[model][1]) for scope in SCOPES}
    scopes = [scope for scope in SCOPES if found[scope]]
    figure = new_figure(9.0, 3.8, layout="constrained")
    looks: dict[str, tuple[str, str]] = {}
    panels = figure.subplots(1, len(scopes), squeeze=False)[0]
    for ax, scope in zip(panels, scopes, strict=True):
        drawn: dict[str, list[Group]] = {}
        for group in found[scope]:
            drawn.setdefault(sized.SIZED[group[1]].family, []).append(group)
        for family, points in drawn.items():
            scores = [mean_over_tasks(of_tasks, "agreement") for _, _, of_tasks in points]
            at = len(looks) % len(COLOURS)
            colour, marker = looks.setdefault(family, (COLOURS[at], MARKERS[at]))
            ax.errorbar(
                [100.0 * share for share, _, _ in points], [v for v, _ in scores],
                yerr=[e for _, e in scores], label=family, color=colour, marker=marker, ms=4,
                lw=2.0 if family == sized.OURS else 0.0, elinewidth=0.8,
            )  # fmt: skip
        ax.set_xscale("log")
        ax.set_xticks(TICKS, labels=[f"{tick:g}" for tick in TICKS], minor=False)
        ax.minorticks_off()
        ax.set(xlabel="bytes, % of float32's", ylabel="same predictions, %")
        titled(ax, f"{TITLES[model]}: {SCOPES[scope]}; mean of three tasks")
        finished(ax, fontsize=8, loc="lower right")
    return figure
