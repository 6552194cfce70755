"""GLUE's files, its metrics, and the whole road from a small model to lines and a table."""

from __future__ import annotations

import doctest
import json
import math
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

from benchmarks import report
from benchmarks.__main__ import main
from benchmarks.accuracy import evaluation
from benchmarks.glue import classifiers, files, library, metrics, scores, summary, training
from benchmarks.glue.data import Data, digest, some
from benchmarks.glue.tasks import TASKS, Row
from lpgeom.datasets import MissingData

# ---------------------------------------------------------------- GLUE's files in miniature

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


# ---------------------------------------------------------------- metrics


def naive_f1(labels: list[int], said: list[int]) -> float:
    hits = sum(a == b == 1 for a, b in zip(labels, said, strict=True))
    if hits == 0:
        return 0.0
    precision, recall = hits / sum(said), hits / sum(labels)
    return 2 * precision * recall / (precision + recall)


def naive_matthews(labels: list[int], said: list[int]) -> float:
    counts = {(a, b): 0 for a in (0, 1) for b in (0, 1)}
    for pair in zip(labels, said, strict=True):
        counts[pair] += 1
    tn, fp, fn, tp = (counts[key] for key in ((0, 0), (0, 1), (1, 0), (1, 1)))
    square = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    return (tp * tn - fp * fn) / math.sqrt(square) if square else 0.0


def naive_pearson(x: list[float], y: list[float]) -> float:
    a, b = math.fsum(x) / len(x), math.fsum(y) / len(y)
    xx = math.fsum((u - a) ** 2 for u in x)
    yy = math.fsum((v - b) ** 2 for v in y)
    xy = math.fsum((u - a) * (v - b) for u, v in zip(x, y, strict=True))
    return xy / math.sqrt(xx * yy)


def naive_ranks(x: list[float]) -> list[float]:
    return [sum(v < u for v in x) + (sum(v == u for v in x) + 1) / 2 for u in x]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1))
def test_metrics_of_classes(pairs: list[tuple[int, int]]) -> None:
    labels, said = ([pair[i] for pair in pairs] for i in (0, 1))
    y, p = np.array(labels), np.array(said)
    assert metrics.accuracy(y, p) == sum(a == b for a, b in pairs) / len(pairs)
    assert metrics.f1(y, p) == pytest.approx(naive_f1(labels, said))
    assert metrics.matthews(y, p) == pytest.approx(naive_matthews(labels, said), abs=1e-12)


grid = st.integers(-20, 20).map(lambda k: k / 4)


@settings(deadline=None)
@given(st.lists(st.tuples(grid, grid), min_size=2))
def test_correlations(pairs: list[tuple[float, float]]) -> None:
    x, y = ([pair[i] for pair in pairs] for i in (0, 1))
    X, Y = np.array(x), np.array(y)
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert metrics.pearson(X, Y) == metrics.spearman(X, Y) == 0.0
        return
    assert metrics.pearson(X, Y) == pytest.approx(naive_pearson(x, y), abs=1e-12)
    ranked = naive_pearson(naive_ranks(x), naive_ranks(y))
    assert metrics.spearman(X, Y) == pytest.approx(ranked, abs=1e-12)


@settings(deadline=None)
@given(hnp.arrays(np.float64, st.integers(2, 20), elements=st.floats(-1e150, 1e150)))
def test_a_correlation_is_within_one_whatever_the_scale(x: np.ndarray) -> None:
    if (x != x[0]).any():
        assert metrics.pearson(x, x) == pytest.approx(1.0)
        assert metrics.pearson(x, -x) == pytest.approx(-1.0)


def of_classes(said: Sequence[int], classes: int = 2) -> np.ndarray:
    """Log-probabilities of a model that is rather sure."""
    P = np.full((len(said), classes), 0.1 / (classes - 1))
    P[np.arange(len(said)), said] = 0.9
    return np.log(P)


def test_scores_by_hand() -> None:
    labels = [0, 1, 1, 0, 1, 0]
    dev = {"": [Row(str(i), "x", label) for i, label in enumerate(labels)]}
    was, now = [0, 1, 1, 0, 1, 1], [0, 1, 0, 0, 0, 1]
    found = scores.scored(TASKS["mrpc"], dev, [of_classes(was)], [of_classes(now)])
    assert found["metrics"]["accuracy"] == pytest.approx(100 * 3 / 6)
    assert found["metrics"]["f1"] == pytest.approx(100 * naive_f1(labels, now))
    assert found["score_before"] == pytest.approx(50 * (5 / 6 + naive_f1(labels, was)))
    assert found["drop"] == pytest.approx(found["score_before"] - found["score"])
    assert found["agreement"] == pytest.approx(100 * 4 / 6)
    assert found["kl"] == pytest.approx(2 / 6 * (0.9 - 0.1) * np.log(9))
    assert found["drop_se"] > 0.0
    itself = scores.scored(TASKS["mrpc"], dev, [of_classes(was)], [of_classes(was)])
    assert itself["drop"] == itself["drop_se"] == itself["kl"] == 0.0


