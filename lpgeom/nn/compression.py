"""The weights of a model into factors, all of them or none: `compress`, of a model in memory, and
`compress_directory`, of a stored one, whose tensors are read and written one at a time."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lpgeom.nn.factors.factored import FLOATING
from lpgeom.nn.factors.groups import Factors
from lpgeom.nn.model.replace import build, install
from lpgeom.nn.model.sites import Group, Site, groups
from lpgeom.nn.plan.bytes import by_bytes, outlined
from lpgeom.nn.plan.calibration import metrics_of
from lpgeom.nn.plan.options import Options
from lpgeom.nn.plan.plan import Item, Read, items_of, ranked
from lpgeom.nn.plan.tokens import Cut, trimming
from lpgeom.nn.plan.trim import TrimmedTokenizer
from lpgeom.nn.plan.work import Work
from lpgeom.nn.report.page import card_of
from lpgeom.nn.report.report import CompressionReport
from lpgeom.nn.stored.announced import announce_in
from lpgeom.nn.stored.checkpoint import write
from lpgeom.nn.stored.directory import Stored, copy_others, keys_of, open_tensors, structure
from lpgeom.nn.stored.huggingface import say_untied
from lpgeom.nn.stored.outline import layers_of
from lpgeom.nn.stored.recipe import Recipe
from lpgeom.nn.stored.tensors import aliases_of, header_size

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def compress(
    model: nn.Module,
    *,
    size: float | int | str | None = None,
    ratio: float | None = None,
    rank: int | Mapping[str, int] | None = None,
    max_norm_error: float | None = None,
    p: float | None = None,
    objective: str = "rows",
    layers: str | Sequence[str] = "embeddings",
    exclude: str | Sequence[str] = (),
    row_weights: str | ArrayLike | Mapping[str, Any] | None = "auto",
    tokenizer: Any = None,
    subspaces: int | None = None,
    ranks: str | None = None,
    allocate: str | None = None,
    tie: str = "keep",
    calibration: Iterable[Any] | None = None,
    trim: bool | float | TrimmedTokenizer = False,
    certify: bool | str = True,
    force: bool = False,
    seed: int = 0,
    progress: bool = True,
    dry_run: bool = False,
) -> CompressionReport:
    """Replace weights of a model by two factors each, in place, with a certificate for each.

    Weights are found by the types of their modules: `torch.nn.Embedding` (and classes of it that
    scale what they look up, as BART's and Gemma's), `torch.nn.Linear`, Hugging Face's `Conv1D`, and
    the bare parameters of XLNet's attention. Embeddings are seen as a row for each token, linear
    layers as a row for each output feature. Either all selected layers are replaced or, on any
    error or Ctrl-C, none.

    Parameters
    ----------
    model : torch.nn.Module
        Changed in place; an optimizer made before still holds the old parameters.
    size : float, int or str
        What the selected weights may take in all: a share of the bytes that they take now, as
        ``0.1``, or bytes, as ``9_000_000`` or ``"9 MB"`` (with ``layers="all"`` of the whole file).
        They are then stored in few bits: embeddings in a basis of their own, with a width for each
        component of every group of rows (`lpgeom.approx_quantized`).
    ratio : float
        Instead: share of each selected layer's parameters to remove, at least; .28 leaves 72%. With
        ``allocate="global"`` (and ``layers="all"``), of all selected layers together.
    rank : int or mapping
        Or: the rank of every layer, or of names or patterns.
    max_norm_error : float
        Or: the least ranks found whose relative norm error, ``(cost / cost of zero)^(1/p)``,
        is at most this. For rows never more than the truncated SVD needs, but for the rounding of
        16-bit weights. An error that no rank below break-even reaches is a warning and noted.
    p : float, optional
        Finite, >= 1. If not given: 2 for rows, which kept accuracy best (docs/accuracy.md); 1 for
        entries.
    objective : {"rows", "entries"}
        As in `lpgeom.approx_subspace`.
    layers : str or sequence of str
        "embeddings": word embeddings (of models without `get_input_embeddings`, all embeddings).
        "linear": linear layers, Conv1D and bare parameters with at least 16 rows and columns.
        "all": both. Or names or shell patterns such as ``"encoder.layer.*.output.dense"``; the name
        of a module stands for all below it.
    exclude : str or sequence of str
        Of the same kind; what stays out.
    row_weights : "auto", "frequency", array_like, mapping or None
        Importance omega of rows: an array for the one selected layer, or a mapping from names or
        patterns. "frequency": for embeddings, `lpgeom.nn.frequency_weights`. "auto": for
        embeddings of mixed ranks the square roots of `lpgeom.nn.token_weights` by `tokenizer`, with
        `size` their powers of .7; without one, of "frequency" for what a model calls its input
        embeddings, whose rows are taken to be in the order of their frequency. None: all alike.
    tokenizer : tokenizer or path, optional
        See `lpgeom.nn.token_weights`.
    subspaces : int, optional
        Rows are split among that many subspaces, see `lpgeom.approx_clusters`. One for bare
        parameters. If not given: 8 with mixed ranks, else 1.
    ranks : {"equal", "mixed"}, optional
        "mixed", with several subspaces: each group of an embedding's rows gets a rank of its own,
        so that all take together what `ratio` leaves or subspaces of equal `rank` would, see
        `lpgeom.approx_mixed`. Frequent tokens may then be kept as they are. Other layers have one
        subspace. If not given: "mixed" for a `ratio` of row distances without `subspaces`, which
        kept accuracy best (docs/accuracy.md), else "equal".
    allocate : {"uniform", "global"}, optional
        "global": one budget of parameters for all selected layers, spent where it takes off most of
        the SVD's relative costs (p-th powers); some layers may stay as they are. If not given:
        "global" for ``layers="all"`` with mixed ranks, else "uniform".
    tie : {"keep", "untie"}
        Layers that share a weight (input embedding and output layer) share the factors: counted
        once. "untie": only embeddings are replaced, all that share the weight, from the same
        factors; an output layer keeps the dense weight for itself, so that the model grows by the
        factors. Layers that share a weight with no embedding stay tied.
    calibration : iterable of batches, optional
        Run through the model (mappings as keywords, tuples as arguments); linear layers are then
        approximated in the metric of their own inputs' second moment, ``E ||(W - L R) x||^2`` for
        each output feature in place of ``||w - l R||^2``. Other kinds keep the plain metric.
    trim : bool, float or TrimmedTokenizer
        With `size` and a `tokenizer`: first drop the tokens that weigh least (True), or less than
        a threshold, or those that `lpgeom.nn.trim_tokenizer` dropped. The model loses their rows,
        and its configs have the new ids; `size` is still a share of the bytes of all of them. The
        report has the new tokenizer, which `save_pretrained` writes.
    certify : bool or "tight"
        As in `lpgeom.approx_subspace`.
    force : bool
        Factor also where that takes no fewer parameters than the weight. If False, a layer at or
        above its break-even rank ``n d / (n + j d)`` is left alone, and listed so.
    seed : int
    progress : bool
        A bar on stderr.
    dry_run : bool
        Only ranks and parameters; nothing is solved or replaced. What ratio and rank ask for takes
        no pass over the weights.

    Returns
    -------
    CompressionReport
        Costs are those of the factors as stored, in the weight's dtype.

    Raises
    ------
    ValueError
        A pattern that matches nothing (near names are listed), a ratio out of range, entries that
        are not finite (the layer is named).
    TypeError
        Selected weights without data (meta), quantised or sparse.

    Notes
    -----
    A layer's time is that of `approx_subspace`, `approx_clusters` or `approx_mixed`, and one pass
    for the SVD's cost at every rank.
    Weights of 2^17 to 2^20 entries are solved by ``method="irls"`` with ``tol=1e-5``, others as
    usual. Apart from the new factors, memory is taken for one layer at a time.

    Examples
    --------
    >>> import torch
    >>> from lpgeom import nn
    >>> embedding, head = torch.nn.Embedding(300, 24), torch.nn.Linear(24, 24)
    >>> model = torch.nn.Sequential(embedding, head)
    >>> report = nn.compress(model, ratio=0.28, p=1.0, subspaces=1, progress=False)
    >>> report["0"].rank, report["0"].parameters_after, report["0"].ratio < 2
    (16, 5184, True)
    >>> model[0]
    LowRankEmbedding(300, 24, rank=16)
    """
    started = time.perf_counter()
    options = Options.checked(
        size=size, ratio=ratio, rank=rank, max_norm_error=max_norm_error, p=p, objective=objective,
        layers=layers, exclude=exclude, row_weights=row_weights,
        tokenizer=tokenizer, subspaces=subspaces,
        ranks=ranks, allocate=allocate, tie=tie, calibration=calibration is not None,
        certify=certify, force=force, seed=seed, trim=trim,
    )  # fmt: skip
    if tokenizer is not None and not options.by_tokens:
        raise ValueError(
            "tokenizer goes with size or mixed ranks (a ratio and no subspaces); else pass "
            "row_weights=nn.token_weights(tokenizer)"
        )
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    found = groups(model)
    for group in found:
        if group.name == "":
            maker = (
                "Embedding.from_embedding" if group.kind == "embedding" else "Linear.from_linear"
            )
            raise ValueError(
                f"the model is itself a {type(model).__name__}, which cannot be replaced in place; "
                f"use lpgeom.nn.LowRank{maker}"
            )
    metrics: dict[str, Any] = {}
    if calibration is not None:  # whose batches have the ids that there are now
        batches = list(calibration)
        open_groups = [i.group for i in items_of(found, model, options, {}) if not i.note]
        metrics = metrics_of(model, open_groups, batches)
    whole = _storage(model)
    with trimming(model, options, dry_run) as (options, cut):
        items = items_of(groups(model) if cut else found, model, options, metrics)
        left = _storage(model)
        chosen = sum(item.size.dense * item.dtype.itemsize for item in items)
        names = list(model.state_dict())
        items = _planned(items, options, _read, left[1] - chosen, names, cut)
        gone = whole[0] - left[0], whole[1] - left[1]
        work = Work(model, items, options, left, started, dry_run, gone=gone)
        replacements: list[tuple[Site, nn.Module]] = []
        for item, factors in work.solved(_read, progress):
            replacements += build(item.group, factors)
        install(replacements)
        report = work.report()
    if not dry_run:
        announce_in(model)
        if any(entry.untied for entry in report.layers):
            say_untied(model)
    return report


def _planned(
    items: list[Item],
    options: Options,
    read: Read,
    others: int,
    names: Sequence[str],
    cut: Cut | None,
) -> list[Item]:
    """The items with ranks, or with codings; `others` are the bytes of all other tensors."""
    if options.size is None:
        return ranked(items, options, read)
    if cut is not None and isinstance(options.size, float):
        # A share is one of what there was.
        now = [(x, x.size.dense * x.dtype.itemsize) for x in items]
        shares = (cut.share if x.group.head.keys[0] in cut.axes else 1.0 for x, _ in now)
        more = sum(b * share for (_, b), share in zip(now, shares, strict=True))
        options = replace(options, size=options.size * more / (sum(b for _, b in now) or 1))
    # A weight in few bits is several tensors.
    more = (
        f"{x.group.name}.{k:12}"
        for x in items
        for k in range(8 if x.group.kind == "embedding" else 2)
    )
    header = header_size([*names, *more])
    return by_bytes(items, options, read, others + header)


def _read(group: Group) -> Tensor:
    """A group's weight as a matrix, from the model."""
    return group.head.matrix(group.head.weight.detach())


