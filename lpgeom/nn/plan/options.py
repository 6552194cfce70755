"""The arguments of `compress`, checked once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lpgeom.io import validation
from lpgeom.nn.plan.sizes import checked_size
from lpgeom.nn.plan.trim import TrimmedTokenizer, trim_tokenizer

SUBSPACES = 8
"""Groups of different rank where their number is not given, see docs/accuracy.md."""

CHOICES: dict[str, tuple[Any, ...]] = {
    "objective": ("rows", "entries"), "tie": ("keep", "untie"), "certify": (False, True, "tight"),
    "force": (False, True), "allocate": ("uniform", "global"), "ranks": ("equal", "mixed"),
    "dtype": (None, "float16", "bfloat16"),
}  # fmt: skip
"""What an option may be that is one of a few."""


@dataclass(frozen=True)
class Options:
    """What `compress` and ``lpgeom compress`` were asked for; see `compress`."""

    size: Any = None
    ratio: float | None = None
    rank: int | Mapping[str, int] | None = None
    max_norm_error: float | None = None
    p: Any = None
    objective: str = "rows"
    layers: Any = "embeddings"
    exclude: Any = ()
    row_weights: Any = "auto"
    tokenizer: Any = None
    subspaces: Any = None
    ranks: Any = None
    allocate: Any = None
    tie: str = "keep"
    calibration: bool = False
    force: bool = False
    certify: bool | str = True
    seed: int = 0
    dtype: str | None = None
    trim: Any = False

    @property
    def by_tokens(self) -> bool:
        """Whether rows of a word embedding count as their tokens do, where nothing else is said."""
        return self.asks_for_tokens and (self.ranks == "mixed" or self.size is not None)

    @property
    def trims(self) -> bool:
        """Whether a tokenizer that is given is to be trimmed; or None is, or one that is trimmed
        already."""
        return self.trim is not False and not isinstance(self.trim, TrimmedTokenizer)

    def trimmed(self) -> TrimmedTokenizer:
        """The tokenizer without the tokens of less weight than `trim` says."""
        if not self.trims:
            return self.trim
        threshold = None if self.trim is True else self.trim
        return trim_tokenizer(self.tokenizer, threshold)

    @property
    def asks_for_tokens(self) -> bool:
        """Whether nothing but the vocabulary says how much a token counts."""
        return isinstance(self.row_weights, str) and self.row_weights == "auto"

    @classmethod
    def checked(cls, **given: Any) -> Options:
        """Options that can be carried out, with a value for each that was not given.

        Raises
        ------
        TypeError, ValueError
            Naming the option.
        """
        asked = cls(**given)._filled()
        for name, allowed in CHOICES.items():
            validation.check_choice(name, getattr(asked, name), allowed)
        entries, mixed = asked.objective == "entries", asked.ranks == "mixed"
        told, by_error = not asked.asks_for_tokens, asked.max_norm_error is not None
        sized, usual = asked.size is not None, cls(size=0.5)._filled()
        wrong = {
            'size goes with objective="rows"': entries and sized,
            "dtype goes with size": asked.dtype is not None and not sized,
            'trim goes with size, and row_weights="auto" (or nn.trim_tokenizer\'s result)': (
                asked.trim is not False and not sized
            )
            or (asked.trims and told),
            "trim goes with a tokenizer": asked.trims and asked.tokenizer is None,
            **{
                f"{name} goes with ratio or rank, not with size": sized
                and getattr(asked, name) != getattr(usual, name)
                for name in ("subspaces", "ranks", "allocate", "force")
            },
            'subspaces > 1 goes with objective="rows"': entries and asked.subspaces > 1,
            'ranks="mixed" goes with objective="rows"': entries and mixed,
            'max_norm_error goes with ranks="equal"; give ratio or rank': mixed and by_error,
            'ranks="mixed" takes several subspaces: give subspaces=4, say': mixed
            and asked.subspaces < 2,
            'tokenizer goes with row_weights="auto"; row_weights=nn.token_weights(tokenizer) '
            "takes its frequencies as they are": told and asked.tokenizer is not None,
            'calibration goes with objective="rows"': entries and asked.calibration,
            'allocate="global" shares out what ratio leaves; give ratio': asked.ratio is None
            and asked.allocate == "global",
        }
        for message, holds in wrong.items():
            if holds:
                raise ValueError(message)
        return asked

    def _filled(self) -> Options:
        """The same with what was left open; numbers are checked."""
        sizes = {n: getattr(self, n) for n in ("size", "ratio", "rank", "max_norm_error")}
        given = [name for name, value in sizes.items() if value is not None]
        if len(given) != 1:
            raise ValueError(
                "give one of size, ratio, rank and max_norm_error"
                + (f", not {' and '.join(given)}" if given else "")
            )
        rank, ranks, subspaces, allocate = self.rank, self.ranks, self.subspaces, self.allocate
        if isinstance(rank, Mapping):
            rank = {k: validation.check_positive_int("rank", v) for k, v in rank.items()}
        elif rank is not None:
            rank = validation.check_positive_int("rank", rank)
        kinds = list(self.layers) if isinstance(self.layers, list | tuple) else [self.layers]
        by_ratio, rows = self.ratio is not None, self.objective == "rows"
        if ranks is None:
            ours = by_ratio and rows and subspaces is None and kinds != ["linear"]
            ranks = "mixed" if ours else "equal"
        if subspaces is None:
            subspaces = SUBSPACES if ranks == "mixed" else 1
        if allocate is None:
            whole = ranks == "mixed" and by_ratio and kinds == ["all"]
            allocate = "global" if whole else "uniform"
        p = self.p if self.p is not None else 1.0 if self.objective == "entries" else 2.0
        return replace(
            self,
            size=None if self.size is None else checked_size(self.size),
            ratio=_share("ratio", self.ratio),
            rank=rank,
            max_norm_error=_share("max_norm_error", self.max_norm_error),
            p=validation.check_p(p),
            subspaces=validation.check_positive_int("subspaces", subspaces),
            ranks=ranks,
            allocate=allocate,
            seed=validation.check_seed(self.seed),
            trim=_checked_trim(self.trim),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, what was not asked for left out."""
        weights = self.row_weights
        if self.asks_for_tokens and not self.by_tokens:
            weights = None
        if isinstance(weights, Mapping):
            weights = {k: v if isinstance(v, str) else "array" for k, v in weights.items()}
        elif weights is not None and not isinstance(weights, str):
            weights = "array"
        exclude = [self.exclude] if isinstance(self.exclude, str) else list(self.exclude)
        values = vars(self) | {
            "rank": dict(self.rank) if isinstance(self.rank, Mapping) else self.rank,
            "layers": self.layers if isinstance(self.layers, str) else list(self.layers),
            "exclude": exclude or None,
            "row_weights": weights,
            "tokenizer": None if self.tokenizer is None else True,
            "ranks": None if self.ranks == "equal" else self.ranks,
            "calibration": self.calibration or None,
            "force": self.force or None,
            "trim": self.trim.threshold if isinstance(self.trim, TrimmedTokenizer) else self.trim,
        }
        values["trim"] = None if values["trim"] is False else values["trim"]
        return {name: value for name, value in values.items() if value is not None}


def _checked_trim(trim: Any) -> Any:
    """True, False, a threshold or a trimmed tokenizer."""
    if isinstance(trim, bool | TrimmedTokenizer):
        return trim
    return validation.check_tolerance(trim, "trim")


def _share(name: str, value: Any) -> float | None:
    """A number strictly between 0 and 1, or None."""
    if value is None:
        return None
    try:
        return validation.check_tolerance(value, name)
    except ValueError as error:
        if name == "ratio" and 1.0 < float(value) < 100.0:
            hint = f" ({float(value):g}% is {float(value) / 100:g})"
            raise ValueError(f"{error}{hint}") from error
        raise
