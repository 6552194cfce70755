"""The whole road of the GLUE benchmark: from a small model to lines and a table."""

from __future__ import annotations

import doctest
import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

from benchmarks import report
from benchmarks.__main__ import main
from benchmarks.accuracy.methods import Method
from benchmarks.glue import classifiers, summary, training
from benchmarks.glue.data import Data
from benchmarks.glue.tasks import TASKS, Row
from lpgeom.datasets import MissingData
from tests.glue_files import write

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
        patch.setattr(Method, "applied", never)
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
