"""The table at the end of a run, and what the paper says of the same setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .. import report
from ..accuracy.methods import METHODS
from ..accuracy.store import Key, Line
from ..accuracy.summary import mean_over_tasks
from .classifiers import PRESETS
from .tasks import TASKS

PAPER = "arXiv 2009.05647"
CLAIM = ("roberta-base", 0.28, {"l_p factors": 0.63, "SVD": 11.0})
"""Model, share of its embedding removed, points lost in the mean over GLUE's tasks."""

Lines = Mapping[Key, Line]


def table(
    lines: Lines, model: str, names: Sequence[str], methods: Sequence[str], ratios: Sequence[float]
) -> str:
    """Scores without compression, then points lost: by task, and in the mean over the tasks."""
    mean = len(names) > 1
    columns = ["method", "removed", *(TASKS[t].title for t in names), *(["mean"] if mean else [])]
    columns.append("agreement %")
    wanted = [("none", 0.0), *((method, ratio) for ratio in ratios for method in methods)]
    rows = []
    for method, ratio in wanted:
        got = {t: lines.get((model, t, method, ratio)) for t in names}
        if all(line is None for line in got.values()):
            continue
        found = [line for line in got.values() if line is not None]
        whole = len(found) == len(names)
        bare = method == "none"
        row = ["score before" if bare else METHODS[method].title, "-" if bare else f"{ratio:.0%}"]
        if bare:
            row += ["-" if q is None else f"{q['score']:.1f}" for q in got.values()]
            row += [f"{sum(q['score'] for q in found) / len(found):.1f}" if whole else "-"] * mean
        else:
            row += [
                "-" if q is None else f"{q['drop']:.2f} ± {q['drop_se']:.2f}" for q in got.values()
            ]
            row += ["{:.2f} ± {:.2f}".format(*mean_over_tasks(found, "drop")) if whole else "-"] * (
                mean
            )
        same = [q["agreement"] for q in found if "agreement" in q]
        row.append(f"{sum(same) / len(same):.1f}" if same and not bare else "-")
        rows.append(row)
    title = f"{model}: points of GLUE's scores lost, ± a standard error over the texts"
    return report.table(columns, rows, title)


def claim(
    lines: Lines, model: str, names: Sequence[str], methods: Sequence[str], ratios: Sequence[float]
) -> str:
    """What the paper's abstract says, and whether this run is of that setting."""
    whose, share, points = CLAIM
    said = ", ".join(f"{name} {value:g}" for name, value in points.items())
    text = (
        f"{PAPER} says for {whose}, {share:.0%} of the embedding removed, no fine-tuning after, "
        f"mean over GLUE's tasks, points lost: {said}."
    )
    differs = [
        what
        for what, same in (
            (f"model {model!r}", model.rsplit("/", 1)[-1] == PRESETS["roberta"]),
            (f"{len(names)} of the nine tasks", set(names) == set(TASKS)),
            (f"{share:.0%} not asked for", share in ratios),
        )
        if not same
    ]
    if differs:
        return f"{text} This run is of another setting: {', '.join(differs)}."
    here = []
    for method in methods:
        got = [line for t in names if (line := lines.get((model, t, method, share))) is not None]
        if len(got) == len(names) and METHODS[method].scope == "embeddings":
            here.append("{} {:.2f} ± {:.2f}".format(method, *mean_over_tasks(got, "drop")))
    return f"{text} Here: {', '.join(here) or 'no method has all tasks yet'}."
