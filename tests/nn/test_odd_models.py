"""Defaults of `compress` on models and tables that are unlike the usual ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from families import small
from sequences import SEQUENCES, bart, marian, pegasus, plain_bart
from tokenizers import Tokenizer
from tokenizers import models as kinds

from lpgeom import nn
from lpgeom.nn import LowRankEmbedding
from lpgeom.nn.factors.factor import factorise_mixed
from lpgeom.nn.factors.factored import Spec
from lpgeom.nn.model.sites import groups
from lpgeom.nn.plan.options import Options
from lpgeom.nn.plan.plan import items_of

TOKENS = 60


def squeezed(model: torch.nn.Module, **options: Any) -> nn.CompressionReport:
    return nn.compress(model, **{"ratio": 0.4, "certify": False, "progress": False, **options})


def weights_of(model: torch.nn.Module, **options: Any) -> dict[str, Any]:
    items = items_of(groups(model), model, Options.checked(ratio=0.4, **options), {})
    return {item.group.name: item.spec.row_weights for item in items}


def tokenizer(tokens: int = TOKENS) -> Tokenizer:
    places = np.random.default_rng(0).permutation(tokens - 1)
    vocab = {"[UNK]": 0, **{f"word{i}": 1 + at for at, i in enumerate(places)}}
    return Tokenizer(kinds.WordPiece(vocab, unk_token="[UNK]"))


class Tables(torch.nn.Module):
    """Tokens, positions and segments, of which nothing says which is which."""

    def __init__(self, positions: int = 20) -> None:
        super().__init__()
        self.tokens = torch.nn.Embedding(TOKENS, 8)
        self.positions = torch.nn.Embedding(positions, 8)


class Named(Tables):
    def get_input_embeddings(self) -> torch.nn.Module:
        return self


class Raising(Tables):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def get_input_embeddings(self) -> torch.nn.Module:
        raise self.error


class Asking(Tables):
    def get_input_embeddings(self, modality: str) -> torch.nn.Module:
        raise AssertionError(modality)


# ---------------------------------------------------------------- which rows are tokens


@pytest.mark.parametrize("positions", [20, 90])
@pytest.mark.parametrize("kind", [Tables, Named])
def test_a_tokenizer_is_of_the_table_it_fits(kind: type[Tables], positions: int) -> None:
    found = weights_of(kind(positions), tokenizer=tokenizer())
    assert found["positions"] is None
    np.testing.assert_array_equal(found["tokens"], np.sqrt(nn.token_weights(tokenizer(), n=TOKENS)))


def test_a_tokenizer_of_no_table_is_refused() -> None:
    with pytest.raises(ValueError, match="tokenizer, for tokens: n is 60, but the tokenizer has"):
        weights_of(Tables(), tokenizer=tokenizer(100))


def test_the_report_says_where_weights_of_rows_are_from() -> None:
    def said(**options: Any) -> dict[str, Any]:
        return {x.name: x.weights for x in squeezed(Tables(), dry_run=True, **options).layers}

    assert said(tokenizer=tokenizer()) == {"tokens": "tokens", "positions": "none"}
    assert said() == {"tokens": "none", "positions": "none"}
    ones = np.ones(20)
    assert said(row_weights={"positions": ones}) == {"tokens": "none", "positions": "given"}
    both = {"tokens": "given", "positions": "given"}
    assert said(row_weights="frequency") == both
    solved = squeezed(Tables(), tokenizer=tokenizer())
    assert solved["tokens"].weights == "tokens"


def test_rows_of_several_tables_are_alike() -> None:
    assert weights_of(Tables()) == {"tokens": None, "positions": None}
    found = weights_of(Named())  # here the other one is none of words, by its name
    assert found["positions"] is None
    assert found["tokens"] is not None


@pytest.mark.parametrize(
    "model",
    [Asking(), *(Raising(e()) for e in (NotImplementedError, ValueError, KeyError, RuntimeError))],
)
def test_models_that_cannot_say_what_their_words_are(model: torch.nn.Module) -> None:
    assert weights_of(model) == {"tokens": None, "positions": None}
    assert squeezed(model, layers="tokens").layers[0].compressed


@pytest.mark.parametrize(
    "changes",
    [
        {"added_tokens": [{}]},
        {"added_tokens": "abc"},
        {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a"]}},
        {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [5]}},
        {"model": {"vocab": {"a": "x"}}},
        {"model": {"vocab": {"a": -1}}},
        {"model": {"vocab": {"a": 1.5}}},
        {"model": {"vocab": {"a": 10**12}}},
    ],
    ids=str,
)
def test_damaged_tokenizers_are_an_error_that_says_so(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    file = tmp_path / "tokenizer.json"
    file.write_text(json.dumps({"model": {"vocab": {"a": 0}}, **changes}))
    with pytest.raises(ValueError, match=r"tokenizer '.*' (is not a tokenizer.json|has ids)"):
        nn.token_weights(file)


def test_a_deep_file_is_no_tokenizer(tmp_path: Path) -> None:
    file = tmp_path / "tokenizer.json"
    file.write_text("[" * 200_000)
    with pytest.raises(ValueError, match=r"is not a tokenizer.json"):
        nn.token_weights(file)


# ---------------------------------------------------------------- odd tables


@pytest.mark.parametrize(
    ("dtype", "d", "ratio"), [(torch.float16, 8, 0.28), (torch.float32, 8, 0.1)], ids=str
)
def test_a_table_does_not_grow_by_its_labels(dtype: torch.dtype, d: int, ratio: float) -> None:
    """Five bytes a row are more than narrow tables lose."""
    model = torch.nn.Sequential(torch.nn.Embedding(300, d).to(dtype))
    for dry_run in (True, False):
        report = squeezed(model, ratio=ratio, dry_run=dry_run)
        assert "5 bytes a row" in report.left_alone[0].note
        assert report.bytes_after == report.bytes_before
    assert squeezed(model, ratio=ratio, force=True).layers[0].compressed


@pytest.mark.parametrize("n", range(1, 9))
@pytest.mark.parametrize("d", [1, 2, 40])
def test_tiny_tables(n: int, d: int) -> None:
    model = torch.nn.Sequential(torch.nn.Embedding(n, d, padding_idx=n - 1))
    report = squeezed(model, certify=True)
    layer = report.layers[0]
    assert report.parameters_after == sum(q.numel() for q in model.parameters())
    assert report.bytes_after == sum(x.nbytes for x in model.state_dict().values())
    if layer.compressed:
        assert layer.parameters_after <= 0.6 * n * d
        assert layer.bytes_after < layer.bytes_before
        assert layer.cost is not None
        assert layer.lower_bound is not None
        assert layer.lower_bound <= layer.cost
    assert model(torch.arange(n)).shape == (n, d)


@pytest.mark.parametrize("value", [0.0, 0.3])
def test_rows_that_are_all_the_same(value: float) -> None:
    table = torch.nn.Embedding(100, 8)
    torch.nn.init.constant_(table.weight, value)
    model = torch.nn.Sequential(table)
    squeezed(model)
    torch.testing.assert_close(model[0].weight, torch.full((100, 8), value))


def test_powers_out_of_range_cost_no_descent(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: Any, **options: Any) -> Any:
        raise AssertionError("it was solved first")

    monkeypatch.setattr("lpgeom.nn.factors.factor.approx_mixed", never)
    weight = 1e200 * torch.randn(100, 8, dtype=torch.float64)
    with pytest.raises(ValueError, match="leave the range of float64"):
        factorise_mixed(weight, 300, Spec(p=2.0, subspaces=2, ranks="mixed"))


def test_two_embeddings_that_share_a_weight() -> None:
    class Two(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = torch.nn.Embedding(TOKENS, 8, padding_idx=0)
            self.b = torch.nn.Embedding(TOKENS, 8, padding_idx=3)
            self.b.weight = self.a.weight

    model: Any = Two()
    report = squeezed(model)
    assert report.layers[0].tied == ("b",)
    assert (model.a.padding_idx, model.b.padding_idx) == (0, 3)
    assert all(x is y for x, y in zip(model.a.lefts, model.b.lefts, strict=True))


# ---------------------------------------------------------------- resized


SEQUENCE_MODELS = {
    "marian": lambda: marian(shared=True),
    "marian, two vocabularies": marian,
    "pegasus": pegasus,
    "bart": plain_bart,
}


@pytest.mark.parametrize("ranks", ["equal", "mixed"])
@pytest.mark.parametrize("layers", ["embeddings", ["embeddings", "model.decoder.embed_tokens"]])
def test_a_decoder_with_its_own_tokens_is_resized(ranks: str, layers: Any) -> None:
    """Its embedding is tied to the output layer, not to what the model calls its input's."""
    model = marian()
    squeezed(model, ratio=None, rank=3, ranks=ranks, subspaces=2, layers=layers)
    decoder, head = model.model.decoder.embed_tokens, model.lm_head
    nn.resize_token_embeddings(model, 110)
    assert (decoder.num_embeddings, head.out_features) == (110, 110)
    for name, parameter in head.named_parameters():
        assert parameter is decoder.get_parameter(name)
    ids = torch.tensor([[0, 99, 109]])
    torch.testing.assert_close(head(torch.eye(16)).T, decoder(torch.arange(110)))
    assert torch.isfinite(model.model(input_ids=ids, decoder_input_ids=ids)[0]).all()
    if ranks == "mixed":
        assert isinstance(model.model.encoder.embed_tokens, LowRankEmbedding)


