"""Saved and loaded: bit for bit, all or nothing, and nothing that is damaged or hostile."""

from __future__ import annotations

import copy
import json
import os
import pickle
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models import Nested, Tied, assert_unchanged, embedding, linear, random_, same_bits, snapshot
from torch import nn

from lpgeom.io.checksum import sha256_of
from lpgeom.nn import (
    CompressionReport,
    LowRankEmbedding,
    compress,
    decompress,
    load_pretrained,
    save_pretrained,
)
from lpgeom.nn.stored.recipe import CheckpointError, read_recipe


def squeezed(model: nn.Module, **options: Any) -> tuple[nn.Module, CompressionReport]:
    options = {"rank": 3, "p": 2.0, "layers": "all", "progress": False, **options}
    return model, compress(model, **options)


def assert_same(a: nn.Module, b: nn.Module) -> None:
    x, y = a.state_dict(keep_vars=True), b.state_dict(keep_vars=True)
    assert list(x) == list(y)
    for name in x:
        assert same_bits(x[name].detach(), y[name].detach()), name
    # The same names share the same tensors.
    for first in x:
        assert {n for n in x if x[n] is x[first]} == {n for n in y if y[n] is y[first]}


def tensors_of(folder: Path) -> Path:
    (path,) = folder.glob("lpgeom-*.safetensors")
    return path


# ---- round trips


@pytest.mark.parametrize("make", [Tied, Nested])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("subspaces", [1, 2])
def test_the_same_bit_for_bit(
    make: Any, dtype: torch.dtype, subspaces: int, tmp_path: Path
) -> None:
    model, report = squeezed(make().to(dtype), subspaces=subspaces)
    model.eval()
    save_pretrained(model, tmp_path / "a" / "b", report=report)
    again = load_pretrained(tmp_path / "a" / "b", model=make())
    assert_same(again, model)
    assert not again.training
    ids = torch.arange(50)
    assert torch.equal(again(ids), model(ids))
    assert read_recipe(tmp_path / "a" / "b").report == report
    again(ids).float().sum().backward()
    # Into a skeleton that is in factors itself, and from what was loaded.
    save_pretrained(again, tmp_path / "c")
    assert_same(load_pretrained(tmp_path / "c", model=copy.deepcopy(model)), model)
    assert tensors_of(tmp_path / "c").read_bytes() == tensors_of(tmp_path / "a" / "b").read_bytes()


def test_what_is_not_compressed_is_stored_too(tmp_path: Path) -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(50, 8)
            self.norm = nn.BatchNorm1d(8)
            self.scalar = nn.Parameter(torch.tensor(3.0))
            self.none = nn.Parameter(torch.zeros(0, 4))
            self.register_buffer("mask", torch.tensor([True, False]))
            self.register_buffer("passing", torch.ones(2), persistent=False)
            self.register_buffer("twin", self.mask)

    model = random_(Odd())
    model.norm.num_batches_tracked += 5
    save_pretrained(model, tmp_path)  # nothing compressed at all
    assert_same(load_pretrained(tmp_path, model=Odd()), model)
    squeezed(model, layers="embed")
    save_pretrained(model, tmp_path)
    again = load_pretrained(tmp_path, model=Odd())
    assert_same(again, model)
    assert again.twin is again.mask
    assert torch.equal(again.passing, torch.ones(2))


def test_options_of_embeddings_survive(tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "padding_idx": 3, "max_norm": 2.0, "norm_type": float("inf"), "scale_grad_by_freq": True,
        "sparse": True,
    }  # fmt: skip
    model = nn.Sequential(embedding(**options), embedding(), linear(j=2, bias=False))
    save_pretrained(model, tmp_path)
    skeleton = nn.Sequential(nn.Embedding(20, 6), nn.Embedding(20, 6), nn.Linear(6, 8, bias=False))
    again = load_pretrained(tmp_path, model=skeleton)
    assert_same(again, model)
    assert {key: getattr(again[0], key) for key in options} == options
    assert again[1].max_norm is None
    assert again[1].norm_type == 2.0


def test_state_dict_round_trip() -> None:
    model, _ = squeezed(Tied(), subspaces=2)
    fresh, _ = squeezed(Tied(), subspaces=2, seed=5)
    with torch.no_grad():
        for value in fresh.state_dict().values():
            value.zero_()
    fresh.load_state_dict(model.state_dict(), strict=True)
    assert_same(fresh, model)
    assert decompress(fresh) == 2
    with pytest.raises(RuntimeError, match="Missing key"):
        fresh.load_state_dict(model.state_dict())


