"""GLUE's files in miniature."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.glue.tasks import TASKS, Row

MNLI = "index promptID pairID genre sentence1_binary_parse sentence2_binary_parse sentence1_parse "
MNLI += "sentence2_parse sentence1 sentence2 "
HEADERS = {
    "cola": "",
    "sst2": "sentence label",
    "mrpc": "Quality|#1 ID|#2 ID|#1 String|#2 String",
    "qqp": "id qid1 qid2 question1 question2 is_duplicate",
    "stsb": "index genre filename year old_index source1 source2 sentence1 sentence2 score",
    "mnli": MNLI + "label1 gold_label",
    "mnli dev": MNLI + "label1 label2 label3 label4 label5 gold_label",
    "qnli": "index question sentence label",
    "rte": "index sentence1 sentence2 label",
    "wnli": "index sentence1 sentence2 label",
}
"""The first lines of the official files."""
NAMED = ("mnli", "qnli", "rte")
"""Tasks whose files have classes by name, not by digit."""


def write(folder: Path, task: str, name: str, rows: Sequence[Row]) -> Path:
    """A file of GLUE, columns that do not matter filled with anything."""
    known = TASKS[task]
    header = HEADERS.get(f"{task} dev" if name.startswith("dev") else task, HEADERS[task])
    columns = header.split("|") if "|" in header else header.split()
    lines = ["\t".join(columns)] if header else []
    for i, row in enumerate(rows):
        label = f"{row.label:.3f}" if not known.labels else str(int(row.label))
        if task in NAMED:
            label = known.labels[int(row.label)]
        if task == "cola":
            fields = {"source": "gj04", "label": label, "note": "*", "sentence": row.text}
        else:
            fields = {c: f"{c}-{i}" for c in columns} | {known.texts[0]: row.text}
            fields[known.label] = label
            if row.pair is not None:
                fields[known.texts[1]] = row.pair
        lines.append("\t".join(fields.values()))
    path = folder / known.folder / f"{name}.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(("\n".join(lines) + "\n").encode())
    return path


def rows_of(task: str, n: int, tag: str = "") -> list[Row]:
    """Some rows with quotation marks, apostrophes and letters that are not ASCII."""
    known = TASKS[task]
    return [
        Row(
            f"\"{tag} text {i} isn't",
            f'naïve {i}" \u2028second' if len(known.texts) > 1 else None,
            i % len(known.labels) if known.labels else 5.0 * (i * 7 % n) / n,
        )
        for i in range(n)
    ]


def write_all(folder: Path, task: str, n: int = 24) -> None:
    write(folder, task, "train", rows_of(task, n, "train"))
    for part in TASKS[task].parts.values():
        write(folder, task, part.file, rows_of(task, n, part.file))
