"""What is compared: options of `lpgeom.nn.compress`, by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .encoders import Encoder


@dataclass(frozen=True)
class Method:
    """Options of `compress`, and what the layers are.

    Attributes
    ----------
    name, title : str
    options : dict
    weights : {"", "w", "r", "t", "p"}
        Of tokens: none; "frequency" as `compress` has it; the roots of `token_weights`; whatever
        `compress` does with the tokenizer; and without it.
    scope : {"embeddings", "linear", "all"}
        What loses a share `ratio`: the word embedding, the linear layers, or all parameters of the
        model, out of both.
    calibrated : bool
        Linear layers see their inputs on unlabelled texts of no task in the tables.
    """

    name: str
    title: str
    options: dict[str, Any] = field(default_factory=dict)
    weights: str = ""
    scope: str = "embeddings"
    calibrated: bool = False

    def shares(self, asked: dict[str, Any]) -> Sequence[float]:
        """What it is told, of what was asked for."""
        return list(asked["ratios"])

    def applied(
        self, encoder: Encoder, ratio: float, calibration: Sequence[str]
    ) -> tuple[Encoder, dict[str, Any]]:
        """The encoder with `ratio` of its embedding, or of its whole model, removed."""
        from lpgeom import nn

        smaller = encoder.copy()
        options = dict(self.options)
        if self.scope == "all":
            # `compress` counts a ratio in the parameters of the layers it may touch.
            plan = nn.compress(smaller.model, ratio=0.5, layers="all", subspaces=1, dry_run=True)
            touched = sum(
                layer.parameters_before for layer in plan.layers if layer.rank is not None
            )
            options["ratio"] = ratio * plan.parameters_before / touched
        else:
            options["ratio"] = ratio
        if self.weights == "":
            options["row_weights"] = None
        elif self.weights == "w":
            options["row_weights"] = "frequency"
        elif self.weights == "t":
            options["tokenizer"] = encoder.tokenizer
        elif self.weights == "r":
            table = smaller.model.get_input_embeddings()
            weights = nn.token_weights(encoder.tokenizer, n=table.num_embeddings) ** 0.5
            name = next(n for n, module in smaller.model.named_modules() if module is table)
            options["row_weights"] = {name: weights}
        if self.calibrated:
            options["calibration"] = [batch for _, batch in encoder.batches(calibration)]
        report = nn.compress(smaller.model, progress=False, **options)
        selected = [layer for layer in report.layers if layer.rank is not None]
        before = sum(layer.parameters_before for layer in selected)
        line: dict[str, Any] = {
            "scope": self.scope,
            "options": report.options,
            "removed": report.parameters_before - report.parameters_after,
            "share_of_layers": 1.0 - sum(q.parameters_after for q in selected) / before,
            "share_of_model": report.saved,
            "compress_seconds": report.seconds,
        }
        if self.scope == "embeddings":
            (layer,) = selected
            line |= {
                "rank": layer.rank,
                "subspaces": layer.subspaces,
                "norm_error": layer.error,
                "certified_ratio": layer.ratio,
            }
        return smaller, line


ONE = {"subspaces": 1, "ranks": "equal"}
MIXED = {"subspaces": 8, "ranks": "mixed"}
SUFFIX = {"": "", "w": ", weights", "r": ", root weights"}


def _weighted(
    name: str, title: str, options: dict[str, Any], weights: str = "", **rest: Any
) -> list[Method]:
    """The method without weights, and with each kind of them in `weights`."""
    return [
        Method(f"{name}+{w}" if w else name, title + SUFFIX[w], options, w, **rest)
        for w in ("", *weights)
    ]


def _embeddings() -> list[Method]:
    # p = 2 with one subspace is the SVD, with weights FWSVD's idea; equal ranks are MESSI's.
    found = _weighted("svd", "SVD", {"p": 2.0, **ONE}, "wr")
    for p in (1.0, 1.25, 1.5, 1.75):
        found += _weighted(f"rows-{p:g}", f"rows, p = {p:g}", {"p": p, **ONE}, "w")
    for p in (1.0, 1.5):
        options: dict[str, Any] = {"p": p, "objective": "entries", **ONE}
        found += _weighted(f"entries-{p:g}", f"entries, p = {p:g}", options, "w")
    for j in (4, 16):
        for p in (2.0, 1.0):
            options = {"p": p, "subspaces": j, "ranks": "equal"}
            weights = "wr" if p == 2.0 else "w"
            found += _weighted(f"sub{j}-{p:g}", f"{j} subspaces, p = {p:g}", options, weights)
    for p in (2.0, 1.5, 1.0):
        options = {"p": p, **MIXED}
        found += _weighted(f"mix8-{p:g}", f"mixed ranks, p = {p:g}", options, "wr")
    return found


def _linear() -> list[Method]:
    """Linear layers alone, all alike."""
    return [
        Method(
            f"linear-{p:g}{'+x' if calibrated else ''}",
            f"linear layers, p = {p:g}{', inputs' if calibrated else ''}",
            {"layers": "linear", "p": p, **ONE},
            scope="linear",
            calibrated=calibrated,
        )
        for p in (2.0, 1.75, 1.5, 1.25, 1.0)
        for calibrated in (False, True)
    ]


def _everything() -> list[Method]:
    """Of all parameters of a model: embeddings and linear layers."""
    found = []
    for name, title, more in (
        ("all", "every layer alike", ONE),
        ("budget", "one budget", {**ONE, "allocate": "global"}),
        ("mixed", "mixed ranks, one budget", {**MIXED, "allocate": "global"}),
    ):
        for p in (2.0, 1.0):
            options = {"layers": "all", "p": p, **more}
            for calibrated in (False, True):
                found += _weighted(
                    f"{name}-{p:g}{'+x' if calibrated else ''}",
                    f"{title}, p = {p:g}{', inputs' if calibrated else ''}",
                    options, "r", scope="all", calibrated=calibrated,
                )  # fmt: skip
    return found


DEFAULT = Method("default", "default", weights="t")
PLACE = Method("default-place", "default without a tokenizer", weights="p")
EMBEDDINGS = {m.name: m for m in (*_embeddings(), DEFAULT, PLACE) if m.name != "mix8-2+r"}
METHODS = {**EMBEDDINGS, **{m.name: m for m in (*_linear(), *_everything())}}
