"""Compressed models saved, loaded and trained on by the lines that people write for any model."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lpgeom import nn
from lpgeom.nn.modules.compressed import Compressed
from lpgeom.nn.stored import announced
from lpgeom.nn.stored.huggingface import METHOD, OURS
from lpgeom.nn.stored.recipe import CheckpointError

transformers = pytest.importorskip("transformers")
quantizer = pytest.importorskip("lpgeom.nn.stored.quantizer")
pytestmark = pytest.mark.skipif(not quantizer.READS, reason="transformers before 5.19")

IDS = torch.tensor([[5, 17, 99, 42]])

FORMS: list[dict[str, Any]] = [
    {"rank": 4, "subspaces": 1, "layers": "all"},
    {"ratio": 0.4},
    {"size": 0.3, "layers": "all"},
]


@pytest.fixture(autouse=True)
def quiet() -> None:
    transformers.logging.set_verbosity_error()


def bert(cls: str = "BertForMaskedLM", **options: Any) -> Any:
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=100, hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=48, max_position_embeddings=32,
    )  # fmt: skip
    model = getattr(transformers, cls)(config).eval()
    nn.compress(model, progress=False, certify=False, **(options or FORMS[1]))
    return model


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    """The same tensors under the same names, shared in the same way."""
    x, y = a.state_dict(keep_vars=True), b.state_dict(keep_vars=True)
    return x.keys() == y.keys() and all(
        torch.equal(x[name], y[name])
        and {n for n in x if x[n] is x[name]} == {n for n in y if y[n] is y[name]}
        for name in x
    )


@pytest.mark.parametrize("options", FORMS, ids=str)
def test_saved_and_loaded_by_transformers(options: dict[str, Any], tmp_path: Path) -> None:
    model = bert(**options)
    model.save_pretrained(tmp_path / "a", max_shard_size="10KB")
    assert not set(OURS) & vars(model.config).keys()  # of which others may be made
    assert len(list((tmp_path / "a").glob("model-*.safetensors"))) > 1
    again = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "a")
    assert same(again, model)
    assert torch.equal(again(IDS).logits, model(IDS).logits)
    assert not set(OURS) & vars(again.config).keys()
    again.save_pretrained(tmp_path / "b")
    assert same(nn.load_pretrained(tmp_path / "b"), model)
    # What `nn.save_pretrained` writes is read by the same line, and put in its place.
    nn.save_pretrained(again, tmp_path / "b")
    assert same(transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "b"), model)
    # A head on what has another one, and none; each part alone.
    for cls in ("AutoModelForSequenceClassification", "AutoModel"):
        other = getattr(transformers, cls).from_pretrained(tmp_path / "a")
        base = getattr(other, "bert", other)
        assert torch.equal(base(IDS).last_hidden_state, model.bert(IDS).last_hidden_state)
    model.bert.save_pretrained(tmp_path / "c")
    head = transformers.BertForTokenClassification.from_pretrained(tmp_path / "c")
    assert torch.equal(head.bert(IDS).last_hidden_state, model.bert(IDS).last_hidden_state)
    for half in (
        transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "a", dtype=torch.bfloat16),
        nn.load_pretrained(tmp_path / "a", dtype=torch.bfloat16),
        nn.load_pretrained(tmp_path / "b", dtype=torch.bfloat16),
    ):
        assert {q.dtype for q in half.parameters()} == {torch.bfloat16}
        assert half(IDS).logits.dtype == torch.bfloat16
    # Dense again, it is saved as any model is.
    nn.decompress(again)
    again.save_pretrained(tmp_path / "d")
    assert not set(OURS) & json.loads((tmp_path / "d" / "config.json").read_text()).keys()
    assert same(transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "d"), again)


@pytest.mark.parametrize("options", FORMS, ids=str)
def test_models_that_ask_for_weights_as_they_are_made(
    options: dict[str, Any], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    config = transformers.T5Config(
        vocab_size=100, d_model=32, num_layers=1, num_decoder_layers=1, num_heads=2, d_ff=48,
        d_kv=16,
    )  # fmt: skip
    model = transformers.T5ForConditionalGeneration(config).eval()
    nn.compress(model, progress=False, certify=False, **options)
    model.save_pretrained(tmp_path)
    again = transformers.AutoModelForSeq2SeqLM.from_pretrained(tmp_path)
    assert same(again, model)
    assert [type(x) for x in again.modules()] == [type(x) for x in model.modules()]


WITHOUT = """
import sys, transformers
from transformers import AutoModelForMaskedLM
transformers.logging.set_verbosity_error()
for folder in sys.argv[1:]:
    for options in ({}, {"attn_implementation": "eager"}):
        try:
            AutoModelForMaskedLM.from_pretrained(folder, **options)
        except Exception as error:
            print(type(error).__name__, error)
        else:
            print("loaded")
