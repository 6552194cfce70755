"""GLUE's nine tasks: where their texts and labels are, and what they are scored by."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


class Row(NamedTuple):
    """A text, its second text if the task has pairs, and its label.

    The label is a class, or with STS-B a similarity from 0 to 5.
    """

    text: str
    pair: str | None
    label: float


class Part(NamedTuple):
    """A development set: the name of its file, and of its split in the library."""

    file: str
    split: str


@dataclass(frozen=True)
class Task:
    """What is known of a task.

    Attributes
    ----------
    name, title, folder : str
        In the library, for people, and in GLUE's own files.
    texts : tuple of str
        Columns of the files with the text, or the two texts.
    columns : tuple of str
        The same in the library, where the label's column is always "label".
    label : str
        The files' column of the label.
    labels : tuple of str
        Names of the classes in order. None of them: the label is a number, to be predicted.
    metrics : tuple of str
        Names in `metrics.METRICS`; the task's GLUE score is their mean.
    header : tuple of str
        Columns of files without a header.
    parts : dict
        Development sets by name; the score is the mean over them.
    """

    name: str
    title: str
    folder: str
    texts: tuple[str, ...]
    columns: tuple[str, ...]
    label: str = "label"
    labels: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ("accuracy",)
    header: tuple[str, ...] = ()
    parts: dict[str, Part] = field(default_factory=lambda: {"": Part("dev", "validation")})

    @property
    def outputs(self) -> int:
        """Numbers that a model says of a text."""
        return len(self.labels) or 1

    def class_of(self, value: str) -> int | None:
        """The class that a name or a digit stands for; None if it is neither.

        Examples
        --------
        >>> TASKS["rte"].class_of("not_entailment"), TASKS["sst2"].class_of("1")
        (1, 1)
        >>> TASKS["sst2"].class_of("2") is None
        True
        """
        if value in self.labels:
            return self.labels.index(value)
        digit = value.isascii() and value.isdigit() and int(value) < len(self.labels)
        return int(value) if digit else None


PAIR = ("sentence1", "sentence2")
ENTAILED = ("entailment", "not_entailment")

TASKS = {
    task.name: task
    for task in (
        Task(
            "cola", "CoLA", "CoLA", ("sentence",), ("sentence",),
            labels=("unacceptable", "acceptable"), metrics=("matthews",),
            header=("source", "label", "note", "sentence"),
        ),
        Task(
            "sst2", "SST-2", "SST-2", ("sentence",), ("sentence",),
            labels=("negative", "positive"),
        ),
        Task(
            "mrpc", "MRPC", "MRPC", ("#1 String", "#2 String"), PAIR, label="Quality",
            labels=("not_equivalent", "equivalent"), metrics=("accuracy", "f1"),
        ),
        Task(
            "qqp", "QQP", "QQP", ("question1", "question2"), ("question1", "question2"),
            label="is_duplicate", labels=("not_duplicate", "duplicate"),
            metrics=("accuracy", "f1"),
        ),
        Task(
            "stsb", "STS-B", "STS-B", PAIR, PAIR, label="score",
            metrics=("pearson", "spearman"),
        ),
        Task(
            "mnli", "MNLI", "MNLI", PAIR, ("premise", "hypothesis"), label="gold_label",
            labels=("entailment", "neutral", "contradiction"),
            parts={
                "matched": Part("dev_matched", "validation_matched"),
                "mismatched": Part("dev_mismatched", "validation_mismatched"),
            },
        ),
        Task(
            "qnli", "QNLI", "QNLI", ("question", "sentence"), ("question", "sentence"),
            labels=ENTAILED,
        ),
        Task("rte", "RTE", "RTE", PAIR, PAIR, labels=ENTAILED),
        Task("wnli", "WNLI", "WNLI", PAIR, PAIR, labels=ENTAILED[::-1]),
    )
}  # fmt: skip
