"""Real weights: MiniLM as BERT, and in DistilBERT's and RoBERTa's classes; XLNet's architecture."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import families
import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file

import lpgeom
from lpgeom import nn
from lpgeom.nn import LowRankEmbedding, LowRankLinear

IDS = torch.randint(1000, 7000, (3, 12), generator=torch.Generator().manual_seed(1))

MODELS: dict[str, Callable[[], torch.nn.Module]] = {
    "bert": families.minilm,
    "distilbert": families.minilm_distilbert,
    "roberta": families.minilm_roberta,
    "xlnet": families.xlnet,
}


def test_the_other_classes_compute_what_bert_does() -> None:
    expected = families.run(families.minilm(), IDS)
    for name in ("distilbert", "roberta"):
        torch.testing.assert_close(
            families.run(MODELS[name](), IDS), expected, atol=1e-5, rtol=1e-5
        )


def test_outputs_after_reloading_in_a_fresh_process(tmp_path: Path) -> None:
    """Bit for bit, without the original weights, and with parameters as the formula counts them."""
    outputs = {}
    for name, make in MODELS.items():
        model = make()
        before = sum(q.numel() for q in model.parameters())
        report = nn.compress(model, ratio=0.28, p=2.0, subspaces=1, progress=False)
        layer = report.compressed[0]
        n, d = layer.shape
        assert layer.rank == int(0.72 * n * d / (n + d))
        saved = n * d - (n + d) * layer.rank
        assert sum(q.numel() for q in model.parameters()) == before - saved
        assert report.parameters_after == before - saved
        nn.save_pretrained(model, tmp_path / name, report=report)
        outputs[name] = families.run(model, IDS).numpy()
    np.savez(tmp_path / "before.npz", ids=IDS.numpy(), **outputs)
    code = """
import json, sys, numpy as np, torch
from lpgeom import nn
stored = np.load(sys.argv[1] + "/before.npz")
same = {}
for name in stored.files:
    if name != "ids":
        model = nn.load_pretrained(sys.argv[1] + "/" + name)
        with torch.no_grad():
            output = model(input_ids=torch.from_numpy(stored["ids"])).last_hidden_state
        same[name] = bool(np.array_equal(output.numpy(), stored[name]))
print(json.dumps(same))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == dict.fromkeys(MODELS, True)


def test_a_tenth_of_the_bytes_after_reloading_in_a_fresh_process(tmp_path: Path) -> None:
    model = families.minilm()
    dense = families.run(model, IDS)
    report = nn.compress(model, size=0.1, certify=False, progress=False)
    layer = report.compressed[0]
    assert layer.bytes_after <= 0.1 * layer.bytes_before
    assert layer.weights == "tokens"
    assert layer.error < 0.13
    output = families.run(model, IDS)
    cosine = torch.nn.functional.cosine_similarity(output.mean(1), dense.mean(1)).min()
    assert cosine > 0.98
    nn.save_pretrained(model, tmp_path, report=report)
    (file,) = tmp_path.glob("*.safetensors")
    held = sum(q.nbytes for q in load_file(file).values())
    assert held == report.bytes_after
    np.savez(tmp_path / "before.npz", ids=IDS.numpy(), output=output.numpy())
    code = """
import sys, numpy as np, torch
from lpgeom import nn
stored = np.load(sys.argv[1] + "/before.npz")
ids = torch.from_numpy(stored["ids"])
model, dense = (nn.load_pretrained(sys.argv[1], dense=dense) for dense in (False, True))
with torch.no_grad():
    output, other = (m(input_ids=ids).last_hidden_state.numpy() for m in (model, dense))
print(np.array_equal(output, stored["output"]), np.abs(other - output).max() < 1e-4)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True", "True"]


def test_the_factors_are_what_the_solver_certified() -> None:
    model = families.minilm()
    A = model.embeddings.word_embeddings.weight.detach().numpy().copy()[:6000]
    table = torch.nn.Embedding.from_pretrained(torch.from_numpy(A))
    low_rank = LowRankEmbedding.from_embedding(table, 64, p=1.0)
    result = lpgeom.approx_subspace(A, 64, 1.0)
    V = result.basis
    product = low_rank.weight.double().numpy()
    np.testing.assert_allclose(product, A @ V @ V.T, atol=1e-6)
    residuals = np.linalg.norm(A.astype(np.float64) - product, axis=1)
    assert residuals.sum() == pytest.approx(result.cost, rel=1e-6)
    result.certificate.verify(A)


def test_a_masked_language_model_on_real_weights(tmp_path: Path) -> None:
    """Its head is tied to the embedding, computes from the same factors, and stays so on disk."""
    bert = families.minilm()
    model = transformers.BertForMaskedLM(bert.config).eval()
    model.bert.load_state_dict(bert.state_dict(), strict=False)
    assert model.cls.predictions.decoder.weight is model.bert.embeddings.word_embeddings.weight
    report = nn.compress(model, ratio=0.4, p=2.0, subspaces=1, progress=False)
    head = model.cls.predictions.decoder
    assert isinstance(head, LowRankLinear)
    assert head.left is model.get_input_embeddings().left
    assert head.bias is model.cls.predictions.bias
    assert report.compressed[0].tied == ("cls.predictions.decoder",)
    nn.save_pretrained(model, tmp_path)
    again = nn.load_pretrained(tmp_path)
    assert again.cls.predictions.decoder.left is again.get_input_embeddings().left
    assert again.cls.predictions.decoder.bias is again.cls.predictions.bias
    with torch.no_grad():
        assert torch.equal(again(input_ids=IDS).logits, model(input_ids=IDS).logits)
    size = (tmp_path / json.loads((tmp_path / "lpgeom.json").read_text())["tensors"]).stat().st_size
    assert report.bytes_after < size < 1.001 * report.bytes_after


def test_the_error_falls_as_the_rank_grows() -> None:
    """At full rank nothing is lost."""
    expected = families.run(families.minilm(), IDS)
    errors, drifts = [], []
    for rank in (32, 128, 256, 384):
        model = families.minilm()
        report = nn.compress(
            model, rank=rank, p=2.0, subspaces=1, certify=False, force=True, progress=False
        )
        errors.append(report.compressed[0].error)
        drifts.append(float((families.run(model, IDS) - expected).abs().max()))
    assert errors == sorted(errors, reverse=True)
    assert drifts == sorted(drifts, reverse=True)
    assert errors[-1] < 1e-6
    assert drifts[-1] < 1e-5
