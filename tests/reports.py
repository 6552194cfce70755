"""Compression reports as they come from real models, without the models."""

from __future__ import annotations

from typing import Any

import numpy as np

from lpgeom.nn import CompressionReport, LayerReport


def layer(
    name: str,
    kind: str = "linear",
    shape: tuple[int, int] = (768, 768),
    rank: int | None = 200,
    *,
    error: float = 0.5,
    ratio: float = 1.02,
    p: float = 1.0,
    solved: bool = True,
    **more: Any,
) -> LayerReport:
    """A layer with a plausible error, certified within `ratio`, the SVD a little behind."""
    n, d = shape
    before = n * d
    if rank is None:
        return LayerReport(name, kind, shape, None, before, before, 4 * before, 4 * before, **more)
    after = n * rank + more.get("subspaces", 1) * rank * d
    size = 0.3 * before
    if solved:
        more = {
            "size": size,
            "cost": size * error**p,
            "lower_bound": size * (error / ratio) ** p,
            "svd_cost": size * (error * (1.0 + min(0.15, 0.8 * (ratio - 1.0)))) ** p,
            "method": "irls+relaxation",
            "seconds": 0.4 + before / 4e6,
            **more,
        }
    more.setdefault("spectrum", spectrum(min(n, d), 1.3 - 1.6 * error))
    return LayerReport(name, kind, shape, rank, before, after, 4 * before, 4 * after, p=p, **more)


def spectrum(length: int, decay: float) -> tuple[float, ...]:
    """Singular values as a trained weight has them: a few large, a slope, a fall."""
    i = np.arange(length)
    values = 40.0 * (1.0 + i) ** -decay * np.sqrt(1.0 - (i / (length + 1.0)) ** 2)
    return tuple(float(v) for v in values)


def report(*layers: LayerReport, rest: int = 0, **more: Any) -> CompressionReport:
    """Of a model that has these layers and `rest` more parameters."""
    before = rest + sum(x.parameters_before for x in layers)
    after = rest + sum(x.parameters_after for x in layers)
    options = {"ratio": 0.28, "p": 1.0, "objective": "rows", "layers": "embeddings", "seed": 0}
    given = {"options": options, "seconds": sum(x.seconds for x in layers), **more}
    model = given.pop("model", "BertModel")
    return CompressionReport(model, layers, before, after, 4 * before, 4 * after, **given)


def minilm(**more: Any) -> CompressionReport:
    """One layer: the word embedding of a small model."""
    embedding = layer(
        "embeddings.word_embeddings", "embedding", (30522, 384), 273, error=0.402, ratio=1.0071,
        solved=not more.get("dry_run", False), seconds=0.0 if more.get("dry_run") else 9.81,
    )  # fmt: skip
    return report(embedding, rest=10_992_384, **more)


def bert(**more: Any) -> CompressionReport:
    """Seventy-six weights: all linear layers and embeddings of a BERT-base."""
    solved = not more.get("dry_run", False)
    layers = [
        layer(
            "embeddings.word_embeddings", "embedding", (30522, 768), 540, error=0.38, ratio=1.006,
            tied=("cls.predictions.decoder",), solved=solved,
        ),
        layer(
            "embeddings.position_embeddings", "embedding", (512, 768), 150, error=0.21,
            solved=solved,
        ),
        layer(
            "embeddings.token_type_embeddings", "embedding", (2, 768), None,
            note="rank 1 is at or above the break-even rank 1",
        ),
    ]  # fmt: skip
    rng = np.random.default_rng(0)
    for i in range(12):
        for part, shape, base in (
            ("attention.self.query", (768, 768), 0.47),
            ("attention.self.key", (768, 768), 0.46),
            ("attention.self.value", (768, 768), 0.63),
            ("attention.output.dense", (768, 768), 0.61),
            ("intermediate.dense", (3072, 768), 0.58),
            ("output.dense", (768, 3072), 0.55),
        ):
            error = base + 0.09 * np.cos(i / 3.5) + 0.01 * rng.standard_normal()
            rank = 276 if shape == (768, 768) else 440
            ratio = 1.01 + 0.03 * rng.random()
            layers.append(
                layer(
                    f"encoder.layer.{i}.{part}",
                    "linear",
                    shape,
                    rank,
                    error=error,
                    ratio=ratio,
                    solved=solved,
                )
            )
    layers.append(layer("pooler.dense", error=0.66, solved=solved))
    return report(*layers, rest=121_344, **more)


def entries() -> CompressionReport:
    """Under the entrywise objective: certified, but within a factor of 16 only."""
    names = ("encoder.layer.0.intermediate.dense", "encoder.layer.0.output.dense")
    layers = [
        layer(
            name,
            shape=(1536, 384),
            rank=64,
            error=0.7 - 0.1 * i,
            ratio=16.2 - i,
            objective="entries",
        )
        for i, name in enumerate(names)
    ]
    return report(*layers, rest=20_000_000)


def untouched() -> CompressionReport:
    """Everything selected was left alone."""
    note = "rank 192 is at or above the break-even rank 192"
    layers = [layer(f"blocks.{i}.proj", shape=(384, 384), rank=None, note=note) for i in range(3)]
    return report(*layers, rest=1_000_000, model="TinyNet")


def nasty() -> CompressionReport:
    """Names that break out of HTML, of mathematics, of legends, and of the page's width."""
    names = (
        "<script>document.title='owned'</script>",
        'a" onmouseover="alert(1)\' & <b>bold</b>',
        "x" * 119 + "1",
        "encoder." + "very_long_component." * 5 + "weight",
        "层.注意力.输出.权重",
        "_hidden.$x^2_1$.cost",
        "\u202eevil\x00\ud800\x1b[31m",
        "Größe.λ.naïve.☃",
    )
    layers = [
        layer(name, error=0.4 + 0.03 * i, note=f"note of {name}") for i, name in enumerate(names)
    ]
    layers.append(layer("left <i>alone</i>", rank=None, note="<img src=x onerror=alert(1)>"))
    options = {"layers": "</style><script>alert(2)</script>", "exclude": ["<b>"], "seed": None}
    return report(*layers, rest=5, model="Net<script>", options=options)


def several() -> CompressionReport:
    """Several subspaces, bounds that hold with probability, activations, an uncertified layer."""
    layers = (
        layer(
            "embed", "embedding", (30522, 384), 64, subspaces=8, failure_probability=1e-3,
            error=0.31,
        ),
        layer(
            "head", "linear", (1000, 384), 100, metric="activations", p=2.0, ratio=1.0, error=0.2
        ),
        layer("conv", "conv1d", (768, 384), 100, lower_bound=None),
    )  # fmt: skip
    return report(*layers, rest=2_000_000)


EVERY = {
    "minilm": minilm,
    "bert": bert,
    "entries": entries,
    "untouched": untouched,
    "nasty": nasty,
    "several": several,
    "dry": lambda: minilm(dry_run=True),
    "dry bert": lambda: bert(dry_run=True),
    "empty": lambda: report(rest=1000),
}
