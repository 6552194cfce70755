"""Models with a head for a task: any that AutoModelForSequenceClassification knows."""

from __future__ import annotations

import copy
import hashlib
import inspect
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lpgeom.datasets import MissingData
from lpgeom.io.checksum import sha256_of

from .tasks import Row, Task

PRESETS = {
    "bert": "bert-base-uncased",
    "distilbert": "distilbert-base-uncased",
    "xlnet": "xlnet-base-cased",
    "roberta": "roberta-base",
}
"""The paper's four models, by a short name."""

TOKENS = {"cpu": 2048, "cuda": 16384}
"""Tokens of a batch without gradients, padding included."""

BLOCK = 4096
"""Texts tokenised at a time."""

Tokens = tuple[NDArray[np.int32], NDArray[np.int32] | None]
"""A text's tokens, and the types of them (first or second text) if the model wants those."""


@dataclass(frozen=True)
class Source:
    """A model on the hub or in a folder, and what tells its files from others."""

    name: str
    place: str
    digest: str

    @classmethod
    def of(cls, model: str | Path) -> Source:
        """A preset's, a hub's name or a folder.

        Raises
        ------
        MissingData
            There is no such model, or it cannot be fetched.
        """
        place = PRESETS.get(str(model), str(model))
        if os.path.isdir(place):
            folder = Path(place).resolve()
            if not (folder / "config.json").exists():
                raise MissingData(f"{folder} is no model's folder: it has no config.json")
            return cls(folder.name, str(folder), _digest(folder))
        config = _load("AutoConfig", place)
        return cls(place, place, getattr(config, "_commit_hash", None) or "unknown")

    def tokenizer(self) -> Any:
        """The model's tokenizer."""
        return _load("AutoTokenizer", self.place)

    def model(self, **options: Any) -> Any:
        """The model with a head, in float32 and in evaluation mode."""
        model = _load("AutoModelForSequenceClassification", self.place, **options)
        return model.float().eval()


def _load(kind: str, place: str, **options: Any) -> Any:
    import transformers

    try:
        return getattr(transformers, kind).from_pretrained(place, **options)
    except (OSError, ValueError, ImportError) as error:
        told = str(error).strip().splitlines() or [type(error).__name__]
        raise MissingData(
            f"{kind} cannot be had of {place!r}: {told[0]} (--model is a name on the hub, "
            f"a folder, or one of {', '.join(PRESETS)})"
        ) from error


def _digest(folder: Path) -> str:
    """Of the files that make the model and its tokenizer what they are."""
    found = hashlib.sha256()
    kinds = (".json", ".safetensors", ".bin", ".txt", ".model")
    for path in sorted(folder.iterdir()):
        if path.suffix in kinds and path.is_file():
            found.update(f"{path.name} {sha256_of(path)}\n".encode())
    return found.hexdigest()[:12]