def test_mnli_is_the_mean_of_its_two_parts() -> None:
    dev = {"matched": [Row("", "", 0)] * 4, "mismatched": [Row("", "", 2)] * 2}
    was, now = [0, 0, 0, 0, 2, 2], [0, 1, 0, 0, 2, 1]
    found = scores.scored(TASKS["mnli"], dev, [of_classes(was, 3)], [of_classes(now, 3)])
    assert found["metrics"] == {"accuracy_matched": 75.0, "accuracy_mismatched": 50.0}
    assert found["score"] == 62.5
    assert found["drop"] == 37.5
    by_part = [np.std([0, 100, 0, 0], ddof=1) / 2, np.std([0, 100], ddof=1) / np.sqrt(2)]
    assert found["drop_se"] == pytest.approx(np.hypot(*by_part) / 2)


def test_numbers_have_no_agreement_and_seeds_are_averaged() -> None:
    rng = np.random.default_rng(0)
    labels = rng.uniform(0, 5, 80)
    dev = {"": [Row("a", "b", label) for label in labels]}
    base = [labels + rng.normal(size=80) * s for s in (0.1, 0.3)]
    other = [labels + rng.normal(size=80) * s for s in (1.0, 2.0)]
    found = scores.scored(TASKS["stsb"], dev, base, other)
    assert "agreement" not in found
    assert "accuracy" not in found
    pearsons = [naive_pearson(list(labels), list(values)) for values in other]
    assert found["metrics"]["pearson"] == pytest.approx(100 * np.mean(pearsons))
    assert len(found["drops"]) == 2
    assert found["drop"] == pytest.approx(np.mean(found["drops"]))


def test_the_bootstrap_agrees_with_the_error_of_a_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    labels, was, now = rng.integers(0, 2, (3, 300))
    dev = {"": [Row("a", None, label) for label in labels]}
    exact = scores.scored(TASKS["sst2"], dev, [of_classes(was)], [of_classes(now)])["drop_se"]
    drawn = scores.bootstrap(TASKS["sst2"], labels, [was], [now], [np.arange(300)])
    assert drawn == pytest.approx(exact, rel=0.1)


# ---------------------------------------------------------------- small models

GOOD = [f"g{a}{b}" for a in "bdfklmnprst" for b in "aeiouy"]
BAD = [f"b{a}{b}" for a in "bdfklmnprst" for b in "aeiouy"]
FILL = [f"x{a}{b}" for a in "bdfklmnprst" for b in "aeiouy"]


def separable(n: int, seed: int, pairs: bool = False, task: str = "sst2") -> list[Row]:
    """Texts of words that are good or bad, among others."""
    rng = np.random.default_rng(seed)
    known, rows = TASKS[task], []
    for _ in range(n):
        k = int(rng.integers(known.outputs)) if known.labels else int(rng.integers(2))
        words = [*rng.choice(GOOD if k else BAD, 3), *rng.choice(FILL, 3)]
        text = " ".join(str(words[i]) for i in rng.permutation(6))
        label = k if known.labels else 4.0 * k + float(rng.uniform())
        rows.append(Row(text, text if pairs else None, label))
    return rows