@pytest.mark.parametrize("tokens", [110, 90])
@pytest.mark.parametrize("options", [{"subspaces": 1}, {"subspaces": 2}, {}], ids=str)
@pytest.mark.parametrize("family", SEQUENCE_MODELS)
def test_the_bias_of_logits_is_resized(
    family: str, options: dict[str, Any], tokens: int, tmp_path: Path
) -> None:
    """`final_logits_bias`: a buffer, which transformers' models resize in methods of their own."""
    model = SEQUENCE_MODELS[family]()
    bias = torch.randn(1, 100)
    model.final_logits_bias.copy_(bias)
    squeezed(model, **options)
    ids = torch.tensor([[5, 7, 80, 1]])

    def logits(model: Any) -> torch.Tensor:
        with torch.no_grad():
            return model(input_ids=ids, decoder_input_ids=ids).logits  # type: ignore[no-any-return]

    before = logits(model)
    nn.resize_token_embeddings(model, tokens)
    kept = min(tokens, 100)
    assert torch.equal(model.final_logits_bias[:, :kept], bias[:, :kept])
    assert model.final_logits_bias[:, kept:].abs().sum() == 0.0
    assert logits(model).shape == (1, 4, tokens)
    torch.testing.assert_close(logits(model)[..., :kept], before[..., :kept])
    assert torch.isfinite(model(input_ids=ids, labels=ids).loss)

    nn.save_pretrained(model, tmp_path)
    assert torch.equal(logits(nn.load_pretrained(tmp_path)), logits(model))
    if "two" not in family:  # of two vocabularies transformers resizes one at a time
        dense = SEQUENCE_MODELS[family]()
        dense.resize_token_embeddings(tokens)
        assert model.final_logits_bias.shape == dense.final_logits_bias.shape
        for name in ("vocab_size", "decoder_vocab_size"):
            assert getattr(model.config, name, None) == getattr(dense.config, name, None)


