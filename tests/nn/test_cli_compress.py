"""``lpgeom compress``: a directory in, a directory out, the same model as `compress` makes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from families import FAMILIES, run, small

from lpgeom import datasets, nn
from lpgeom.cli import main

IDS = torch.randint(5, 290, (2, 9), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    """A small BERT's directory, with files beside the model."""
    small("bert").save_pretrained(tmp_path / "bert")
    (tmp_path / "bert" / "vocab.txt").write_text("a\nb\n")
    (tmp_path / "bert" / "README.md").write_text("# A card\n")
    for name, config in (
        ("1_Pooling", "{}"),
        ("2_Dense", "{}"),
        ("onnx", '{"model_type": "bert"}'),
    ):
        (tmp_path / "bert" / name).mkdir()
        (tmp_path / "bert" / name / "config.json").write_text(config)
    (tmp_path / "bert" / "2_Dense" / "model.safetensors").write_bytes(b"its own")
    (tmp_path / "bert" / "onnx" / "model.onnx").write_bytes(b"the same model")
    (tmp_path / "bert" / "other.onnx").write_bytes(b"weights")
    return tmp_path / "bert"


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def compress(*arguments: Any) -> int:
    return main(["compress", *map(str, arguments)])


SAME = [
    *((family, {"ratio": 0.3, "p": 2.0, "layers": "all"}) for family in FAMILIES),
    ("bert", {"ratio": 0.4, "p": 2.0, "subspaces": 2}),
    ("roberta", {"ratio": 0.5, "p": 2.0, "layers": "all", "allocate": "global", "tie": "untie"}),
    ("gpt2", {"max_norm_error": 0.6, "p": 2.0, "layers": "linear"}),
    ("albert", {"ratio": 0.3, "row_weights": "frequency"}),
]


@pytest.mark.parametrize(("family", "asked"), SAME, ids=str)
def test_the_same_as_compress(family: str, asked: dict[str, Any], tmp_path: Path) -> None:
    """Streamed from the disk or done in memory: the same tensors, recipe, and outputs."""
    model = small(family)
    model.save_pretrained(tmp_path / "model")
    arguments = [x for k, v in asked.items() for x in (f"--{k.replace('_', '-')}", v)]
    assert compress(tmp_path / "model", *arguments, "--out", tmp_path / "out", "--quiet") == 0
    report = nn.compress(model, progress=False, **asked)
    nn.save_pretrained(model, tmp_path / "saved", report=report)
    streamed = nn.load_pretrained(tmp_path / "out")
    assert torch.equal(run(streamed, IDS), run(model, IDS))
    recipes = [
        json.loads((tmp_path / name / "lpgeom.json").read_text()) for name in ("out", "saved")
    ]
    for recipe in recipes:
        recipe["layers"].sort(key=lambda layer: layer["name"])
        recipe["report"].pop("seconds")
        for layer in recipe["report"]["layers"]:
            layer.pop("seconds")
        for key in ("sha256", "tensors"):  # the order of tensors may differ
            recipe.pop(key)
    assert recipes[0]["layers"] == recipes[1]["layers"]
    assert recipes[0]["report"] == recipes[1]["report"]