def _storage(model: nn.Module) -> tuple[int, int]:
    """(parameters, bytes of parameters and stored buffers) of a model, shared ones once."""
    lazy = nn.UninitializedParameter  # which has no size; asking for it is an error of its own
    parameters = [q for q in model.parameters() if not isinstance(q, lazy)]
    stored = {id(value): value for value in model.state_dict(keep_vars=True).values()}
    count = sum(q.numel() for q in parameters)
    tensors = [x for x in stored.values() if isinstance(x, Tensor) and not isinstance(x, lazy)]
    return count, sum(value.numel() * value.element_size() for value in tensors)


def compress_directory(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    options: Options,
    *,
    weights: str | None = None,
    progress: bool = False,
    dry_run: bool = False,
) -> CompressionReport:
    """Compress the model in `source` into the new directory `target`.

    The structure comes from config.json (a model without data), the tensors from the .safetensors
    files, one at a time: memory is that of the largest tensor times a small factor. `source` is
    only read; `target` appears complete or not at all. Files that are not weights (tokenizer, ...)
    are copied.

    Parameters
    ----------
    weights : str, optional
        A file of `source` to read instead; a pickle is read only if named here, and then with
        torch's ``weights_only``.

    Raises
    ------
    CheckpointError (a ValueError)
        No config.json, no .safetensors, a class that transformers does not have, missing tensors.
    FileExistsError
        `target` exists.
    """
    started = time.perf_counter()
    source, target = Path(source), Path(target)
    model = structure(source)
    if not dry_run:
        if target.exists():
            raise FileExistsError(17, "exists already", str(target))
        if not target.parent.is_dir():
            raise FileNotFoundError(2, f"there is no directory {target.parent}", str(target))
        if source.resolve() in target.resolve().parents:
            raise ValueError(f"{target}: lies inside the model's own directory")
    with open_tensors(source, weights) as stored:
        keys = keys_of(model, stored, source)

        def entry(group: Group) -> str:
            return keys[group.head.keys[0]]

        def read(group: Group) -> Tensor:
            tensor = stored.tensor(entry(group))
            if tensor.dtype not in FLOATING:
                raise TypeError(
                    f"{group.name} is stored as {tensor.dtype}; compress the model before it is "
                    "quantised"
                )
            return group.head.matrix(tensor)

        dtype = None if options.dtype is None else getattr(torch, options.dtype)
        whole = stored.sizes(model, keys)[1]
        with trimming(model, options, dry_run) as (options, cut):
            if cut is not None:
                stored.keep({keys[name]: axis for name, axis in cut.axes.items()}, cut.kept)
            items = [
                replace(item, dtype=stored.outline[entry(item.group)].dtype)
                for item in items_of(groups(model, meta=True), model, options, {})
            ]
            sizes, before = stored.sizes(model, keys)
            own = {key for item in items for key in item.group.head.keys}
            others = {name: x for name, x in sizes.items() if name not in own}
            then = sum(_cast(x, dtype).nbytes for x in others.values())
            items = _planned(items, options, read, then, list(sizes), cut)
            gone = whole[0] - before[0], whole[1] - before[1]
            work = Work(model, items, options, before, started, dry_run, gone=gone)
            coded_ = {key for x in work.items if x.coding for key in x.group.head.keys}
            kept = (x for name, x in sizes.items() if name not in coded_)
            work.cast = sum(x.nbytes - _cast(x, dtype).nbytes for x in kept)
            if dry_run:
                return work.report()
            return _written(work, read, progress, keys, stored, source, target)