def tokenizer(family: str) -> transformers.PreTrainedTokenizerFast:
    """WordPiece for BERT's kin, byte-level BPE for RoBERTa, BPE that ends with [CLS] for XLNet."""
    wordpiece = family in ("bert", "distilbert")
    names = ("<s>", "<pad>", "</s>", "<unk>") if family == "roberta" else (
        "[CLS]", "[PAD]", "[SEP]", "[UNK]",
    )  # fmt: skip
    cls, pad, sep, unknown = names
    made = Tokenizer(
        models.WordPiece(unk_token=unknown) if wordpiece else models.BPE(unk_token=unknown)
    )
    bytewise = pre_tokenizers.ByteLevel(add_prefix_space=True)
    made.pre_tokenizer = bytewise if family == "roberta" else pre_tokenizers.Whitespace()
    kind = trainers.WordPieceTrainer if wordpiece else trainers.BpeTrainer
    trainer = kind(vocab_size=300, special_tokens=list(names), show_progress=False)
    made.train_from_iterator([" ".join([*GOOD, *BAD, *FILL])] * 3, trainer)
    single, both = f"{cls} $A {sep}", f"{cls} $A {sep} $B:1 {sep}:1"
    if family == "xlnet":
        single, both = f"$A {sep} {cls}:2", f"$A {sep} $B:1 {sep}:1 {cls}:2"
    made.post_processor = processors.TemplateProcessing(
        single=single, pair=both, special_tokens=[(t, made.token_to_id(t)) for t in (cls, sep)]
    )
    types = ["token_type_ids"] if family in ("bert", "xlnet") else []
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, cls_token=cls, pad_token=pad, sep_token=sep, unk_token=unknown,
        padding_side="left" if family == "xlnet" else "right", model_max_length=24,
        model_input_names=["input_ids", *types, "attention_mask"],
    )  # fmt: skip


def configuration(family: str, size: int, pad: int) -> transformers.PretrainedConfig:
    heads = {"num_attention_heads": 4, "num_hidden_layers": 1, "hidden_size": 32}
    bert = {**heads, "intermediate_size": 64, "vocab_size": size, "pad_token_id": pad}
    return {
        "bert": lambda: transformers.BertConfig(**bert, max_position_embeddings=24),
        "roberta": lambda: transformers.RobertaConfig(
            **bert, max_position_embeddings=26, type_vocab_size=1
        ),
        "distilbert": lambda: transformers.DistilBertConfig(
            vocab_size=size, dim=32, n_layers=1, n_heads=4, hidden_dim=64,
            max_position_embeddings=24, pad_token_id=pad,
        ),
        "xlnet": lambda: transformers.XLNetConfig(
            vocab_size=size, d_model=32, n_layer=1, n_head=4, d_inner=64, pad_token_id=pad
        ),
    }[family]()  # fmt: skip


