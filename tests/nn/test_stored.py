"""Directories that several write to, and what a directory may not make a reader do."""

from __future__ import annotations

import builtins
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from test_checkpoint import assert_same, rewritten, squeezed, tensors_of, tiny_bert
from torch import nn

from lpgeom.nn import LowRankEmbedding, compress, load_pretrained, save_pretrained
from lpgeom.nn.compression import compress_directory
from lpgeom.nn.plan.options import Options
from lpgeom.nn.stored import checkpoint
from lpgeom.nn.stored.directory import structure
from lpgeom.nn.stored.huggingface import permitted
from lpgeom.nn.stored.recipe import CheckpointError

# ---- two writers


def constant(rank: int) -> nn.Module:
    model = nn.Sequential(LowRankEmbedding(300, 16, rank, device="cpu"))
    nn.init.constant_(model[0].left, float(rank))
    nn.init.ones_(model[0].right)
    return model


def whole(folder: Path) -> int:
    """The rank of the model that is there, which is one of `constant`."""
    again = load_pretrained(folder, model=nn.Sequential(nn.Embedding(300, 16)))
    assert bool((again[0].left == float(again[0].rank)).all())
    return int(again[0].rank)


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_stored import constant, save_pretrained, whole
folder, rank = Path(sys.argv[2]), int(sys.argv[3])
model = constant(rank or 1)
print("ready", flush=True)
input()
for _ in range(150):
    save_pretrained(model, folder) if rank else whole(folder)
"""


def test_processes_that_write_and_read_one_directory(tmp_path: Path) -> None:
    save_pretrained(constant(2), tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    here = str(Path(__file__).parent)
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    with contextlib.ExitStack() as stack:
        running = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", WRITER, here, str(tmp_path), str(rank)],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=one_thread,
                )
            )
            for rank in (3, 4, 0)
        ]  # fmt: skip
        for process in running:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in running:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in running:
            process.wait(300)
    assert [process.returncode for process in running] == [0, 0, 0]
    assert whole(tmp_path) in (3, 4)
    # Nothing of the others is left, and what is not a model's stays.
    assert {path.name for path in tmp_path.iterdir()} == {
        "notes.txt", "lpgeom.json", tensors_of(tmp_path).name,
    }  # fmt: skip


def test_threads_that_write_one_directory(tmp_path: Path) -> None:
    models = [constant(3), constant(4)]
    for i in range(10):
        folder = tmp_path / str(i)
        threads = [threading.Thread(target=save_pretrained, args=(m, folder)) for m in models]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert whole(folder) in (3, 4)
        assert len(os.listdir(folder)) == 2


@contextlib.contextmanager
def without_locks(folder: Path) -> Iterator[bool]:
    yield False


@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize("step", range(3))
def test_another_writer_between_any_two_steps(
    step: int, same: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a file system has no locks: at every moment, and at the end, one of the models."""
    save_pretrained(constant(2), tmp_path)
    other = constant(3 if same else 4)
    monkeypatch.setattr(checkpoint, "_alone", without_locks)
    replace, done = os.replace, 0

    def interrupted(source: Any, target: Any) -> None:
        nonlocal done
        monkeypatch.setattr(os, "replace", replace)
        if Path(target).parent == tmp_path:
            if done == step:
                done = 99
                save_pretrained(other, tmp_path)
                assert whole(tmp_path) == other[0].rank
            done += 1
        replace(source, target)
        assert whole(tmp_path) in (2, 3, 4)
        monkeypatch.setattr(os, "replace", interrupted)

    monkeypatch.setattr(os, "replace", interrupted)
    save_pretrained(constant(3), tmp_path)
    monkeypatch.setattr(os, "replace", replace)
    assert done >= 2
    assert whole(tmp_path) == 3
    monkeypatch.undo()
    save_pretrained(constant(5), tmp_path)  # a writer that can lock clears up
    assert whole(tmp_path) == 5
    assert len(os.listdir(tmp_path)) == 2


def test_writers_wait_for_one_another(tmp_path: Path) -> None:
    save_pretrained(constant(2), tmp_path)
    other = threading.Thread(target=save_pretrained, args=(constant(3), tmp_path))
    with checkpoint._alone(tmp_path) as alone:
        if not alone:
            pytest.skip("no locks here")
        other.start()
        other.join(0.3)
        assert other.is_alive()
        assert whole(tmp_path) == 2  # readers do not wait
    other.join(30)
    assert whole(tmp_path) == 3