assert "lpgeom" not in sys.modules
import lpgeom.nn
for folder in sys.argv[1:]:
    model = AutoModelForMaskedLM.from_pretrained(folder)
    print(type(model.get_input_embeddings()).__name__)
"""


def test_where_nobody_imported_lpgeom(tmp_path: Path) -> None:
    """An error that names it, and never other weights; both ways of saving."""
    model = bert()
    model.save_pretrained(tmp_path / "a")
    nn.save_pretrained(model, tmp_path / "b")
    arguments = [sys.executable, "-c", WITHOUT, tmp_path / "a", tmp_path / "b"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    *errors, first, second = done.stdout.splitlines()
    assert "import lpgeom.nn before you load it" in errors[0]
    assert sum("import lpgeom.nn before you load it" in error for error in errors) == 3
    assert not any("loaded" in error for error in errors)
    assert first == second == "LowRankEmbedding"


def test_transformers_is_told_once_it_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "some_tables.py").write_text(
        "AUTO_QUANTIZATION_CONFIG_MAPPING, AUTO_QUANTIZER_MAPPING = {}, {}"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(announced, "TABLES", "some_tables")
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    announced.announce()
    announced.announce()
    tables = importlib.import_module("some_tables")
    assert tables.AUTO_QUANTIZER_MAPPING.keys() == {METHOD}
    assert not any(isinstance(finder, announced._Awaiting) for finder in sys.meta_path)
    monkeypatch.delitem(sys.modules, "some_tables")
    made: Any = SimpleNamespace(AUTO_QUANTIZATION_CONFIG_MAPPING={}, AUTO_QUANTIZER_MAPPING={})
    monkeypatch.setitem(sys.modules, "some_tables", made)
    announced.announce()
    assert made.AUTO_QUANTIZATION_CONFIG_MAPPING.keys() == {METHOD}


def test_damaged_and_hostile(tmp_path: Path) -> None:
    bert().save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    good = json.loads(path.read_text())

    def fails(match: str, change: Callable[[dict[str, Any]], Any]) -> None:
        values = json.loads(json.dumps(good))
        change(values)
        path.write_text(json.dumps(values))
        with pytest.raises(CheckpointError, match=match):
            nn.load_pretrained(tmp_path)

    def said(**changes: Any) -> Callable[[dict[str, Any]], Any]:
        return lambda values: values["quantization_config"].update(changes)

    layers = good["quantization_config"]["layers"]
    fails("version 2 of the format", said(version=2))
    fails("damaged", said(layers=[{"name": "x"}]))
    fails("damaged", said(layers=5))
    fails("no layer", said(layers=[layers[0] | {"name": "bert.no_such"}]))
    fails("is .* in the model", said(layers=[layers[0] | {"d": 31}]))
    fails("is missing", said(aliases={}))
    fails("is missing", said(aliases={"cls.predictions.decoder.lefts.0": "__class__"}))
    fails("would be fetched, or run", lambda values: values.update(backbone="evil/model"))
    fails("no model class", lambda values: values.update(architectures=["os"]))
    fails("numbers", lambda values: values.update(intermediate_size=10**7))
    fails("is missing", lambda values: values.update(num_hidden_layers=2))
    # No way of storing but this one, whatever else is asked for.
    values = json.loads(json.dumps(good))
    values["quantization_config"].update(load_in_8bit=True, modules_to_not_convert=["x"])
    path.write_text(json.dumps(values))
    assert any(isinstance(x, Compressed) for x in nn.load_pretrained(tmp_path).modules())


def test_what_transformers_does_not_find_is_an_error(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    bert().save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    name = "bert.embeddings.word_embeddings.lefts.0"
    first = tensors.pop(name)
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=f"{name} is missing"):
        transformers.AutoModelForMaskedLM.from_pretrained(tmp_path)
    tensors |= {name: first, "bert.embeddings.word_embeddings.labels": torch.full((100,), 9).byte()}
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match="labels that are none"):
        transformers.AutoModelForMaskedLM.from_pretrained(tmp_path)


def test_training_goes_on_where_it_broke_off(tmp_path: Path) -> None:
    """A tied model with the Trainer's own way of saving: resumed is as if nothing had happened."""
    pytest.importorskip("accelerate")
    random = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 100, (40, 8), generator=random)
    data = [{"input_ids": row, "labels": row} for row in ids]

    def trained(resume: Path | None = None, steps: int = 4) -> Any:
        model = bert()
        asked = transformers.TrainingArguments(
            tmp_path, max_steps=steps, save_steps=2, per_device_train_batch_size=4, report_to=[],
            disable_tqdm=True, use_cpu=True, logging_strategy="no",
        )  # fmt: skip
        trainer = transformers.Trainer(model, asked, train_dataset=data)
        trainer.train(resume_from_checkpoint=None if resume is None else str(resume))
        return model

    whole = trained()
    assert same(trained(resume=tmp_path / "checkpoint-2"), whole)
    last = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "checkpoint-4")
    assert same(last, whole)
    assert not same(bert(), whole)