FAMILIES = ("bert", "roberta", "distilbert", "xlnet")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Untrained models by family, as from_pretrained reads them."""
    found = {}
    for family in FAMILIES:
        words = tokenizer(family)
        config = configuration(family, len(words), words.pad_token_id)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = transformers.AutoModel.from_config(config)
        found[family] = tmp_path_factory.mktemp("models") / f"tiny-{family}"
        model.save_pretrained(found[family])
        words.save_pretrained(found[family])
    return found


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("glue")
    write(folder, "sst2", "train", separable(320, 1))
    write(folder, "sst2", "dev", separable(80, 2))
    return folder


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def arguments(model: Path, data: Path, place: Path, *more: str) -> list[str]:
    return [
        "glue", "--model", str(model), "--task", "sst2", "--data", str(data),
        "--cache", str(place / "cache"), "--lines", str(place / "lines.jsonl"),
        "--epochs", "4", "--batch", "16", "--lr", "5e-3", "--seeds", "0",
        "--methods", "svd", "default", "--ratios", "0.4", *more,
    ]  # fmt: skip


def read_lines(place: Path) -> list[dict[str, Any]]:
    return [json.loads(text) for text in (place / "lines.jsonl").read_text().splitlines()]


def untimed(line: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in line.items() if "seconds" not in name}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_small_model_learns_is_compressed_and_goes_on(
    family: str,
    folders: dict[str, Path],
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    call = arguments(folders[family], data, tmp_path)
    assert main(call) == 0
    lines = read_lines(tmp_path)
    assert [(line["method"], line["ratio"]) for line in lines] == [
        ("none", 0.0), ("svd", 0.4), ("default", 0.4),
    ]  # fmt: skip
    bare, svd, default = lines
    assert bare["score"] > 75.0  # chance is 50, with a standard error of 5.6
    assert (bare["drop"], bare["agreement"], bare["texts"]) == (0.0, 100.0, 80)
    for line in (svd, default):
        assert line["share_of_layers"] >= 0.4
        assert line["drop"] == pytest.approx(bare["score"] - line["score"], abs=1e-3)
        assert 0.0 <= line["agreement"] <= 100.0
        assert line["drop_se"] >= 0.0
        assert line["kl"] > 0.0
    out = capsys.readouterr().out
    assert f"tiny-{family}: points of GLUE's scores lost" in out
    assert "arXiv 2009.05647 says for roberta-base" in out

    def never(*args: Any, **options: Any) -> Any:
        raise AssertionError("computed again")

    monkeypatch.setattr(training, "fine_tune", never)
    stored = (tmp_path / "lines.jsonl").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(evaluation, "compress", never)
        patch.setattr(training, "trained", never)
        assert main(call) == 0
    assert (tmp_path / "lines.jsonl").read_bytes() == stored
    # A line that is missing is made again from the model that was kept.
    (tmp_path / "lines.jsonl").write_bytes(b"".join(stored.splitlines(keepends=True)[:2]) + b'{"m')
    assert main(call) == 0
    assert [untimed(line) for line in read_lines(tmp_path)] == [untimed(line) for line in lines]


@pytest.fixture(scope="module")
def toy(folders: dict[str, Path], data: Path) -> tuple[classifiers.Source, list[Row], list[Row]]:
    task = TASKS["sst2"]
    source = classifiers.Source.of(folders["bert"])
    return source, Data(data).train(task), Data(data).dev(task)[""]


def test_the_seed_alone_decides(
    toy: tuple[classifiers.Source, list[Row], list[Row]], tmp_path: Path
) -> None:
    source, train, dev = toy
    recipe = training.Recipe(epochs=1, batch=32, lr=5e-3, length=24)
    made = {
        (place, seed): training.trained(
            source, TASKS["sst2"], train, recipe, seed, tmp_path / place
        )[0].outputs(dev)
        for place, seed in (("a", 0), ("b", 0), ("b", 1))
    }
    np.testing.assert_array_equal(made["a", 0], made["b", 0])
    assert not np.array_equal(made["b", 0], made["b", 1])
    assert len(list((tmp_path / "b" / "glue").iterdir())) == 2
    # Reading from the cache gives the same, and a damaged file is named.
    again, _ = training.trained(source, TASKS["sst2"], train, recipe, 0, tmp_path / "a")
    np.testing.assert_array_equal(again.outputs(dev), made["a", 0])
    assert not again.model.training
    (kept,) = (tmp_path / "a" / "glue").iterdir()
    kept.write_bytes(kept.read_bytes()[:-50])
    with pytest.raises(MissingData, match="cannot be read.*delete it to fine-tune again"):
        training.trained(source, TASKS["sst2"], train, recipe, 0, tmp_path / "a")


def test_outputs_do_not_depend_on_the_order_or_the_batch(
    toy: tuple[classifiers.Source, list[Row], list[Row]], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, _, dev = toy
    dev = [*dev[:6], Row("gba", None, 0), Row(" ".join(GOOD), None, 1)]
    model = classifiers.fresh(source, TASKS["sst2"], 24, seed=0)
    together = model.outputs(dev)
    np.testing.assert_allclose(np.exp(together).sum(axis=1), 1.0)
    np.testing.assert_allclose(model.outputs(dev[::-1])[::-1], together, atol=1e-5)
    monkeypatch.setattr(classifiers, "TOKENS", {"cpu": 1})
    np.testing.assert_allclose(model.outputs(dev), together, atol=1e-5)
    with torch.no_grad():
        model.model.classifier.bias.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="outputs are not finite"):
        model.outputs(dev)


@pytest.mark.parametrize("family", FAMILIES)
def test_inputs_are_the_tokenizer_s_own(family: str, folders: dict[str, Path]) -> None:
    source = classifiers.Source.of(folders[family])
    model = classifiers.fresh(source, TASKS["rte"], 20, seed=0)
    rows = [Row("gba gda", "bba", 0), Row("xba", "gba " * 30, 1), Row("gba", "bba bda", 0)]
    (index, inputs), *rest = model.batches(rows)
    assert not rest
    want = model.tokenizer(
        [rows[i].text for i in index], [rows[i].pair for i in index],
        truncation=True, max_length=20, padding=True, return_tensors="pt",
    )  # fmt: skip
    types = family in ("bert", "xlnet")
    assert set(inputs) == {"input_ids", "attention_mask"} | ({"token_type_ids"} if types else set())
    for name in inputs:
        if name == "token_type_ids":
            seen = inputs["attention_mask"].bool()
            assert torch.equal(inputs[name][seen], want[name][seen])
        else:
            assert torch.equal(inputs[name], want[name])
    assert inputs["input_ids"].shape[1] == 20


def test_a_checkpoint_is_taken_as_it_is(
    toy: tuple[classifiers.Source, list[Row], list[Row]],
    folders: dict[str, Path],
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source, train, dev = toy
    recipe = training.Recipe(epochs=2, batch=16, lr=5e-3, length=24)
    one, _ = training.trained(source, TASKS["sst2"], train, recipe, 0, tmp_path)
    before = one.outputs(dev)
    # Its classes the other way round, by other names.
    with torch.no_grad():
        head = one.model.classifier
        head.weight.copy_(head.weight.flip(0)), head.bias.copy_(head.bias.flip(0))
    one.model.config.id2label = {0: "POSITIVE", 1: "NEGATIVE"}
    one.model.config.label2id = {"POSITIVE": 0, "NEGATIVE": 1}
    place = tmp_path / "checkpoints" / "sst2"
    one.model.save_pretrained(place)
    one.tokenizer.save_pretrained(place)
    monkeypatch.setattr(training, "fine_tune", None)
    other = classifiers.tuned(classifiers.Source.of(place), "tiny", TASKS["sst2"], 24)
    assert other.order == [1, 0]
    np.testing.assert_allclose(other.outputs(dev), before, atol=1e-6)
    # Needs no training texts; folders by task are found.
    (tmp_path / "dev").mkdir()
    write(tmp_path / "dev", "sst2", "dev", dev)
    for folder in (place, place.parent):
        call = arguments(folders["bert"], tmp_path / "dev", tmp_path, "--checkpoint", str(folder))
        assert main([*call, "--methods", "svd"]) == 0
    bare, svd = read_lines(tmp_path)
    assert bare["model"] == "tiny-bert"
    assert bare["score"] == pytest.approx(100 * np.mean(before.argmax(1) == [r.label for r in dev]))
    assert svd["method"] == "svd"


def test_a_checkpoint_for_something_else_is_refused(
    toy: tuple[classifiers.Source, list[Row], list[Row]],
    folders: dict[str, Path],
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    one = classifiers.fresh(toy[0], TASKS["mnli"], 24, seed=0)
    one.model.save_pretrained(tmp_path / "three")
    one.tokenizer.save_pretrained(tmp_path / "three")
    call = arguments(folders["bert"], data, tmp_path, "--checkpoint", str(tmp_path / "three"))
    assert main(call) == 2
    assert "has 3 outputs, SST-2 needs 2" in capsys.readouterr().err
    with pytest.raises(MissingData, match="classes are good, bad; SST-2 has negative, positive"):
        classifiers.class_order(TASKS["sst2"], {0: "good", 1: "bad"})
    assert main([*call, "--task", "sst2", "cola"]) == 2
    assert "with several tasks each needs its own" in capsys.readouterr().err


def test_all_nine_tasks_run(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, task in TASKS.items():
        pairs = len(task.texts) > 1
        write(tmp_path, name, "train", separable(32, 1, pairs, name))
        for part in task.parts.values():
            write(tmp_path, name, part.file, separable(16, 2, pairs, name))
    call = arguments(
        folders["bert"], tmp_path, tmp_path, "--task", "all", "--methods", "svd", "--epochs", "1"
    )
    assert main([*call, "--seeds", "0", "1", "--json", str(tmp_path / "glue.json")]) == 0
    lines = read_lines(tmp_path)
    assert [line["task"] for line in lines] == [name for name in TASKS for _ in range(2)]
    for line in lines:
        task = TASKS[line["task"]]
        names = {f"{m}_{p}" if p else m for m in task.metrics for p in task.parts}
        assert set(line["metrics"]) == names
        assert line["score"] == pytest.approx(np.mean(list(line["metrics"].values())), abs=1e-3)
        assert ("agreement" in line) == bool(task.labels)
        assert len(line["drops"]) == 2
        assert line["texts"] == (32 if line["task"] == "mnli" else 16)
    out = capsys.readouterr().out
    assert "mean" in out
    assert "of another setting: model 'tiny-bert', 28% not asked for." in out
    kept = json.loads((tmp_path / "glue.json").read_text())
    assert set(kept["drops"]["tiny-bert"][0]["drops"]) == set(TASKS)


# A pooler of an almost untrained model sees almost the same for every text.
@pytest.mark.filterwarnings("ignore:.*calibration reached")
def test_calibrated_methods_and_a_limit(
    folders: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    call = arguments(folders["bert"], data, tmp_path, "--methods", "all-2+x", "--limit", "80")
    assert main([*call, "--epochs", "1", "--ratios", "0.2"]) == 0
    bare, whole = read_lines(tmp_path)
    assert (bare["texts"], bare["train_size"]) == (80, 80)
    assert whole["share_of_model"] == pytest.approx(0.2, abs=0.05)


def test_ctrl_c_leaves_no_half_model(
    folders: dict[str, Path],
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Stopped(torch.optim.AdamW):
        def step(self, *args: Any, **options: Any) -> Any:
            raise KeyboardInterrupt

    monkeypatch.setattr(torch.optim, "AdamW", Stopped)
    with pytest.raises(SystemExit) as told:
        main(arguments(folders["bert"], data, tmp_path))
    assert told.value.code == 130
    assert "the same call goes on" in capsys.readouterr().out
    assert not list((tmp_path / "cache").rglob("*.safetensors"))
    assert not (tmp_path / "lines.jsonl").exists()


def test_a_rate_that_is_too_large_is_told(
    toy: tuple[classifiers.Source, list[Row], list[Row]],
) -> None:
    source, train, _ = toy
    model = classifiers.fresh(source, TASKS["sst2"], 24, seed=0)
    with pytest.raises(FloatingPointError, match="not finite after .* steps; try a smaller --lr"):
        training.fine_tune(model, train, training.Recipe(1, 16, float("inf"), 24), 0)
    assert not model.model.training


def test_wrong_names_are_told(
    folders: dict[str, Path],
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(arguments(folders["bert"], data, tmp_path, "--task", "sst3"))
    assert "invalid choice: 'sst3'" in capsys.readouterr().err
    for option, value in (("--ratios", "1.5"), ("--epochs", "0"), ("--limit", "-1")):
        with pytest.raises(SystemExit):
            main(arguments(folders["bert"], data, tmp_path, option, value))
        assert "must" in capsys.readouterr().err
    assert main(arguments(tmp_path, data, tmp_path)) == 2
    assert "is no model's folder: it has no config.json" in capsys.readouterr().err
    assert main(arguments(folders["bert"], tmp_path, tmp_path)) == 2
    assert "dev.tsv is not there" in capsys.readouterr().err
    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", unreachable_hub)
    assert main(arguments(Path("roberta"), data, tmp_path)) == 2
    assert "AutoConfig cannot be had of 'roberta-base': no network" in capsys.readouterr().err


def unreachable_hub(*args: Any, **options: Any) -> Any:
    raise OSError("no network\nand more")


# ---------------------------------------------------------------- the claim, the examples


def test_the_paper_s_claim_is_set_beside_its_own_setting_only() -> None:
    lines = {
        ("roberta-base", task, method, 0.28): {"drop": drop, "drop_se": 0.3}
        for task in TASKS
        for method, drop in (("svd", 9.0), ("default", 1.0))
    }
    names, methods = list(TASKS), ["svd", "default", "rows-1"]
    text = summary.claim(lines, "roberta-base", names, methods, [0.1, 0.28])
    assert "l_p factors 0.63, SVD 11" in text
    assert text.endswith("Here: svd 9.00 ± 0.10, default 1.00 ± 0.10.")
    for model, some_names, ratios, said in (
        ("bert-base-uncased", names, [0.28], "model 'bert-base-uncased'"),
        ("roberta-base", names[:3], [0.28], "3 of the nine tasks"),
        ("roberta-base", names, [0.4], "28% not asked for"),
    ):
        text = summary.claim(lines, model, some_names, methods, ratios)
        assert f"This run is of another setting: {said}." in text


def test_the_paper_s_models_have_short_names() -> None:
    assert set(classifiers.PRESETS.values()) == {
        "bert-base-uncased", "distilbert-base-uncased", "xlnet-base-cased", "roberta-base",
    }  # fmt: skip
    assert report.RESULTS.name == "results"


@pytest.mark.parametrize("name", ["metrics", "tasks", "files", "data", "classifiers", "training"])
def test_examples_run(name: str) -> None:
    outcome = doctest.testmod(import_module(f"benchmarks.glue.{name}"))
    assert outcome.failed == 0


def test_what_is_kept_is_a_plain_state(
    toy: tuple[classifiers.Source, list[Row], list[Row]], tmp_path: Path
) -> None:
    source, train, _ = toy
    recipe = training.Recipe(epochs=1, batch=32, lr=1e-3, length=24)
    model, _ = training.trained(source, TASKS["sst2"], train[:40], recipe, 3, tmp_path)
    (kept,) = (tmp_path / "glue").iterdir()
    assert kept.name.startswith("tiny-bert-sst2-3-")
    state = load_file(kept)
    assert set(state) == set(model.model.state_dict())