@pytest.mark.parametrize("step", ["sha256_of", "load_file"])
@pytest.mark.parametrize("last", [3, 2])
def test_a_reader_whose_tensors_are_replaced(
    step: str, last: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice; and by others, then by the same once more."""
    save_pretrained(constant(2), tmp_path)
    others = [constant(rank) for rank in ((2, 4) if last == 2 else (3, 4, 5))]
    real = getattr(checkpoint, step)

    def late(path: Path) -> Any:
        monkeypatch.setattr(checkpoint, step, real)
        save_pretrained(others.pop(), tmp_path)
        try:
            return real(path)
        finally:
            if len(others) > 1:
                monkeypatch.setattr(checkpoint, step, late)
            elif others:
                save_pretrained(others.pop(), tmp_path)

    monkeypatch.setattr(checkpoint, step, late)
    assert whole(tmp_path) == last
    assert not others


def test_a_config_of_an_older_version_that_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its recipe does not hold the config: read beside a writer it may be another model's."""
    old, new = (squeezed(tiny_bert(hidden), layers="embeddings")[0] for hidden in (16, 24))
    save_pretrained(old, tmp_path)
    rewritten(tmp_path, lambda values: [values.pop(key) for key in ("config", "generation")])
    assert_same(load_pretrained(tmp_path), old)
    read = checkpoint.load_file

    def late(path: Path) -> Any:
        monkeypatch.setattr(checkpoint, "load_file", read)
        found = read(path)
        save_pretrained(new, tmp_path)
        return found

    monkeypatch.setattr(checkpoint, "load_file", late)
    assert_same(load_pretrained(tmp_path), new)


def test_two_commands_with_one_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_bert().save_pretrained(tmp_path / "in")
    rename = os.rename

    def late(source: Any, target: Any) -> None:
        if Path(target) == tmp_path / "out":
            monkeypatch.setattr(os, "rename", rename)
            compress_directory(tmp_path / "in", tmp_path / "out", Options.checked(rank=3))
        rename(source, target)

    monkeypatch.setattr(os, "rename", late)
    with pytest.raises(FileExistsError, match="exists already"):
        compress_directory(tmp_path / "in", tmp_path / "out", Options.checked(rank=2))
    ranks = {layer.rank for layer in checkpoint.read_recipe(tmp_path / "out").layers}
    assert ranks == {3}
    load_pretrained(tmp_path / "out")
    assert sorted(os.listdir(tmp_path)) == ["in", "out"]


# ---- weights that were there before


def test_old_weights_do_not_stay(tmp_path: Path) -> None:
    model = tiny_bert()
    model.save_pretrained(tmp_path, max_shard_size="10KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    old = [
        "model.safetensors", "pytorch_model.bin", "pytorch_model-00001-of-00002.bin",
        "pytorch_model.bin.index.json", "tf_model.h5", "flax_model.msgpack",
        "model.fp16.safetensors", "model.fp16-00001-of-00002.safetensors",
        "model.safetensors.index.fp16.json", "model.ckpt.index",
    ]  # fmt: skip
    mine = [
        "vocab.txt",
        "model-notes.bin",
        "my_model.safetensors",
        "model.safetensors.txt",
        "x.bin",
    ]
    for name in old + mine:
        (tmp_path / name).write_bytes(b"")
    squeezed(model, layers="embeddings")
    save_pretrained(model, tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"config.json", "lpgeom.json", tensors_of(tmp_path).name, *mine} | (
        {"generation_config.json"} & left
    )
    assert_same(load_pretrained(tmp_path), model)


def test_weights_beside_a_model_of_another_library_stay(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"mine")
    save_pretrained(constant(2), tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == b"mine"


# ---- hostile directories


class Reached(BaseException):
    """Not an Exception: nothing may take it for an error of its own."""


@pytest.fixture
def nothing_reached(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """No host name is resolved, nothing connected to, no code imported that is not installed."""
    reached: list[str] = []

    def never(name: str) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            reached.append(f"{name} {args}")
            raise Reached(name)

        return call

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    for name in ("getaddrinfo", "gethostbyname", "create_connection"):
        monkeypatch.setattr(socket, name, never(name))
    monkeypatch.setattr(socket.socket, "connect", never("connect"))
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    dynamic = pytest.importorskip("transformers.dynamic_module_utils")
    monkeypatch.setattr(dynamic, "get_class_from_dynamic_module", never("dynamic module"))
    open_ = builtins.open

    def watched(file: Any, *args: Any, **options: Any) -> Any:
        if "secret" in str(file):
            never("open")(file)
        return open_(file, *args, **options)

    monkeypatch.setattr(builtins, "open", watched)
    return reached


HOSTILE: list[dict[str, Any]] = [
    {"backbone": "evil/model"},
    {"backbone": "resnet50", "use_pretrained_backbone": True, "use_timm_backbone": True},
    {"backbone_config": {"model_type": "timm_backbone", "backbone": "hf-hub:evil/model"}},
    {"backbone_config": {"model_type": "bert", "_attn_implementation": "evil/kernel"}},
    {"attn_implementation": "evil/kernel"},
    {"attn_implementation": "kernels-community/flash-attn"},
    {"attn_implementation": "flash_attention_2"},
    {"attn_implementation": {"": "evil/kernel"}},
    {"_attn_implementation": "evil/kernel"},
    {"_attn_implementation_internal": "evil/kernel"},
    {"experts_implementation": "evil/kernel"},
    {"_experts_implementation": "evil/kernel"},
    {"auto_map": {"AutoConfig": "evil/model--secret.Config", "AutoModel": "secret.Model"}},
    {"auto_map": {"AutoModelForMaskedLM": "secret.Model"}, "trust_remote_code": True},
    {"_name_or_path": "evil/model", "name_or_path": "evil/model"},
    {"configuration_files": ["config.99.0.0.json", "../secret.json"]},
    {"transformers_weights": "../secret.safetensors"},
    {"quantization_config": {"quant_method": "gptq", "model": "evil/model"}},
    {"quantization_config": {"quant_method": "torchao", "modules_to_not_convert": ["secret"]}},
    {"tokenizer_class": "secret.Tokenizer", "vocab_file": "secret.txt"},
    {"text_config": {"model_type": "bert", "auto_map": {"AutoModel": "evil/model--x.Y"}}},
    {"encoder": {"model_type": "bert", "_name_or_path": "evil/m", "attn_implementation": "e/k"}},
    {"fusion_config": {"kernel": "evil/kernel"}, "kernel_config": {"a": "evil/kernel"}},
    {"custom_pipelines": {"x": {"impl": "secret.Pipe"}}, "_auto_class": "AutoModel"},
    {"index_path": "secret.npy", "passages_path": "secret", "dataset": "evil/data"},
    {"model_type": "timm_wrapper", "architecture": "hf-hub:evil/model"},
    {"per_layer_config": {"0": {"attn_implementation": "evil/kernel"}}},
    {"dtype": "../secret", "torch_dtype": "evil/model", "hidden_act": "evil/kernel"},
    {"gguf_file": "secret.gguf", "subfolder": "../secret", "revision": "evil"},
    {"adapter_config": {"base_model_name_or_path": "evil/model"}, "peft_type": "evil/model"},
]


@pytest.mark.parametrize("keys", HOSTILE, ids=lambda keys: " ".join(keys))
def test_no_key_of_a_config_reaches_out(
    keys: dict[str, Any], tmp_path: Path, nothing_reached: list[str]
) -> None:
    """The model that was saved, or an error; also as a source for ``lpgeom compress``."""
    torch.manual_seed(0)
    model = tiny_bert()
    model.save_pretrained(tmp_path / "dense")
    compress(model, rank=3, p=2.0, progress=False)
    save_pretrained(model, tmp_path / "saved")
    (tmp_path / "saved" / "secret.py").write_text("raise SystemExit(1)")

    def hostile(values: dict[str, Any]) -> None:
        values["config"] = json.dumps(json.loads(values["config"]) | keys)

    rewritten(tmp_path / "saved", hostile)
    with contextlib.suppress(CheckpointError):
        assert_same(load_pretrained(tmp_path / "saved"), model)
    config = tmp_path / "dense" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | keys))
    with contextlib.suppress(CheckpointError):
        structure(tmp_path / "dense")
    assert nothing_reached == []


@pytest.mark.parametrize("kind", ["detr", "dpt", "vision-encoder-decoder", "rag", "upernet"])
def test_no_class_is_made_to_reach_out(
    kind: str, tmp_path: Path, nothing_reached: list[str]
) -> None:
    """Classes that have such keys: the config that they read is refused, or asks for nothing."""
    inner = {"model_type": "bert", "attn_implementation": "evil/kernel"}
    for keys in [*HOSTILE, {"encoder": inner, "decoder": inner, "generator": inner}]:
        values = {"architectures": None, **keys, "model_type": kind}
        (tmp_path / "config.json").write_text(json.dumps(values))
        with contextlib.suppress(CheckpointError, ImportError):
            structure(tmp_path)
    assert nothing_reached == []


def test_links_out_of_a_directory_are_not_copied(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("mine")
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "key").write_text("mine")
    source = tmp_path / "in"
    tiny_bert().save_pretrained(source)
    (source / "vocab.txt").write_text("a")
    (source / "inner").symlink_to("vocab.txt")
    (source / "tokenizer.json").symlink_to(tmp_path / "secret")
    (source / "dotted").symlink_to("../secret")
    (source / "over").symlink_to("inner/../dotted")
    (source / "folder").symlink_to(tmp_path / "far")
    (source / "1_Pooling").mkdir()
    (source / "1_Pooling" / "config.json").symlink_to("../../secret")
    with pytest.warns(UserWarning, match="5 links that lead out of it are not copied"):
        compress_directory(source, tmp_path / "out", Options.checked(rank=2, row_weights=None))
    kept = {path.name for path in (tmp_path / "out").rglob("*")}
    assert {"vocab.txt", "inner", "1_Pooling"} <= kept
    assert not {"tokenizer.json", "dotted", "over", "folder", "key"} & kept
    for path in (tmp_path / "out").rglob("*"):
        assert path.is_dir() or b"mine" not in path.read_bytes()


def test_a_snapshot_in_the_hubs_cache_is_copied(tmp_path: Path) -> None:
    """It consists of links into the blobs beside it; one that leads further is none of them."""
    root = tmp_path / "models--a--b"
    tiny_bert().save_pretrained(root / "blobs")
    (root / "blobs" / "vocab.txt").write_text("a")
    (root / "blobs" / "far").symlink_to(tmp_path / "secret")
    (tmp_path / "secret").write_text("mine")
    snapshot = root / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    for path in (root / "blobs").iterdir():
        (snapshot / path.name).symlink_to(f"../../blobs/{path.name}")
    with pytest.warns(UserWarning, match="1 links that lead out of it are not copied, such as far"):
        compress_directory(snapshot, tmp_path / "out", Options.checked(rank=2))
    assert (tmp_path / "out" / "vocab.txt").read_text() == "a"
    load_pretrained(tmp_path / "out")


def test_saving_into_a_directory_writes_through_no_link(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "out").mkdir()
    for name in ("config.json", "lpgeom.json", "generation_config.json", "model.safetensors"):
        (tmp_path / "out" / name).symlink_to(tmp_path / "mine")
    model, _ = squeezed(tiny_bert(), layers="embeddings")
    save_pretrained(model, tmp_path / "out")
    assert (tmp_path / "mine").read_text() == "mine"
    assert_same(load_pretrained(tmp_path / "out"), model)


def test_the_guard_sees_what_it_is_for(tmp_path: Path, nothing_reached: list[str]) -> None:
    """What is kept out would reach a host, if transformers were asked as such."""
    transformers = pytest.importorskip("transformers")
    (tmp_path / "config.json").write_text('{"model_type": "detr", "backbone": "evil/model"}')
    with contextlib.suppress(Reached, Exception):
        config = transformers.AutoConfig.from_pretrained(tmp_path, local_files_only=True)
        transformers.AutoModel.from_config(config)
    with contextlib.suppress(Reached, Exception):
        transformers.AutoConfig.from_pretrained("evil/model")
    assert nothing_reached != []


def test_what_configs_may_say() -> None:
    """Of a class's own config nothing is lost; what is refused is named."""
    transformers = pytest.importorskip("transformers")
    for kind in ("bert", "bart", "gpt2", "t5", "llama", "clip", "wav2vec2", "vit", "gemma2"):
        made = transformers.CONFIG_MAPPING[kind]()
        values = json.loads(made.to_json_string(use_diff=False))
        kept = permitted(values, type(made))
        assert type(made).from_dict(kept).to_dict() == type(made).from_dict(values).to_dict()
        assert not {"_name_or_path", "auto_map"} & kept.keys()
    bert = transformers.BertConfig
    with pytest.raises(ValueError, match="hidden_act 'evil/kernel' may name a repository"):
        permitted({"hidden_act": "evil/kernel"}, bert)
    with pytest.raises(ValueError, match="quantization_config"):
        permitted({"quantization_config": {"quant_method": "gptq"}}, bert)
    assert permitted({"rope_scaling": {"type": "linear", "factor": 2.0, "file": "x"}}, bert) == {
        "rope_scaling": {"type": "linear", "factor": 2.0}
    }
    assert permitted({"note": "mine", "n": 3, "flags": [True, None]}, bert) == {
        "n": 3, "flags": [True, None],
    }  # fmt: skip
