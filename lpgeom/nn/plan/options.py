"""The arguments of `compress`, checked once."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lpgeom.io import validation
from lpgeom.nn.factors.factored import Spec

SUBSPACES = 8
"""Groups of different rank where their number is not given, see docs/accuracy.md."""


@dataclass(frozen=True)
class Options:
    """What `compress` and ``lpgeom compress`` were asked for; see `compress`."""

    spec: Spec
    ratio: float | None = None
    rank: int | Mapping[str, int] | None = None
    max_norm_error: float | None = None
    layers: Any = "embeddings"
    exclude: Any = ()
    row_weights: Any = "auto"
    tokenizer: Any = None
    allocate: str = "uniform"
    tie: str = "keep"
    force: bool = False
    calibrated: bool = False

    @property
    def asks_for_tokens(self) -> bool:
        """Whether nothing but the vocabulary says how much a token counts."""
        return isinstance(self.row_weights, str) and self.row_weights == "auto"

    @classmethod
    def checked(
        cls,
        *,
        ratio: Any = None,
        rank: Any = None,
        max_norm_error: Any = None,
        p: Any = None,
        objective: Any = "rows",
        subspaces: Any = None,
        ranks: Any = None,
        certify: Any = True,
        seed: Any = 0,
        allocate: Any = None,
        tie: Any = "keep",
        force: Any = False,
        calibrated: bool = False,
        **rest: Any,
    ) -> Options:
        """Options that can be carried out.

        Raises
        ------
        TypeError, ValueError
            Naming the option.
        """
        given = [
            name
            for name, value in (
                ("ratio", ratio), ("rank", rank), ("max_norm_error", max_norm_error),
            )
            if value is not None
        ]  # fmt: skip
        if len(given) != 1:
            raise ValueError(
                "give one of ratio, rank and max_norm_error"
                + (f", not {' and '.join(given)}" if given else "")
            )
        if isinstance(rank, Mapping):
            rank = {k: validation.check_positive_int("rank", v) for k, v in rank.items()}
        elif rank is not None:
            rank = validation.check_positive_int("rank", rank)
        validation.check_objective(objective)
        validation.check_choice("tie", tie, ("keep", "untie"))
        validation.check_choice("certify", certify, (False, True, "tight"))
        validation.check_choice("force", force, (False, True))
        layers = rest.get("layers", "embeddings")
        kinds = list(layers) if isinstance(layers, list | tuple) else [layers]
        if ranks is None:
            ours = ratio is not None and objective == "rows" and subspaces is None
            ranks = "mixed" if ours and kinds != ["linear"] else "equal"
        if subspaces is None:
            subspaces = SUBSPACES if ranks == "mixed" else 1
        if allocate is None:
            whole = ranks == "mixed" and ratio is not None and kinds == ["all"]
            allocate = "global" if whole else "uniform"
        validation.check_choice("allocate", allocate, ("uniform", "global"))
        if p is None:
            p = 1.0 if objective == "entries" else 2.0
        subspaces = validation.check_positive_int("subspaces", subspaces)
        if subspaces > 1 and objective == "entries":
            raise ValueError('subspaces > 1 goes with objective="rows"')
        validation.check_choice("ranks", ranks, ("equal", "mixed"))
        if ranks == "mixed":
            if objective == "entries":
                raise ValueError('ranks="mixed" goes with objective="rows"')
            if max_norm_error is not None:
                raise ValueError('max_norm_error goes with ranks="equal"; give ratio or rank')
            if subspaces < 2:
                raise ValueError('ranks="mixed" takes several subspaces: give subspaces=4, say')
        automatic = rest.get("row_weights", "auto")
        if rest.get("tokenizer") is not None and not (
            isinstance(automatic, str) and automatic == "auto"
        ):
            raise ValueError(
                'tokenizer goes with row_weights="auto"; row_weights=nn.token_weights(tokenizer) '
                "takes its frequencies as they are"
            )
        if calibrated and objective == "entries":
            raise ValueError('calibration goes with objective="rows"')
        if allocate == "global" and ratio is None:
            raise ValueError('allocate="global" shares out what ratio leaves; give ratio')
        return cls(
            Spec(
                p=validation.check_p(p),
                objective=objective,
                subspaces=subspaces,
                ranks=ranks,
                certify=certify,
                seed=validation.check_seed(seed),
            ),
            ratio=_share("ratio", ratio),
            rank=rank,
            max_norm_error=_share("max_norm_error", max_norm_error),
            allocate=allocate,
            tie=tie,
            force=force,
            calibrated=calibrated,
            **rest,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, what was not asked for left out."""
        weights = self.row_weights
        if self.asks_for_tokens and self.spec.ranks == "equal":
            weights = None
        if isinstance(weights, Mapping):
            weights = {k: v if isinstance(v, str) else "array" for k, v in weights.items()}
        elif weights is not None and not isinstance(weights, str):
            weights = "array"
        values = {
            "ratio": self.ratio,
            "rank": dict(self.rank) if isinstance(self.rank, Mapping) else self.rank,
            "max_norm_error": self.max_norm_error,
            "p": self.spec.p,
            "objective": self.spec.objective,
            "layers": self.layers if isinstance(self.layers, str) else list(self.layers),
            "exclude": (
                [self.exclude] if isinstance(self.exclude, str) else list(self.exclude)
            ) or None,
            "row_weights": weights,
            "tokenizer": None if self.tokenizer is None else True,
            "subspaces": self.spec.subspaces,
            "ranks": None if self.spec.ranks == "equal" else self.spec.ranks,
            "allocate": self.allocate,
            "tie": self.tie,
            "calibration": self.calibrated or None,
            "force": self.force or None,
            "certify": self.spec.certify,
            "seed": self.spec.seed,
        }  # fmt: skip
        return {name: value for name, value in values.items() if value is not None}


def _share(name: str, value: Any) -> float | None:
    """A number strictly between 0 and 1, or None."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if not 0.0 < float(value) < 1.0:
        hint = ""
        if name == "ratio" and 1.0 < float(value) < 100.0:
            hint = f" ({float(value):g}% is {float(value) / 100:g})"
        raise ValueError(f"{name} must lie between 0 and 1, got {value!r}{hint}")
    return float(value)