class Classifier:
    """A model with a head for a task, and its tokenizer.

    Attributes
    ----------
    name : str
    model, tokenizer
    task : Task
    length : int
        Tokens read of a text, or of a pair.
    order : list of int
        Where in the model's output each class of the task is.
    """

    def __init__(
        self, name: str, model: Any, tokenizer: Any, task: Task, length: int, order: list[int]
    ) -> None:
        self.name, self.model, self.tokenizer = name, model, tokenizer
        self.task, self.length, self.order = task, length, order

    @property
    def device(self) -> Any:
        """Where the model is."""
        return next(self.model.parameters()).device

    def copy(self) -> Classifier:
        """With a model of its own on the CPU, to be compressed."""
        model = copy.deepcopy(self.model).cpu()
        return Classifier(self.name, model, self.tokenizer, self.task, self.length, self.order)

    def tokens(self, rows: Sequence[Row]) -> list[Tokens]:
        """The tokens of each text."""
        typed = self._typed()
        longest = min(self.length, self.tokenizer.model_max_length)
        found: list[Tokens] = []
        for lo in range(0, len(rows), BLOCK):
            block = rows[lo : lo + BLOCK]
            pairs = [row.pair for row in block] if block[0].pair is not None else None
            got = self.tokenizer(
                [row.text for row in block], pairs, truncation=True, max_length=longest,
                return_token_type_ids=typed,
            )  # fmt: skip
            types = got["token_type_ids"] if typed else [None] * len(block)
            for ids, kinds in zip(got["input_ids"], types, strict=True):
                first = np.asarray(ids, np.int32)
                found.append((first, None if kinds is None else np.asarray(kinds, np.int32)))
        return found

    def _typed(self) -> bool:
        """Whether the model tells a pair's texts apart by types, and the tokenizer gives them."""
        return (
            "token_type_ids" in self.tokenizer.model_input_names
            and "token_type_ids" in inspect.signature(self.model.forward).parameters
            and getattr(self.model.config, "type_vocab_size", 2) > 1
        )

    def padded(self, items: Sequence[Tokens]) -> dict[str, Any]:
        """The model's inputs for some texts, padded to the longest on the tokenizer's side."""
        import torch

        shape = len(items), max(len(ids) for ids, _ in items)
        padding = self.tokenizer.pad_token_id
        if padding is None:
            raise MissingData(f"the tokenizer of {self.name} has no padding token")
        ids = np.full(shape, padding, np.int64)
        mask = np.zeros(shape, np.int64)
        types = np.full(shape, getattr(self.tokenizer, "pad_token_type_id", 0), np.int64)
        for i, (tokens, kinds) in enumerate(items):
            left = self.tokenizer.padding_side == "left"
            at = slice(shape[1] - len(tokens), None) if left else slice(len(tokens))
            ids[i, at], mask[i, at] = tokens, 1
            if kinds is not None:
                types[i, at] = kinds
        inputs = {"input_ids": ids, "attention_mask": mask}
        if items[0][1] is not None:
            inputs["token_type_ids"] = types
        return {name: torch.from_numpy(value).to(self.device) for name, value in inputs.items()}

    def batches(self, rows: Sequence[Row]) -> Iterator[tuple[NDArray[np.intp], dict[str, Any]]]:
        """Texts of similar length together: (their places, the model's inputs)."""
        items = self.tokens(rows)
        order = np.argsort([-len(ids) for ids, _ in items], kind="stable")
        room = TOKENS.get(self.device.type, TOKENS["cpu"])
        lo = 0
        while lo < len(order):
            index = order[lo : lo + max(1, room // len(items[order[lo]][0]))]
            yield index, self.padded([items[i] for i in index])
            lo += len(index)

    def outputs(self, rows: Sequence[Row]) -> NDArray[np.float64]:
        """Log-probabilities (texts, classes) in the task's order, or the numbers (texts,).

        Raises
        ------
        FloatingPointError
            The model says something that is not finite.
        """
        import torch

        found = np.empty((len(rows), self.task.outputs))
        with torch.inference_mode():
            for index, inputs in self.batches(rows):
                logits = self.model(**inputs).logits.double()
                if self.task.labels:
                    logits = torch.log_softmax(logits[:, self.order], dim=1)
                found[index] = logits.cpu().numpy()
        if not np.isfinite(found).all():
            raise FloatingPointError(f"{self.name} on {self.task.title}: outputs are not finite")
        return found if self.task.labels else found[:, 0]


def fresh(source: Source, task: Task, length: int, seed: int) -> Classifier:
    """The model with a new head, drawn by the seed."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = source.model(num_labels=task.outputs)
    return Classifier(
        source.name, model, source.tokenizer(), task, length, list(range(task.outputs))
    )


def tuned(source: Source, name: str, task: Task, length: int) -> Classifier:
    """A model that has been fine-tuned for the task already.

    Raises
    ------
    MissingData
        Its head is for another number of classes, or for classes of other names.
    """
    model = source.model()
    if model.config.num_labels != task.outputs:
        raise MissingData(
            f"--checkpoint {source.place} has {model.config.num_labels} outputs, "
            f"{task.title} needs {task.outputs}"
        )
    order = class_order(task, model.config.id2label) if task.labels else [0]
    return Classifier(name, model, source.tokenizer(), task, length, order)


def class_order(task: Task, names: dict[int, str]) -> list[int]:
    """Where in the output of a model with classes of these names each class of the task is.

    Names like LABEL_1 stand for their number.

    Examples
    --------
    >>> from benchmarks.glue.tasks import TASKS
    >>> class_order(TASKS["mnli"], {0: "CONTRADICTION", 1: "NEUTRAL", 2: "ENTAILMENT"})
    [2, 1, 0]
    >>> class_order(TASKS["sst2"], {0: "LABEL_0", 1: "LABEL_1"})
    [0, 1]
    """
    places: dict[int, int] = {}
    for place, name in names.items():
        plain = re.sub(r"[\s-]+", "_", re.sub(r"^LABEL_", "", str(name))).lower()
        found = task.class_of(plain)
        if found is not None:
            places[found] = int(place)
    if len(places) != len(task.labels):
        raise MissingData(
            f"the checkpoint's classes are {', '.join(map(str, names.values()))}; "
            f"{task.title} has {', '.join(task.labels)}"
        )
    return [places[i] for i in range(len(task.labels))]