def test_what_it_prints_and_writes(bert: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(bert)
    out = bert.parent / "out"
    assert compress(bert, "--ratio", ".3", "--p", "2", "--out", out) == 0
    printed = capsys.readouterr()
    assert "bert.embeddings.word_embeddings" in printed.out
    assert "1 of 3 selected layers" in printed.out
    assert printed.err == ""
    assert contents(bert) == before  # only read
    written = contents(out)
    assert written["vocab.txt"] == b"a\nb\n"
    card = written["README.md"].decode()
    assert card.startswith("# A card\n")
    assert printed.out.strip().splitlines()[0] in card
    assert "import lpgeom.nn" in card
    assert "1_Pooling/config.json" in written
    assert written["2_Dense/model.safetensors"] == b"its own"
    assert "onnx/model.onnx" not in written
    assert {"config.json", "lpgeom.json"} <= set(written)
    assert not {"model.safetensors", "other.onnx"} & set(written)
    assert sorted(path.name for path in bert.parent.iterdir()) == ["bert", "out"]


def test_json_and_reports(bert: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page, data = bert.parent / "r.html", bert.parent / "r.json"
    options = ("--ratio", ".3", "--layers", "linear", "-p", "2", "--json")
    assert compress(bert, *options, "--out", bert.parent / "a", "--report", page) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["parameters_after"] < report["parameters_before"]
    assert report["options"]["layers"] == "linear"
    assert "<svg" in page.read_text()
    assert compress(bert, *options, "--out", bert.parent / "b", "--report", data) == 0
    assert json.loads(data.read_text())["layers"] == json.loads(capsys.readouterr().out)["layers"]


def test_dry_run_writes_nothing(bert: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compress(bert, "--ratio", ".3", "--layers", "all", "--dry-run") == 0
    assert "would become" in capsys.readouterr().out
    assert [path.name for path in bert.parent.iterdir()] == ["bert"]


def fails(capsys: pytest.CaptureFixture[str], *arguments: Any) -> str:
    assert compress(*arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("lpgeom: error: ")
    assert printed.err.count("\n") == 1
    return printed.err


def test_clear_errors_and_nothing_written(bert: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = bert.parent / "out"
    before = contents(bert)
    good = ("--ratio", ".3", "--out", out)
    assert "28% is 0.28" in fails(capsys, bert, "--ratio", "28", "--out", out)
    assert "between 0 and 1" in fails(capsys, bert, "--ratio", "-1", "--out", out)
    message = fails(capsys, bert, *good, "--layers", "word_embedings")
    assert "near names: bert.embeddings.word_embeddings" in message
    assert "no such directory" in fails(capsys, bert.parent / "nowhere", *good)
    assert "--out DIR is needed" in fails(capsys, bert, "--ratio", ".3")
    assert "p must be" in fails(capsys, bert, *good, "-p", ".5")
    assert "exists" in fails(capsys, bert, "--ratio", ".3", "--out", bert)
    assert "inside the model" in fails(capsys, bert, "--ratio", ".3", "--out", bert / "in")
    assert ".html or a .json" in fails(capsys, bert, *good, "--report", bert.parent / "r.pdf")
    assert contents(bert) == before
    assert [path.name for path in bert.parent.iterdir()] == ["bert"]


def test_damaged_models(bert: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = bert.parent / "out"
    good = ("--ratio", ".3", "--out", out)

    def changed(name: str, content: bytes | None) -> Path:
        folder = bert.parent / "changed"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(bert, folder)
        (folder / name).unlink()
        if content is not None:
            (folder / name).write_bytes(content)
        return folder

    assert "no config.json" in fails(capsys, changed("config.json", None), *good)
    assert "damaged" in fails(capsys, changed("config.json", b"{"), *good)
    config = json.loads((bert / "config.json").read_text())
    foreign = json.dumps(config | {"architectures": ["os"]}).encode()
    assert "no model class 'os'" in fails(capsys, changed("config.json", foreign), *good)
    wide = json.dumps(config | {"hidden_size": 36}).encode()
    assert "has shape" in fails(capsys, changed("config.json", wide), *good)
    deep = json.dumps(config | {"num_hidden_layers": 3}).encode()
    assert "not there" in fails(capsys, changed("config.json", deep), *good)
    whole = (bert / "model.safetensors").read_bytes()
    for content in (b"", b"\0" * 100, whole[:-1000]):
        assert "safetensors" in fails(capsys, changed("model.safetensors", content), *good)
    assert not out.exists()


def test_pickles_are_read_only_by_name(
    bert: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = bert.parent / "out"
    folder = bert.parent / "pickled"
    shutil.copytree(bert, folder)
    (folder / "model.safetensors").unlink()
    torch.save(small("bert").state_dict(), folder / "pytorch_model.bin")
    message = fails(capsys, folder, "--ratio", ".3", "--out", out)
    assert "pytorch_model.bin is a pickle" in message
    named = ("--ratio", ".3", "-p", "2", "--weights", "pytorch_model.bin", "--quiet", "--out")
    assert compress(folder, *named, out) == 0
    assert compress(bert, "--ratio", ".3", "-p", "2", "--quiet", "--out", bert.parent / "same") == 0
    assert torch.equal(
        run(nn.load_pretrained(out), IDS), run(nn.load_pretrained(bert.parent / "same"), IDS)
    )
    # One that would run code is refused by torch's restricted unpickler.
    torch.save(Malicious(str(bert.parent / "ran")), folder / "pytorch_model.bin")
    fails(capsys, folder, *named, bert.parent / "never")
    assert not (bert.parent / "ran").exists()
    # That of older versions is not tried.
    monkeypatch.setattr(torch, "__version__", "2.5.1+cpu")
    monkeypatch.setattr(torch, "load", lambda *args, **options: pytest.fail("was tried"))
    assert "only torch 2.6 and newer" in fails(capsys, folder, *named, bert.parent / "never")


class Malicious:
    """Creates a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self.path, "w")


def test_sharded_checkpoints(tmp_path: Path) -> None:
    model = small("bert")
    model.save_pretrained(tmp_path / "shards", max_shard_size="50KB")
    assert (tmp_path / "shards" / "model.safetensors.index.json").is_file()
    out = tmp_path / "out"
    assert compress(tmp_path / "shards", "--ratio", ".3", "-p", "2", "--quiet", "--out", out) == 0
    nn.compress(model, ratio=0.3, p=2.0, progress=False)
    assert torch.equal(run(nn.load_pretrained(out), IDS), run(model, IDS))


def test_nan_in_the_weights_names_the_layer(bert: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = small("bert")
    with torch.no_grad():
        model.bert.embeddings.word_embeddings.weight[7, 3] = float("nan")
    model.save_pretrained(bert)
    capsys.readouterr()
    message = fails(capsys, bert, "--ratio", ".3", "--out", bert.parent / "out")
    assert "bert.embeddings.word_embeddings" in message
    assert "finite" in message
    assert not (bert.parent / "out").exists()


@pytest.mark.parametrize("given", [("--subspaces", "1", "-p", "1"), ()], ids=["p = 1", "default"])
def test_minilm_in_a_process_of_its_own(given: tuple[str, ...], tmp_path: Path) -> None:
    """The real model, the real command; its directory is a model again."""
    folder = datasets.minilm_path().parent
    done = subprocess.run(
        [sys.executable, "-m", "lpgeom", "compress", folder, "--ratio", ".28", *given,
         "--out", tmp_path / "out", "--json"],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    layer = report["layers"][0]
    if given:
        assert layer["rank"] == 273
        assert layer["parameters_after"] == (30522 + 384) * 273
    else:
        assert len(layer["ranks"]) == 8
        assert 0.71 < layer["parameters_after"] / (30522 * 384) <= 0.72
        assert layer["cost"] < 0.5 * layer["svd_cost"]  # the SVD of the same weighted rows
    assert layer["lower_bound"] <= layer["cost"] <= layer["svd_cost"]
    assert layer["ratio"] < 1.45
    model = nn.load_pretrained(tmp_path / "out")
    assert (tmp_path / "out" / "tokenizer.json").is_file()
    assert sum(q.numel() for q in model.parameters()) == report["parameters_after"]


SIZES = {"vocab_size": 64, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
         "intermediate_size": 24}  # fmt: skip
OTHER_NAMES = {
    "GPTNeoXForCausalLM": SIZES,
    "MixtralForCausalLM": {**SIZES, "num_key_value_heads": 2, "num_local_experts": 2},
    "MarianMTModel": {
        "vocab_size": 64, "d_model": 16, "encoder_layers": 1, "decoder_layers": 1,
        "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 24,
        "decoder_ffn_dim": 24, "pad_token_id": 0, "max_position_embeddings": 16,
        "decoder_start_token_id": 0,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_what_files_call_by_other_names_or_do_not_hold(name: str, tmp_path: Path) -> None:
    """Renamed, experts joined, positions computed: as transformers reads what it writes."""
    cls = getattr(transformers, name)
    torch.manual_seed(0)
    model = cls(cls.config_class(**OTHER_NAMES[name])).eval()
    model.save_pretrained(tmp_path / "in")
    options = ("--rank", 4, "--p", 2, "--subspaces", 1, "--quiet")
    assert compress(tmp_path / "in", *options, "--out", tmp_path / "out") == 0
    nn.compress(model, rank=4, p=2.0, subspaces=1, progress=False)
    expected = model.state_dict()
    for again in (nn.load_pretrained(tmp_path / "out"), cls.from_pretrained(tmp_path / "out")):
        found = again.state_dict()
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_sharded_pickles_by_the_name_of_their_index(
    bert: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = small("bert").state_dict()
    (bert / "model.safetensors").unlink()
    files = {name: f"pytorch_model-0000{1 + i % 2}-of-00002.bin" for i, name in enumerate(state)}
    for file in set(files.values()):
        torch.save({k: x for k, x in state.items() if files[k] == file}, bert / file)
    index = "pytorch_model.bin.index.json"
    (bert / index).write_text(json.dumps({"weight_map": files}))
    assert compress(bert, "--rank", 4, "--dry-run") == 2
    assert f"{index} is a pickle" in capsys.readouterr().err
    assert compress(bert, "--rank", 4, "--dry-run", "--weights", index) == 0
    (bert / index).write_text(json.dumps({"weight_map": {"x": "../x.bin"}}))
    assert compress(bert, "--rank", 4, "--dry-run", "--weights", index) == 2


def test_a_model_without_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24,
        image_size=8, patch_size=4,
    )  # fmt: skip
    transformers.ViTModel(config).save_pretrained(tmp_path)
    assert compress(tmp_path, "--ratio", 0.3, "--dry-run") == 2
    assert "has no embedding; layers='linear' takes its linear layers" in capsys.readouterr().err
    assert compress(tmp_path, "--ratio", 0.3, "--dry-run", "--layers", "linear") == 0
