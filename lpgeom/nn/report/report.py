"""What a compression did: a line for each layer, and the totals. Records only; no torch here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lpgeom.io.atomic import write_atomically
from lpgeom.io.strict_json import to_json
from lpgeom.io.tables import in_bytes, in_columns
from lpgeom.records.subspace import norm_ratio

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class LayerReport:
    """One weight of a model, seen as a matrix A (n, d), and the factors that took its place.

    Attributes
    ----------
    name : str
        Of the module (or bare parameter) that owns the weight.
    kind : {"embedding", "linear", "conv1d", "parameter"}
        A bare parameter is a weight that belongs to no module of its own, as XLNet's attention has
        them.
    shape : tuple of int
        (n, d). Embeddings: a row for each token. Linear layers: a row for each output feature.
    rank : int or None
        None: left alone, and `note` says why. Of mixed ranks the mean over the rows, rounded; in a
        plan, which does not know them, the rank of that many subspaces of equal rank.
    subspaces : int
        Number of subspaces that the rows are split among.
    ranks, counts : tuple of int, or None
        Of mixed ranks: that of each group of rows, and its rows; largest rank first.
    tied : tuple of str
        Other modules that use the same weight, or now the same factors.
    untied : tuple of str
        Modules that used the same weight, and keep it dense for themselves (``tie="untie"``).
    parameters_before, parameters_after : int
        ``n d`` and ``n k + j d k``, counted once however many modules share them, and the dense
        weight beside the factors where `untied` modules keep it; biases, and
        what says which row of several subspaces is where (five bytes a row up to 256 of them), are
        not parameters. Of mixed ranks: ``k_c (n_c + d)`` for each group, ``n_c d`` for one of rank
        d. In a plan: what they may take.
    bytes_before, bytes_after : int
        On disk, labels included.
    p, objective
        As in `approx_subspace`.
    size : float or None
        What approximation by zero costs (a p-th power): ``sum_i omega_i ||a_i||^p``.
    cost : float or None
        Of the factors as stored, rounding to their dtype included, recomputed in float64.
    lower_bound : float or None
        Proved for every subspace of that rank; with several subspaces, for every choice of them
        (of these ranks) under this assignment of rows.
    svd_cost : float or None
        What the truncated SVD of the same rank costs; of mixed ranks, of the largest rank that as
        many parameters allow.
    failure_probability : float
        Of the bound; 0: it holds always.
    method : str
        What produced the factors.
    metric : {"weights", "activations"}
        "activations": distances are those of the layer's outputs on the calibration data.
    spectrum : tuple of float
        Singular values of A (of its whitened form for "activations"), largest first.
    seconds : float
    note : str
    form : {"factors", "rows", "entries"}
        What took the weight's place: factors; rows in a basis, in few bits for each component;
        entries in few bits.
    truncation_cost : float or None
        Of rows in few bits: what real numbers in place of the bits cost, for the same groups and
        the same components in each. The rest of `cost` is the price of rounding.
    int8_cost, int4_cost : float or None
        What rounding each entry to 8 or 4 bits costs, a scale of 16 bits for every 32 in a row.
    weights : {"none", "tokens", "given"}, or None
        Where the weights of the rows are from: none, all rows count alike; how often each token
        occurs; `row_weights` of the call. None in reports older than this field.

    Examples
    --------
    >>> import torch
    >>> from lpgeom import nn
    >>> model = torch.nn.Sequential(torch.nn.Embedding(60, 12))
    >>> layer = nn.compress(model, rank=4, progress=False)["0"]
    >>> layer.kind, layer.shape, layer.rank, layer.lower_bound <= layer.cost
    ('embedding', (60, 12), 4, True)
    """

    name: str
    kind: str
    shape: tuple[int, int]
    rank: int | None
    parameters_before: int
    parameters_after: int
    bytes_before: int
    bytes_after: int
    p: float = 1.0
    objective: str = "rows"
    subspaces: int = 1
    tied: tuple[str, ...] = ()
    size: float | None = None
    cost: float | None = None
    lower_bound: float | None = None
    svd_cost: float | None = None
    failure_probability: float = 0.0
    method: str = ""
    metric: str = "weights"
    spectrum: tuple[float, ...] = field(default=(), repr=False)
    seconds: float = 0.0
    note: str = ""
    ranks: tuple[int, ...] | None = None
    counts: tuple[int, ...] | None = None
    weights: str | None = None
    untied: tuple[str, ...] = ()
    form: str = "factors"
    truncation_cost: float | None = None
    int8_cost: float | None = None
    int4_cost: float | None = None

    @property
    def compressed(self) -> bool:
        """Whether factors take the weight's place."""
        return self.rank is not None

    @property
    def rank_text(self) -> str:
        """The rank in words: "26", "4 x 26", or the ranks of the groups that have rows."""
        if self.rank is None:
            return "-"
        if self.form == "entries":
            return "full"
        if self.ranks is not None and self.counts is not None:
            held = zip(self.ranks, self.counts, strict=True)
            return ", ".join(str(k) for k, n_c in held if n_c)
        return f"{self.subspaces} x {self.rank}" if self.subspaces > 1 else str(self.rank)

    @property
    def ratio(self) -> float | None:
        """``(cost / lower_bound)^(1/p) >= 1``, of norms; None if not certified."""
        if self.cost is None or self.lower_bound is None:
            return None
        return norm_ratio(self.cost, self.lower_bound, self.p)

    @property
    def error(self) -> float | None:
        """Relative norm error, ``(cost / size)^(1/p)``."""
        return self._relative(self.cost)

    @property
    def error_bound(self) -> float | None:
        """Proved: no factors of that rank have a smaller relative norm error."""
        return self._relative(self.lower_bound)

    @property
    def svd_error(self) -> float | None:
        """Relative norm error of the truncated SVD."""
        return self._relative(self.svd_cost)

    @property
    def bits(self) -> float:
        """Bits of an entry of the weight, with all that belongs to it."""
        n, d = self.shape
        return 8.0 * self.bytes_after / max(1, n * d)

    @property
    def truncation_error(self) -> float | None:
        """Relative norm error of real numbers in place of the bits."""
        return self._relative(self.truncation_cost)

    @property
    def int8_error(self) -> float | None:
        """Relative norm error of rounding entries to 8 bits."""
        return self._relative(self.int8_cost)

    @property
    def int4_error(self) -> float | None:
        """Relative norm error of rounding entries to 4 bits."""
        return self._relative(self.int4_cost)

    def rounded_bytes(self, bits: int) -> int:
        """What entries of so many bits take, with a scale of 16 bits for every 32 in a row."""
        n, d = self.shape
        return n * (-(-d * bits // 8) + 2 * -(-d // 32))

    def _relative(self, cost: float | None) -> float | None:
        if cost is None or self.size is None:
            return None
        if self.size == 0.0:
            return 0.0
        return float((cost / self.size) ** (1.0 / self.p))

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings, what is derived included."""
        values = {k: list(v) if isinstance(v, tuple) else v for k, v in vars(self).items()}
        derived = (
            "ratio", "error", "error_bound", "svd_error", "bits", "truncation_error", "int8_error",
            "int4_error",
        )  # fmt: skip
        return values | {name: getattr(self, name) for name in derived}

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> LayerReport:
        """What `to_dict` gave."""
        known = {k: v for k, v in values.items() if k in LayerReport.__dataclass_fields__}
        n, d = known["shape"]
        for name in ("ranks", "counts"):
            if known.get(name) is not None:
                known[name] = tuple(int(number) for number in known[name])
        for name in ("tied", "untied", "spectrum"):
            known[name] = tuple(known.get(name, ()))
        return LayerReport(**known | {"shape": (int(n), int(d))})


@dataclass(frozen=True)
class CompressionReport:
    """What `compress` did to a model.

    Attributes
    ----------
    model : str
        Name of the model's class.
    layers : tuple of LayerReport
        The selected weights, compressed or left alone, in the model's order.
    parameters_before, parameters_after : int
        Of the whole model, shared ones counted once.
    bytes_before, bytes_after : int
        Of all its parameters and stored buffers.
    options : dict
        The arguments of the call, as plain values.
    seconds : float
    dry_run : bool
        A plan: nothing was solved, and the model is as it was.
    trimmed : dict or None
        With ``trim``: the threshold, how many tokens are gone, and of which scripts.
    tokenizer : str
        With ``trim``: the new tokenizer.json; not part of what is saved of a report.

    Examples
    --------
    >>> from lpgeom.nn import CompressionReport, LayerReport
    >>> layer = LayerReport(
    ...     "embed", "embedding", (1000, 64), 20, 64000, 21280, 256000, 85120
    ... )
    >>> report = CompressionReport("Net", (layer,), 70000, 27280, 280000, 109120)
    >>> round(report.saved, 2)
    0.61
    """

    model: str
    layers: tuple[LayerReport, ...]
    parameters_before: int
    parameters_after: int
    bytes_before: int
    bytes_after: int
    options: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    dry_run: bool = False
    trimmed: dict[str, Any] | None = None
    tokenizer: str = field(default="", repr=False, compare=False)

    @property
    def saved(self) -> float:
        """Share of the whole model's parameters that is gone."""
        return 1.0 - self.parameters_after / max(1, self.parameters_before)

    @property
    def compressed(self) -> tuple[LayerReport, ...]:
        """Layers that are factors now."""
        return tuple(layer for layer in self.layers if layer.compressed)

    @property
    def left_alone(self) -> tuple[LayerReport, ...]:
        """Layers that stayed as they were; their notes say why."""
        return tuple(layer for layer in self.layers if not layer.compressed)

    @property
    def bytes_saved(self) -> float:
        """Share of the whole model's bytes that is gone."""
        return 1.0 - self.bytes_after / max(1, self.bytes_before)

    @property
    def by_bytes(self) -> bool:
        """Whether bytes were asked for: then bits an entry tell more than parameters."""
        return "size" in self.options

    def __getitem__(self, name: str) -> LayerReport:
        """The layer of that name."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(name)

    def table(self) -> str:
        """All of it as text: a line for each layer, then the totals."""
        head = COLUMNS[self.by_bytes]
        lines = [head, *(_cells(layer, self.by_bytes) for layer in self.layers)]
        left = [column in ("layer", "") for column in head]
        return f"{in_columns(lines, left)}\n{self.summary()}"

    def summary(self) -> str:
        """The totals in a line or two."""
        what = "would become" if self.dry_run else "are now"
        totals = (
            f"{in_bytes(self.bytes_before)} {what} {in_bytes(self.bytes_after)} "
            f"({self.bytes_saved:.1%} less)"
            if self.by_bytes
            else f"{self.parameters_before:,} parameters {what} {self.parameters_after:,} "
            f"({self.saved:.1%} less), "
            f"{in_bytes(self.bytes_before)} to {in_bytes(self.bytes_after)}"
        )
        return (
            f"{self.model}: {totals}; "
            f"{len(self.compressed)} of {len(self.layers)} selected layers compressed"
            + ("" if self.dry_run else f" in {self.seconds:.1f} s")
            + self._trimmed()
        )

    def _trimmed(self) -> str:
        """What of the vocabulary is gone."""
        if self.trimmed is None:
            return ""
        scripts = ", ".join(f"{name} {count:,}" for name, count in self.trimmed["scripts"].items())
        return (
            f"; {self.trimmed['tokens']:,} tokens that weigh less than "
            f"{self.trimmed['threshold']:.3g} {'would go' if self.dry_run else 'are gone'}"
            + (f" ({scripts})" if scripts else "")
        )

    def __str__(self) -> str:
        return self.table()

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings, ready for JSON."""
        layers = [layer.to_dict() for layer in self.layers]
        own = {name: value for name, value in vars(self).items() if name != "tokenizer"}
        return own | {"layers": layers, "saved": self.saved}

    def to_json(self) -> str:
        """Strict JSON; NaN and the infinities, which JSON has no word for, become null."""
        return to_json(self.to_dict())

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> CompressionReport:
        """What `to_dict` gave."""
        known = {k: v for k, v in values.items() if k in CompressionReport.__dataclass_fields__}
        known["layers"] = tuple(LayerReport.from_dict(layer) for layer in known["layers"])
        return CompressionReport(**known)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the report as .html (one self-contained page with pictures) or .json.

        Raises
        ------
        ValueError
            Another suffix.
        ImportError
            .html without Jinja2 or matplotlib; the error says what to install.
        """
        suffix = Path(path).suffix.lower()
        if suffix == ".json":
            text = self.to_json() + "\n"
            write_atomically(path, lambda file: file.write(text.encode()))
        elif suffix in (".html", ".htm"):
            from lpgeom.nn.report.page import write_html

            write_html(self, path)
        else:
            raise ValueError(f"{path}: a report is saved as .html or .json")

    def plot(self, axes: Sequence[Any] | None = None) -> Any:
        """Three pictures: errors with their certified bands, parameters, singular values.

        Parameters
        ----------
        axes : sequence of three matplotlib Axes, optional
            Where to draw. If not given: a new figure.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        ImportError
            Without matplotlib; the error says what to install.
        """
        from lpgeom.plots import plot_compression

        return plot_compression(self, axes)


COLUMNS = {
    True: (
        "layer", "shape", "bytes", "bits", "error", "int8", "its error", "int4", "its error",
        "least", "seconds", "",
    ),
    False: (
        "layer", "shape", "rank", "parameters", "saved", "error", "SVD's", "ratio", "seconds", "",
    ),
}  # fmt: skip
"""Titles of a table's columns, where bytes were asked for and where not."""


def _cells(layer: LayerReport, by_bytes: bool) -> tuple[str, ...]:
    n, d = layer.shape
    if by_bytes:
        now, then = in_bytes(layer.bytes_before), in_bytes(layer.bytes_after)
        rounded = (
            (in_bytes(layer.rounded_bytes(bits)), _number(error))
            for bits, error in ((8, layer.int8_error), (4, layer.int4_error))
        )
        return (
            layer.name,
            f"{n} x {d}",
            f"{now} -> {then}" if layer.compressed else f"{now}, kept",
            f"{layer.bits:.3g}",
            _number(layer.error),
            *(cell for pair in rounded for cell in pair),
            _number(layer.error_bound),
            f"{layer.seconds:.2f}" if layer.seconds else "-",
            layer.note,
        )
    saved = 1.0 - layer.parameters_after / max(1, layer.parameters_before)
    return (
        layer.name,
        f"{n} x {d}",
        layer.rank_text,
        f"{layer.parameters_before} -> {layer.parameters_after}" if layer.compressed else "kept",
        f"{saved:.1%}" if layer.compressed else "-",
        _number(layer.error),
        _number(layer.svd_error),
        _number(layer.ratio),
        f"{layer.seconds:.2f}" if layer.seconds else "-",
        layer.note,
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