def test_a_device_and_saving_leave_the_model_alone(tmp_path: Path) -> None:
    model, report = squeezed(Tied())
    before = snapshot(model)
    save_pretrained(model, tmp_path, report=report)
    assert_unchanged(model, before)
    again = load_pretrained(str(tmp_path), model=Tied(), device="cpu")
    assert next(again.parameters()).device == torch.device("cpu")


def test_what_cannot_be_stored(tmp_path: Path) -> None:
    class Extra(nn.Linear):
        def get_extra_state(self) -> Any:
            return {"a": 1}

    for bad, error, match in (
        ({"weight": torch.ones(2)}, TypeError, "model must be a torch.nn.Module"),
        (nn.Linear(3, 3, device="meta"), ValueError, "weight has no data"),
        (nn.Linear(3, 3, dtype=torch.complex64), TypeError, "complex64"),
        (Extra(3, 3), TypeError, "extra state"),
    ):
        with pytest.raises(error, match=match):
            save_pretrained(bad, tmp_path / "none")  # type: ignore[arg-type]
    assert not list(tmp_path.glob("**/*.*"))


def test_the_old_model_stays_until_the_new_one_is_there(tmp_path: Path) -> None:
    old, _ = squeezed(Tied())
    save_pretrained(old, tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    broken, _ = squeezed(Tied(), rank=5)
    broken.register_buffer("wrong", torch.ones(2, dtype=torch.complex64))
    files = sorted(os.listdir(tmp_path))
    with pytest.raises(TypeError, match="complex64"):
        save_pretrained(broken, tmp_path)
    assert sorted(os.listdir(tmp_path)) == files
    assert_same(load_pretrained(tmp_path, model=Tied()), old)
    new, _ = squeezed(Tied(), rank=5)
    save_pretrained(new, tmp_path)
    assert_same(load_pretrained(tmp_path, model=Tied()), new)
    assert len(os.listdir(tmp_path)) == 3
    assert (tmp_path / "notes.txt").read_text() == "mine"


KILLED = """
import os, signal, sys, time, torch
from pathlib import Path
from lpgeom.nn import LowRankEmbedding, save_pretrained
models = [torch.nn.Sequential(LowRankEmbedding(4000, 64, 8 + i, device="cpu")) for i in range(2)]
for i, model in enumerate(models):
    torch.nn.init.constant_(model[0].left, float(i)), torch.nn.init.ones_(model[0].right)
for i in range(5):
    folder = Path(sys.argv[1]) / str(i)
    child = os.fork()
    if child == 0:
        while True:
            for model in models:
                save_pretrained(model, folder)
    while not (folder / "lpgeom.json").exists():
        time.sleep(0.001)
    time.sleep(0.005 * i)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks the process that is killed")
def test_killed_while_saving(tmp_path: Path) -> None:
    """Two models in turn over one another, killed at any moment: always one of the two."""
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", KILLED, tmp_path], env=one_thread, check=True)
    for i in range(5):
        folder = tmp_path / str(i)
        again = load_pretrained(folder, model=nn.Sequential(nn.Embedding(4000, 64)))
        value = {8: 0.0, 9: 1.0}[again[0].rank]
        assert bool((again[0].left == value).all())
        save_pretrained(again, folder)
        assert len(list(folder.glob("*.safetensors"))) == 1


# ---- models of transformers


def tiny_bert(hidden: int = 16) -> Any:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=60, hidden_size=hidden, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=24, max_position_embeddings=16,
    )  # fmt: skip
    torch.manual_seed(hidden)
    return transformers.BertForMaskedLM(config).eval()


def test_a_model_of_transformers_and_its_config_change_in_one_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, _ = squeezed(tiny_bert(), layers="embeddings")
    save_pretrained(old, tmp_path)
    assert_same(load_pretrained(tmp_path), old)
    new, _ = squeezed(tiny_bert(24), layers="embeddings")
    import lpgeom.nn.stored.checkpoint as checkpoint

    monkeypatch.setattr(checkpoint, "write", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        save_pretrained(new, tmp_path)
    monkeypatch.undo()
    assert_same(load_pretrained(tmp_path), old)
    # Killed after the recipe, before config.json: the recipe's own config counts.
    stale = (tmp_path / "config.json").read_text()
    save_pretrained(new, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["hidden_size"] == 24
    (tmp_path / "config.json").write_text(stale)
    assert_same(load_pretrained(tmp_path), new)
    ids = torch.arange(5)[None]
    with torch.no_grad():
        assert torch.equal(load_pretrained(tmp_path)(ids).logits, new(ids).logits)


def test_how_text_is_generated_is_kept(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        vocab_size=60, n_embd=16, n_layer=1, n_head=2, n_positions=16, bos_token_id=1,
        eos_token_id=2,
    )  # fmt: skip
    model, _ = squeezed(transformers.GPT2LMHeadModel(config).eval())
    model.generation_config.max_new_tokens = 3
    model.generation_config.pad_token_id = 2
    save_pretrained(model, tmp_path)
    again = load_pretrained(tmp_path)
    assert_same(again, model)
    assert again.generation_config.max_new_tokens == 3
    ids = torch.tensor([[5, 6, 7]])
    assert torch.equal(again.generate(ids, do_sample=False), model.generate(ids, do_sample=False))
    # Two writers may leave one model's recipe and the other's file: the recipe's own text counts.
    (tmp_path / "generation_config.json").write_text("{")
    assert load_pretrained(tmp_path).generation_config.max_new_tokens == 3
    # Older versions wrote the file alone.
    rewritten(tmp_path, lambda values: values.pop("generation"))
    with pytest.raises(CheckpointError, match="makes no GPT2LMHeadModel"):
        load_pretrained(tmp_path)


def test_a_compressed_directory_is_no_source(tmp_path: Path) -> None:
    from lpgeom.nn.compression import compress_directory
    from lpgeom.nn.plan.options import Options

    save_pretrained(squeezed(tiny_bert(), layers="embeddings")[0], tmp_path / "a")
    with pytest.raises(CheckpointError, match="a: is compressed already"):
        compress_directory(tmp_path / "a", tmp_path / "b", Options.checked(rank=2))
    assert not (tmp_path / "b").exists()


def rewritten(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = folder / "lpgeom.json"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def test_configs_of_another_kind(tmp_path: Path) -> None:
    model, _ = squeezed(tiny_bert(), layers="embeddings")
    save_pretrained(model, tmp_path)
    kept = json.loads((tmp_path / "lpgeom.json").read_text())
    config = json.loads(kept["config"])

    def fails(match: str | None, **changed: Any) -> None:
        rewritten(tmp_path, lambda values: values.update(kept | changed))
        with pytest.raises(CheckpointError, match=match):
            load_pretrained(tmp_path)

    for name in ("pipeline", "os", "Trainer", "AutoModel", "BertTokenizer", "no_such_thing"):
        fails(f"no model class {name}", model=name)
    for name in ("PreTrainedModel", "GPT2LMHeadModel", "T5Model", "BertModel"):
        fails(None, model=name)
    for bad in ("os.system", "a b", "", "../x"):
        fails("damaged", model=bad)
    fails("is not a class of transformers; pass", library=None)
    fails("damaged", library="torch")
    fails("damaged", config={"hidden_size": 16})
    for text in ("", "[]", "null", "{", "5", '{"hidden_size": "x"}'):
        fails("config makes no BertForMaskedLM", config=text)
    for key, value in (
        ("hidden_size", 17), ("hidden_size", 10**12), ("hidden_size", -4), ("vocab_size", 10**15),
        ("vocab_size", 61), ("num_attention_heads", 0), ("num_hidden_layers", 2),
        ("hidden_act", "no such"), ("hidden_size", None), ("hidden_size", [16]),
        ("intermediate_size", 10**11),
    ):  # fmt: skip
        fails(None, config=json.dumps(config | {key: value}))
    (tmp_path / "config.json").unlink()
    fails("config.json is missing", config=None)


# ---- damaged and hostile directories


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    model, report = squeezed(Tied(), subspaces=2)
    save_pretrained(model, tmp_path, report=report)
    return tmp_path


def load(folder: Path) -> nn.Module:
    return load_pretrained(folder, model=Tied())


def test_no_such_model(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such directory"):
        load(tmp_path / "none")
    with pytest.raises(CheckpointError, match=r"no lpgeom\.json; this is not a model saved"):
        load(tmp_path)
    (tmp_path / "lpgeom.json").mkdir()
    with pytest.raises(CheckpointError, match=r"no lpgeom\.json"):
        load(tmp_path)


def test_damaged_tensors(saved: Path) -> None:
    path = tensors_of(saved)
    good = path.read_bytes()
    for bad in (b"", good[:7], good[:-1], good[: len(good) // 2], good + b"\0"):
        path.write_bytes(bad)
        with pytest.raises(CheckpointError, match="its checksum is not the one"):
            load(saved)
    for at in (0, 9, len(good) // 2, len(good) - 1):
        flipped = bytearray(good)
        flipped[at] ^= 1
        path.write_bytes(flipped)
        with pytest.raises(CheckpointError, match="checksum"):
            load(saved)
    other = saved / "other"
    save_pretrained(squeezed(Tied(), subspaces=2, seed=9)[0].double(), other)
    shutil.copy(tensors_of(other), path)
    with pytest.raises(CheckpointError, match="checksum"):
        load(saved)
    path.unlink()
    with pytest.raises(CheckpointError, match=f"{path.name} is missing"):
        load(saved)


@pytest.mark.parametrize(
    "content", [b"", b"\x80\x04", b"not tensors at all", b"\xff" * 64, b"\0" * 64, pickle.dumps({})]
)
def test_files_that_are_no_tensors_although_the_checksum_fits(saved: Path, content: bytes) -> None:
    path = tensors_of(saved)
    path.write_bytes(content)
    rewritten(saved, lambda values: values.update(sha256=sha256_of(path)))
    with pytest.raises(CheckpointError):
        load(saved)


def test_versions_and_foreign_recipes(saved: Path) -> None:
    path = saved / "lpgeom.json"
    good = path.read_text()
    for version in (0, 4, "1", None):
        rewritten(saved, lambda values, version=version: values.update(version=version))
        with pytest.raises(
            CheckpointError, match=rf"version {version!r} of the format.*reads vers"
        ):
            load(saved)
        path.write_text(good)
    for text in ("{}", "[]", "null", "5", '"x"', '{"format": "other"}', '{"model_type": "bert"}'):
        path.write_text(text)
        with pytest.raises(CheckpointError, match="not a recipe of"):
            load(saved)
    for raw in (b"", b"{", good[:-20].encode(), b"\xff\xfe", b"[" * 100_000, b"9" * 5000):
        path.write_bytes(raw)
        with pytest.raises(CheckpointError, match="damaged|not a recipe"):
            load(saved)


def test_a_model_of_another_structure(saved: Path) -> None:
    for wrong, match in (
        (Tied(121), r"embed is \(121, 20\) in the model, 120 x 20 in the saved one"),
        (Tied(120, 21), "embed is"),
        (Nested(), "has no layer embed"),
        (nn.Linear(3, 3), "has no layer embed"),
    ):
        before = snapshot(wrong)
        with pytest.raises(CheckpointError, match=match):
            load_pretrained(saved, model=wrong)
        assert_unchanged(wrong, before)
    more = Tied()
    more.more = nn.Linear(2, 2)
    with pytest.raises(CheckpointError, match=r"more\.bias is missing"):
        load_pretrained(saved, model=more)
    less = Tied()
    del less.scale
    with pytest.raises(CheckpointError, match="the stored tensor scale does not fit"):
        load_pretrained(saved, model=less)
    swapped = Tied()
    swapped.embed, swapped.head = swapped.head, swapped.embed
    with pytest.raises(CheckpointError, match="embed is a linear in the model, an embedding in"):
        load_pretrained(saved, model=swapped)
    with pytest.raises(CheckpointError, match="pass load_pretrained"):
        load_pretrained(saved)


def first(values: dict[str, Any]) -> dict[str, Any]:
    layer: dict[str, Any] = values["layers"][0]
    return layer


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v.update(tensors="../lpgeom-00000000.safetensors"),
        lambda v: v.update(tensors="/etc/passwd"),
        lambda v: v.update(tensors="pytorch_model.bin"),
        lambda v: v.update(tensors=None),
        lambda v: v.update(sha256=5),
        lambda v: v.update(sha256=""),
        lambda v: v.update(layers=5),
        lambda v: v.update(layers=v["layers"] * 2),
        lambda v: v.update(layers=[]),
        lambda v: v.update(aliases={}),
        lambda v: v.update(aliases={"head.left": "inner.left"}),
        lambda v: v["aliases"].update({"scale": "inner.left"}),
        lambda v: v["aliases"].update({"head.bias": "scale"}),
        lambda v: v["aliases"].update({"..": "embed.left"}),
        lambda v: v["aliases"].update({"head.left": 5}),
        lambda v: v.update(report=5),
        lambda v: v.update(report={"layers": [{"shape": []}]}),
        lambda v: v["report"]["layers"][0].update(shape=[float("inf"), 2]),
        lambda v: v["report"].pop("model"),
        lambda v: first(v).update(name=".."),
        lambda v: first(v).update(name=""),
        lambda v: first(v).update(name="__class__"),
        lambda v: first(v).update(name="embed.__init__"),
        lambda v: first(v).update(name="embed.weight"),
        lambda v: first(v).update(name=["embed"]),
        lambda v: first(v).update(kind="linear", options={"bias": False}),
        lambda v: first(v).update(kind="parameter", options={"shape": [120, 20]}),
        lambda v: first(v).update(kind="os"),
        lambda v: first(v).update(n=121),
        lambda v: first(v).update(n=20, d=120),
        lambda v: first(v).update(rank=0),
        lambda v: first(v).update(rank=4),
        lambda v: first(v).update(rank=2**61),
        lambda v: first(v).update(rank=10**30),
        lambda v: first(v).update(rank=2.0),
        lambda v: first(v).update(rank=True),
        lambda v: first(v).update(subspaces=2**40),
        lambda v: first(v).update(subspaces=1),
        lambda v: first(v).update(subspaces=3),
        lambda v: first(v).update(more=1),
        lambda v: first(v).pop("rank"),
        lambda v: first(v)["options"].update(padding_idx=120),
        lambda v: first(v)["options"].update(padding_idx=1.5),
        lambda v: first(v)["options"].update(max_norm="long"),
        lambda v: first(v)["options"].update(norm_type=None),
        lambda v: first(v)["options"].update(norm_type=float("nan")),
        lambda v: first(v)["options"].update(sparse="no"),
        lambda v: first(v)["options"].update(device="cuda"),
        lambda v: first(v)["options"].pop("sparse"),
        lambda v: first(v).update(options=[]),
    ],
)  # fmt: skip
def test_hostile_recipes(saved: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    rewritten(saved, change)
    started = time.perf_counter()
    with pytest.raises(CheckpointError):
        load(saved)
    assert time.perf_counter() - started < 30.0


def test_labels_that_are_none(saved: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = tensors_of(saved)
    # Copies: what load_file returns may be a map of the file that is written below.
    good = {name: tensor.clone() for name, tensor in load_file(path).items()}
    for wrong in (
        good["embed.labels"] + 2, good["embed.labels"].float(), good["embed.labels"].long(),
        -good["embed.labels"].int() - 1,
    ):  # fmt: skip
        save_file(good | {"embed.labels": wrong}, path)
        rewritten(saved, lambda values: values.update(sha256=sha256_of(path)))
        with pytest.raises(CheckpointError, match="embed has labels that are none"):
            load(saved)


def test_nothing_is_unpickled(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pytorch_model.bin", "model.pt", "lpgeom.pkl"):
        (saved / name).write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")

    def never(*args: Any, **options: Any) -> None:
        raise AssertionError("unpickled")

    for owner, name in (
        (pickle, "load"),
        (pickle, "loads"),
        (pickle, "Unpickler"),
        (torch, "load"),
    ):
        monkeypatch.setattr(owner, name, never)
    load(saved)


# ---- any change of a recipe


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [at]
    if isinstance(value, dict):
        for key, below in value.items():
            found += paths(below, (*at, key))
    elif isinstance(value, list):
        for i, below in enumerate(value):
            found += paths(below, (*at, i))
    return found


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from([2**31, 2**62, 10**400, "../../x", "embed", "inf", "os", "\ud800"]),
    lambda below: (
        st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=5), below, max_size=3)
    ),
    max_leaves=5,
)  # fmt: skip


@pytest.fixture(scope="module")
def small_saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], nn.Module]:
    folder = tmp_path_factory.mktemp("small")
    model, report = squeezed(Tied(40, 16), subspaces=2, rank=2)
    save_pretrained(model, folder, report=report)
    return folder, json.loads((folder / "lpgeom.json").read_text()), model


@settings(deadline=None, derandomize=True, max_examples=250)
@given(st.data())
def test_any_change_is_an_error_or_the_same_model(
    small_saved: tuple[Path, dict[str, Any], nn.Module], data: st.DataObject
) -> None:
    folder, recipe, model = small_saved
    recipe = copy.deepcopy(recipe)
    for _ in range(data.draw(st.integers(1, 2))):
        where = data.draw(st.sampled_from([p for p in paths(recipe) if p and "spectrum" not in p]))
        inner: Any = recipe
        for key in where[:-1]:
            inner = inner[key]
        if data.draw(st.booleans()):
            inner[where[-1]] = data.draw(values)
        else:
            del inner[where[-1]]
    (folder / "lpgeom.json").write_text(json.dumps(recipe))
    try:
        again = load_pretrained(folder, model=Tied(40, 16))
    except CheckpointError:
        return
    ours, theirs = model.state_dict(), again.state_dict()
    assert ours.keys() == theirs.keys()
    ids = torch.tensor([0, 3, 39])
    assert isinstance(again.embed, LowRankEmbedding)
    for name in ours:
        assert same_bits(ours[name], theirs[name])
    if again.embed.max_norm is None:
        assert torch.equal(again(ids), model.eval()(ids))
