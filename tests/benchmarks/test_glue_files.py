"""GLUE's files and its library: what is in them comes out, and what is wrong is said."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.glue import files, library
from benchmarks.glue.data import Data, digest, some
from benchmarks.glue.tasks import TASKS, Row
from lpgeom.datasets import MissingData
from tests.glue_files import rows_of, write, write_all


@pytest.mark.parametrize("task", TASKS)
def test_the_nine_layouts_are_read_exactly(task: str, tmp_path: Path) -> None:
    write_all(tmp_path, task)
    data = Data(tmp_path)
    close = (lambda x: x) if TASKS[task].labels else (lambda x: round(x, 3))
    want = [row._replace(label=close(row.label)) for row in rows_of(task, 24, "train")]
    assert data.train(TASKS[task]) == want
    dev = data.dev(TASKS[task])
    assert list(dev) == (["matched", "mismatched"] if task == "mnli" else [""])
    for name, rows in dev.items():
        tag = f"dev_{name}" if name else "dev"
        assert [row.text for row in rows] == [row.text for row in rows_of(task, 24, tag)]


plain = st.text(st.characters(codec="utf-8", exclude_characters="\t\n\r"), min_size=1)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(plain, plain, st.integers(0, 1)), min_size=2))
def test_any_text_comes_back(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str, int]]
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    rows = [Row(*pair) for pair in pairs]
    write(folder, "qqp", "dev", rows)
    assert files.read(folder, TASKS["qqp"], "dev") == rows


def test_mrpc_as_microsoft_has_it(tmp_path: Path) -> None:
    rows = rows_of("mrpc", 10)
    made = write(tmp_path, "mrpc", "train", rows)
    whole = made.with_name("msr_paraphrase_train.txt")
    whole.write_bytes(b"\xef\xbb\xbf" + made.read_bytes().replace(b"\n", b"\r\n"))
    made.unlink()
    with pytest.raises(MissingData, match="dev_ids.tsv is not there; MRPC is train.tsv and"):
        files.read(tmp_path, TASKS["mrpc"], "dev")
    listed = [f"#1 ID-{i}\t#2 ID-{i}\n" for i in (2, 5, 6)]
    made.with_name("dev_ids.tsv").write_text("".join(listed))
    assert files.read(tmp_path, TASKS["mrpc"], "dev") == [rows[i] for i in (2, 5, 6)]
    rest = [row for i, row in enumerate(rows) if i not in (2, 5, 6)]
    assert files.read(tmp_path, TASKS["mrpc"], "train") == rest


def test_what_is_wrong_with_a_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(MissingData, match=r"SST-2.dev\.tsv is not there; --data is a folder"):
        files.read(tmp_path, TASKS["sst2"], "dev")
    path = write(tmp_path, "sst2", "dev", rows_of("sst2", 4))
    good = path.read_text()
    path.write_text(good.replace("sentence\tlabel", "text\tlabel"))
    with pytest.raises(MissingData, match="no column sentence; its first line names text, label"):
        files.read(tmp_path, TASKS["sst2"], "dev")
    path.write_text("")
    with pytest.raises(MissingData, match="its first line names nothing"):
        files.read(tmp_path, TASKS["sst2"], "dev")
    path.write_text(good + "a text\t2\n")
    with pytest.raises(MissingData, match="line 6: label is '2'; SST-2 has negative, positive"):
        files.read(tmp_path, TASKS["sst2"], "dev")
    path.write_text(good + "no label\n")
    with pytest.raises(MissingData, match="1 rows with fewer columns than 2, the first in line 6"):
        files.read(tmp_path, TASKS["sst2"], "dev")
    path.write_text("sentence\tlabel\na\t1\n")
    with pytest.raises(MissingData, match=r"SST-2 \(dev\) has 1 texts; two are needed"):
        Data(tmp_path).dev(TASKS["sst2"])
    write(tmp_path, "stsb", "dev", rows_of("stsb", 2))
    path = tmp_path / "STS-B" / "dev.tsv"
    path.write_text(path.read_text().replace("0.000", "nan"))
    with pytest.raises(MissingData, match="score is 'nan'; STS-B has numbers"):
        files.read(tmp_path, TASKS["stsb"], "dev")


def test_a_few_broken_rows_are_left_out(tmp_path: Path) -> None:
    path = write(tmp_path, "qqp", "dev", rows_of("qqp", 200))
    path.write_text(path.read_text() + "7\t8\t9\tbroken\n")
    assert len(files.read(tmp_path, TASKS["qqp"], "dev")) == 200


def test_a_limit_takes_the_same_texts_in_their_order(tmp_path: Path) -> None:
    write_all(tmp_path, "rte")
    whole, limited = (Data(tmp_path, n).train(TASKS["rte"]) for n in (None, 7))
    assert len(limited) == 7
    assert limited == [row for row in whole if row in limited]
    assert digest(limited) == digest(some(whole, 7, "rte train")) != digest(whole)


# ---------------------------------------------------------------- GLUE from the library


class Table:
    """What load_dataset gives, as far as it is used."""

    def __init__(self, columns: dict[str, list[Any]], names: list[str] | None) -> None:
        self.columns, self.column_names = columns, list(columns)
        self.features = {"label": SimpleNamespace(names=names) if names else SimpleNamespace()}

    def __getitem__(self, name: str) -> list[Any]:
        return self.columns[name]


def stand_in(monkeypatch: pytest.MonkeyPatch, load: Callable[..., Any]) -> None:
    module = ModuleType("datasets")
    module.load_dataset = load  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", module)


@pytest.mark.parametrize("task", TASKS)
def test_the_library_gives_the_same_rows(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    known = TASKS[task]
    asked: list[tuple[str, str, str]] = []

    def load(name: str, config: str, split: str) -> Table:
        asked.append((name, config, split))
        if name == "nyu-mll/glue":
            raise FileNotFoundError("an older version does not know it")
        rows = rows_of(task, 6, split)
        columns = dict(zip(known.columns, zip(*[r[:2] for r in rows], strict=True), strict=False))
        labels = [row.label for row in rows]
        return Table({**columns, "label": labels, "idx": [0] * 6}, list(known.labels) or None)

    stand_in(monkeypatch, load)
    assert Data().train(known) == rows_of(task, 6, "train")
    dev = Data().dev(known)
    splits = {part: f"validation_{part}" if part else "validation" for part in dev}
    assert dev == {part: rows_of(task, 6, split) for part, split in splits.items()}
    assert asked[:2] == [("nyu-mll/glue", task, "train"), ("glue", task, "train")]


def test_classes_of_the_library_are_taken_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table({"sentence": ["a", "b"], "label": [0, 1]}, ["positive", "negative"])
    stand_in(monkeypatch, lambda *a, **k: table)
    assert [row.label for row in library.read(TASKS["sst2"], "train")] == [1, 0]


def test_what_is_wrong_with_the_library_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingData, match=r"pip install datasets \(or --data DIR"):
        library.read(TASKS["sst2"], "train")

    def unreachable(*args: Any, **options: Any) -> Any:
        raise ConnectionError("no network")

    stand_in(monkeypatch, unreachable)
    with pytest.raises(MissingData, match="cannot give sst2 .train.*no network.*--data DIR"):
        library.read(TASKS["sst2"], "train")
    stand_in(monkeypatch, lambda *a, **k: Table({"text": ["a"], "label": [0]}, None))
    with pytest.raises(MissingData, match="no column sentence; it has text, label"):
        library.read(TASKS["sst2"], "train")
    stand_in(monkeypatch, lambda *a, **k: Table({"sentence": ["a"], "label": [-1]}, ["x", "y"]))
    with pytest.raises(MissingData, match="label -1, which is none of.*test sets have no labels"):
        library.read(TASKS["sst2"], "test")