def test_a_bias_of_logits_keeps_its_type_and_stays_a_buffer() -> None:
    model = marian(shared=True).to(torch.float64)
    squeezed(model, subspaces=1)
    before = set(model.state_dict())
    nn.resize_token_embeddings(model, 110)
    assert model.final_logits_bias.dtype == torch.float64
    assert set(model.state_dict()) == before
    assert "final_logits_bias" in dict(model.named_buffers())


def test_another_vocabulary_keeps_its_bias_of_logits() -> None:
    """Where the decoder has its own number of tokens, only the encoder's changes."""
    torch.manual_seed(0)
    config = transformers.MarianConfig(
        **SEQUENCES, decoder_vocab_size=120, share_encoder_decoder_embeddings=False
    )
    model: Any = transformers.MarianMTModel(config).eval()
    squeezed(model, subspaces=1)
    nn.resize_token_embeddings(model, 110)
    assert model.final_logits_bias.shape == (1, 120)
    assert (model.config.vocab_size, model.config.decoder_vocab_size) == (110, 120)
    if model.lm_head.out_features != 120:
        pytest.skip("this version of transformers makes an output layer of the encoder's tokens")
    ids = torch.tensor([[5, 109]])
    assert model(input_ids=ids, decoder_input_ids=ids + 10).logits.shape == (1, 2, 120)


def test_an_embedding_of_bart_s_own_type_is_resized_by_bart() -> None:
    model = bart()
    if type(model.model.shared) is torch.nn.Embedding:
        pytest.skip("this version of transformers scales in the encoder and the decoder")
    squeezed(model, layers="linear")
    with pytest.raises(TypeError, match="the model's own"):
        nn.resize_token_embeddings(model, 110)
    model.resize_token_embeddings(110)
    ids = torch.tensor([[5, 109]])
    assert model(input_ids=ids, decoder_input_ids=ids).logits.shape == (1, 2, 110)


def test_words_of_models_inside_of_others() -> None:
    """Positions and token types are left alone whatever a model calls its input embeddings."""
    inside = small("bert").bert
    for model in (
        torch.nn.Sequential(inside, torch.nn.Embedding(30, 12)),
        torch.nn.Sequential(torch.nn.ModuleDict({"model": Whole(inside)})),
    ):
        report = squeezed(model, dry_run=True)
        taken = [layer.name for layer in report.layers if layer.rank is not None]
        assert [name.rpartition(".")[2] for name in taken] == ["word_embeddings"]
        assert len(report.layers) > 1
        assert all(x.note for x in report.layers if x.rank is None)


class Whole(torch.nn.Module):
    """What looks tokens up is called by its name together with positions and token types."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def get_input_embeddings(self) -> torch.nn.Module:
        return self.model.embeddings


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_positions_that_no_file_holds_in_16_bits(dtype: torch.dtype, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = transformers.M2M100Config(
        vocab_size=60, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=24, decoder_ffn_dim=24,
    )  # fmt: skip
    model = transformers.M2M100ForConditionalGeneration(config).to(dtype).eval()
    squeezed(model, rank=4, ratio=None)
    nn.save_pretrained(model, tmp_path)
    ids = torch.tensor([[5, 17, 3]])
    with torch.no_grad():
        found = nn.load_pretrained(tmp_path)(input_ids=ids, decoder_input_ids=ids).logits
        assert found.dtype == dtype
        assert torch.equal(found, model(input_ids=ids, decoder_input_ids=ids).logits)
