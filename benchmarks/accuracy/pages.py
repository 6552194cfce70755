"""Pages whose tables and pictures are made from the result lines alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from lpgeom.io.atomic import write_atomically

from .. import performance
from . import summary, sums
from .store import Store

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "docs" / "accuracy.md", ROOT / "docs" / "which.md", ROOT / "README.md")
PICTURES = ROOT / "docs" / "images"


def tables(store: Store, by_bytes: Store) -> dict[str, Callable[[], str]]:
    """The generated parts of the pages, by the names in their markers."""
    results = summary.Results(store.lines.values())
    found: dict[str, Callable[[], str]] = {
        "base": partial(summary.base_table, results),
        "goals": partial(summary.goals_table, results),
        **sums.tables(list(by_bytes.lines.values())),
    }
    for model in results.models():
        found[f"drops {model}"] = partial(summary.drops_table, results, model)
        for kind, scope in (("methods", "embeddings"), ("linear", "linear"), ("whole", "all")):
            for ratio in results.ratios(scope):
                found[f"{kind} {model} {ratio:g}"] = partial(
                    summary.methods_table, results, model, ratio, scope
                )
    return found


def write(store: Store, by_bytes: Store) -> None:
    """Fill the pages and draw the pictures."""
    from lpgeom import plots

    known = tables(store, by_bytes)
    for page in PAGES:
        text = performance.filled(page.read_text(encoding="utf-8"), known)
        write_atomically(page, lambda file, text=text: file.write(text.encode()))  # type: ignore[misc]
    results, lines = summary.Results(store.lines.values()), list(by_bytes.lines.values())
    for model in results.models():
        plots.save(summary.picture(results, model), PICTURES / f"accuracy-{model}.png")
    for model in sorted({line["model"] for line in lines if line["method"] != "none"}):
        plots.save(sums.picture(lines, model), PICTURES / f"bytes-{model}.png")
