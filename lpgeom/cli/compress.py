"""Compress a Hugging Face model's embeddings or linear layers to a size, or into two factors each.

Read the model in MODEL_DIR (config.json and .safetensors), replace weights one at a time by ones in
few bits (--size) or by certified low-rank factors, and write the smaller model to a new directory.
Load it with lpgeom.nn.load_pretrained(DIR).
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lpgeom.cli.common import CERTIFY, UsageError, share
from lpgeom.io.readers import read_vector


def add(command: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    command.add_argument("model", metavar="MODEL_DIR", help="the model; it is only read")
    size = command.add_mutually_exclusive_group(required=True)
    size.add_argument(
        "--size",
        help="what the layers may take: a share of what they take now (0.1), or bytes ('9 MB'; "
        "with --layers all of the whole file); they are stored in few bits",
    )
    size.add_argument(
        "--ratio", type=float, help="share of each layer's parameters to remove, such as .28"
    )
    size.add_argument("--rank", type=int, help="rank of every layer")
    size.add_argument(
        "--max-norm-error", type=float, metavar="E", help="largest relative norm error of a layer"
    )
    command.add_argument(
        "-p", "--p", type=float, help="exponent >= 1 (default: 2 for rows, 1 for entries)"
    )
    share(command, "--objective")
    command.add_argument(
        "--layers",
        nargs="+",
        default=["embeddings"],
        metavar="NAME",
        help="embeddings, linear, all, or names and patterns such as 'encoder.layer.*.output.dense'"
        " (default: embeddings)",
    )
    command.add_argument(
        "--exclude", nargs="+", default=[], metavar="NAME", help="kinds or patterns to leave alone"
    )
    command.add_argument(
        "--row-weights",
        default="auto",
        metavar="auto|frequency|none|FILE",
        help="weights of tokens: by their place in the vocabulary, none, or one for each row from "
        "a file (default: with --size or mixed ranks the roots of their frequencies, by the "
        "tokenizer.json in MODEL_DIR where there is one)",
    )
    command.add_argument(
        "--subspaces",
        type=int,
        metavar="J",
        help="split rows among J subspaces (default: 8 with mixed ranks, else 1)",
    )
    command.add_argument(
        "--ranks",
        choices=("equal", "mixed"),
        help="with --subspaces: of equal rank, or each group of an embedding's rows of its own "
        "(default: mixed for a --ratio of rows without --subspaces, else equal)",
    )
    command.add_argument(
        "--allocate",
        choices=("uniform", "global"),
        help="the same ratio for every layer, or one budget for all (default: global for --layers "
        "all with mixed ranks, else uniform)",
    )
    command.add_argument(
        "--tie",
        choices=("keep", "untie"),
        default="keep",
        help="an output layer that shares the embedding's weight shares its factors, or keeps the "
        "dense weight for itself (default: keep)",
    )
    command.add_argument(
        "--dtype", choices=("float16", "bfloat16"), help="store so what stays as it is"
    )
    command.add_argument(
        "--trim", nargs="?", const=True, default=False, type=float, metavar="WEIGHT",
        help="with --size: first drop the tokens that no text has, or that weigh less than WEIGHT "
        "(lpgeom.nn.token_weights), from the model and its tokenizer.json",
    )  # fmt: skip
    share(command, "--certify", help="lower bounds (default: fast)")
    share(command, "--seed")
    share(command, "--force", help="factor also where that saves no parameters")
    command.add_argument(
        "--weights",
        metavar="FILE",
        help="file in MODEL_DIR to read instead of model.safetensors; a pickle is only read if it "
        "is named here, and then with torch's weights_only",
    )
    command.add_argument("--out", metavar="DIR", help="new directory for the compressed model")
    command.add_argument(
        "--report", metavar="FILE", help="write the report too: .html (with pictures) or .json"
    )
    share(command, "--json", help="print the report as JSON")
    share(command, "--quiet")
    command.add_argument(
        "--dry-run", action="store_true", help="print ranks and parameters; write nothing"
    )


def run(options: argparse.Namespace) -> int:
    """Compress, write, print."""
    if options.dry_run == (options.out is not None):
        raise UsageError(
            "--dry-run writes nothing: leave --out away"
            if options.dry_run
            else "--out DIR is needed (or --dry-run)"
        )
    if options.report is not None:
        _check_report(Path(options.report), options.out)
    vocabulary = Path(options.model, "tokenizer.json")
    tokenizer = vocabulary if options.row_weights == "auto" and vocabulary.is_file() else None
    try:
        from lpgeom.nn.compression import compress_directory
        from lpgeom.nn.plan.options import Options
        from lpgeom.nn.plan.row_weights import ROW_WEIGHTS
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise UsageError("lpgeom compress needs torch: pip install 'lpgeom[hf]'") from error
    _quiet_libraries()
    weights: Any = options.row_weights
    if weights == "none":
        weights = None
    elif weights not in ("auto", *ROW_WEIGHTS):
        weights = read_vector(weights)
    layers = options.layers[0] if len(options.layers) == 1 else options.layers
    fields = Options.__dataclass_fields__
    given = {name: value for name, value in vars(options).items() if name in fields}
    given |= {"layers": layers, "row_weights": weights, "certify": CERTIFY[options.certify]}
    asked = Options.checked(**given, tokenizer=tokenizer)
    try:
        report = compress_directory(
            options.model, os.devnull if options.out is None else options.out, asked,
            weights=options.weights, progress=sys.stderr.isatty() and not options.quiet,
            dry_run=options.dry_run,
        )  # fmt: skip
    except ValueError as error:
        if tokenizer is None or not str(error).startswith("tokenizer, for"):
            raise
        raise UsageError(f"{error}; or --row-weights none") from error
    if options.report is not None:
        report.save(options.report)
    if options.json:
        print(report.to_json())
    elif not options.quiet:
        print(report.table())
    return 0


def _check_report(path: Path, out: str | None) -> None:
    """Raise what would make writing the report fail, before any work is done."""
    if path.suffix.lower() not in (".html", ".htm", ".json"):
        raise UsageError(f"--report {path}: a report is an .html or a .json file")
    if not path.parent.is_dir() or path.is_dir():
        raise UsageError(f"--report {path}: cannot be written there")
    if out is not None and Path(out).resolve() in path.resolve().parents:
        raise UsageError(f"--report {path}: lies inside {out}, which is not there yet")
    if path.suffix.lower() != ".json" and not (find_spec("jinja2") and find_spec("matplotlib")):
        raise UsageError(
            "--report .html needs Jinja2 and matplotlib: pip install 'lpgeom[hf,plot]'"
        )


def _quiet_libraries() -> None:
    """transformers' advice and progress bars are not this command's output."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
