"""Fine-tuning of a model on a task, in plain torch, and what it leaves in the cache folder."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from lpgeom.datasets import MissingData
from lpgeom.io.atomic import write_atomically

from .classifiers import Classifier, Source, fresh
from .data import digest
from .tasks import Row, Task

WARM_UP = 0.1
"""Share of the steps in which the learning rate grows from nothing; then it falls to nothing."""
DECAY = 0.01
"""Of weights; not of biases and of the layers' norms."""
CLIP = 1.0
"""Longest gradient."""


@dataclass(frozen=True)
class Recipe:
    """How a model is fine-tuned."""

    epochs: int = 3
    batch: int = 32
    lr: float = 2e-5
    length: int = 128


def fine_tune(classifier: Classifier, rows: Sequence[Row], recipe: Recipe, seed: int) -> None:
    """Fit all weights of a model to a task's texts, in place.

    AdamW, with a linear warm-up and decay, dropout, and clipped gradients; cross-entropy, or for
    numbers squared error. On one machine the same seed gives the same weights (on a GPU as far as
    its kernels add up in a fixed order).

    Raises
    ------
    FloatingPointError
        The loss is not finite.
    """
    import torch

    model, labelled = classifier.model, bool(classifier.task.labels)
    items = classifier.tokens(rows)
    labels = torch.tensor([row.label for row in rows])
    labels = labels.long() if labelled else labels.float()
    steps = recipe.epochs * -(-len(rows) // recipe.batch)
    grouped = [[q for q in model.parameters() if (q.ndim > 1) == matrix] for matrix in (1, 0)]
    optimizer = torch.optim.AdamW(
        [{"params": grouped[0], "weight_decay": DECAY},
         {"params": grouped[1], "weight_decay": 0.0}],
        lr=recipe.lr,
    )  # fmt: skip
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: slope(step, steps))
    bar = tqdm(total=steps, desc=f"{classifier.task.title}, seed {seed}", leave=False)
    with bar, torch.random.fork_rng():
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        model.train()
        try:
            for _ in range(recipe.epochs):
                order = rng.permutation(len(rows))
                for lo in range(0, len(rows), recipe.batch):
                    index = order[lo : lo + recipe.batch]
                    inputs = classifier.padded([items[i] for i in index])
                    wanted = labels[index].to(classifier.device)
                    logits = model(**inputs).logits
                    loss = (
                        torch.nn.functional.cross_entropy(logits, wanted)
                        if labelled
                        else torch.nn.functional.mse_loss(logits[:, 0], wanted)
                    )
                    if not torch.isfinite(loss):
                        raise FloatingPointError(
                            f"{classifier.name} on {classifier.task.title}: the loss is not "
                            f"finite after {bar.n} steps; try a smaller --lr"
                        )
                    optimizer.zero_grad()
                    loss.backward()
                    torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
                    optimizer.step()
                    schedule.step()
                    bar.update()
        finally:
            model.eval()


def slope(step: int, steps: int) -> float:
    """Factor of the learning rate at a step.

    Examples
    --------
    >>> [round(slope(step, 20), 2) for step in (0, 1, 2, 11, 19)]
    [0.5, 1.0, 1.0, 0.5, 0.06]
    """
    rising = max(1, round(WARM_UP * steps))
    if step < rising:
        return (step + 1) / rising
    return (steps - step) / max(1, steps - rising)


def trained(
    source: Source, task: Task, rows: Sequence[Row], recipe: Recipe, seed: int, cache: Path
) -> tuple[Classifier, float]:
    """A fine-tuned model and the seconds it took, out of the cache folder if it is there.

    What is there is found by the model's files, the texts, the recipe and the seed. A model that
    was not finished leaves nothing.
    """
    import torch
    from safetensors import safe_open
    from safetensors.torch import load_file, save

    about = {
        "model": source.digest, "place": source.place, "rows": digest(rows), "seed": seed,
        **asdict(recipe), "constants": [WARM_UP, DECAY, CLIP],
    }  # fmt: skip
    code = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:12]
    plain = re.sub(r"[^\w.-]+", "-", source.name)
    path = cache / "glue" / f"{plain}-{task.name}-{seed}-{code}.safetensors"
    classifier = fresh(source, task, recipe.length, seed)
    if path.exists():
        try:
            classifier.model.load_state_dict(load_file(path))
            with safe_open(path, "pt") as file:
                seconds = float(file.metadata()["seconds"])
        except Exception as error:
            raise MissingData(
                f"{path} cannot be read ({type(error).__name__}: {str(error)[:200]}); "
                "delete it to fine-tune again"
            ) from error
    else:
        started = time.perf_counter()
        classifier.model.to(device())
        fine_tune(classifier, rows, recipe, seed)
        seconds = time.perf_counter() - started
        # Copies: a file may not hold a tensor under two names.
        state: dict[str, Any] = {
            name: value.detach().to("cpu", copy=True).contiguous()
            for name, value in classifier.model.state_dict().items()
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        content = save(state, {"about": json.dumps(about), "seconds": f"{seconds:.6g}"})
        write_atomically(path, lambda file: file.write(content))
    classifier.model.to(torch.device(device()))
    return classifier, seconds


def device() -> str:
    """A GPU if torch can use one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