def _cast(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    """Real numbers in that dtype."""
    return tensor if dtype is None or not tensor.is_floating_point() else tensor.to(dtype)


def _written(
    work: Work,
    read: Read,
    progress: bool,
    keys: Mapping[str, str],
    stored: Stored,
    source: Path,
    target: Path,
) -> CompressionReport:
    """Write a model of which `work` has the structure; factors as they come for dense weights."""
    model: Any = work.model
    kind = type(model).__name__
    dtype = None if work.options.dtype is None else getattr(torch, work.options.dtype)
    if dtype is not None:
        model.config.dtype = dtype
    # What the model becomes, without data: whose names are written, and which are the same tensor.
    made = {
        item.group.name: build(
            item.group, _outline(item) if item.coding is None else outlined(item)
        )
        for item in work.solvable
    }
    install([each for modules in made.values() for each in modules])
    aliases = aliases_of(model.state_dict(keep_vars=True))
    names = [name for name in model.state_dict() if name not in aliases]

    def tensors() -> Iterator[tuple[str, Tensor]]:
        for item, factors in work.solved(read, progress):
            paths = [path for site in item.group.sites for path in site.paths]
            for name, tensor in factors.stored().items():
                named = (f"{path}.{name}" for path in paths)
                yield next(n for n in named if n not in aliases), tensor
            for _, module in made[item.group.name]:
                module.take(factors.without_data())
            del factors
        for name in names:
            if name in keys:
                yield name, _cast(stored.tensor(keys[name]), dtype)

    def recipe() -> Recipe:
        held = temporary / "generation_config.json"
        return Recipe(
            kind, "transformers", tuple(layers_of(model)), aliases,
            report=work.report(), config=model.config.to_json_string(),
            generation=held.read_text(encoding="utf-8") if held.is_file() else "",
        )  # fmt: skip

    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
    try:
        temporary.mkdir()
        copy_others(source, temporary)
        if isinstance(work.options.trim, TrimmedTokenizer):
            work.options.trim.save(temporary)
        model.config.architectures = [kind]
        if any(item.group.kept for item in work.solvable):
            say_untied(model)
        written = write(temporary, names, tensors(), recipe)
        with open(temporary / "README.md", "ab") as card:
            card.write(card_of(work.report()).encode())
        try:
            os.rename(temporary, target)
        except OSError as error:
            if target.exists():  # another's, in the meantime
                raise FileExistsError(17, "exists already", str(target)) from error
            raise
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    assert written.report is not None
    return written.report


def _outline(item: Item) -> Factors:
    """Factors with the names that an item's will have, without data."""
    n, d, j = item.size.n, item.size.d, item.size.subspaces
    with torch.device("meta"):
        lefts = (torch.empty(n if c == 0 else 0, 1) for c in range(j))
        rights = (torch.empty(1, d) for _ in range(j))
        labels = torch.empty(n, dtype=torch.int32)
        return Factors.grouped(lefts, rights, None if j == 1 and item.budget is None else labels)
