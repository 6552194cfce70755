"""How much each row of a weight counts: as the call says, or as often as its token occurs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from lpgeom.io import validation
from lpgeom.nn.model.select import by_name
from lpgeom.nn.model.sites import Group
from lpgeom.nn.plan.options import Options
from lpgeom.nn.plan.token_weights import frequency_weights, vocabulary_weights
from lpgeom.nn.plan.vocabulary import read_tokenizer
from lpgeom.records.subspace import Array

ROW_WEIGHTS: dict[str, Callable[[int], Array]] = {"frequency": frequency_weights}
"""Name -> how much each of the n rows of an embedding counts, by its place alone. A new kind is an
entry: ``ROW_WEIGHTS["mine"] = f`` is all that ``compress(model, row_weights="mine")`` and the
command's ``--row-weights mine`` take. What is not by place alone is given as an array."""

POWERS = {False: 0.5, True: 0.7}
"""Of a token's frequency, with and without a `size` in bytes: what kept most on tuning tasks."""


@contextmanager
def named(name: str) -> Iterator[None]:
    """Adds a layer's name to what goes wrong with it."""
    try:
        yield
    except (ValueError, TypeError) as error:
        if type(error) not in (ValueError, TypeError):
            raise
        raise type(error)(f"{name}: {error}") from error


def row_weights(
    chosen: Sequence[Group], notes: Mapping[str, str], options: Options, word: set[int]
) -> Callable[[Group], tuple[Array | None, str]]:
    """For each group the weights of its rows, and where they are from: as `LayerReport.weights`.

    `word` has the ids of the modules that the model says embed words.

    Raises
    ------
    TypeError, ValueError
        Weights or a tokenizer that do not fit the model.
    """
    given = _given(chosen, notes, options.row_weights)
    tokens = _of_tokens(chosen, notes, options, word)

    def of(group: Group) -> tuple[Array | None, str]:
        if group in tokens:
            return tokens[group], "tokens"
        value, n = given.get(group), group.head.shape[0]
        if value is None:
            return None, "none"
        if isinstance(value, str):
            validation.check_choice("row_weights", value, ("auto", *ROW_WEIGHTS))
            return ROW_WEIGHTS[value](n), "given"
        with named(group.name):
            return validation.check_weights(value, n), "given"

    return of


def _given(chosen: Sequence[Group], notes: Mapping[str, str], given: Any) -> dict[Group, Any]:
    """What the call says of groups' rows."""
    if isinstance(given, Mapping):
        return by_name(chosen, given, "row_weights")
    if given is None or (isinstance(given, str) and given == "auto"):
        return {}
    if isinstance(given, str):
        # A frequency is one of tokens: linear layers have none.
        return {group: given for group in chosen if group.kind == "embedding"}
    open_groups = [group for group in chosen if group.name not in notes]
    if len(open_groups) != 1:
        names = ", ".join(group.name for group in open_groups[:5])
        raise ValueError(
            f"row_weights is an array, but {len(open_groups)} layers are selected ({names}): pass "
            "a mapping from names to arrays"
        )
    return {open_groups[0]: given}


def _of_tokens(
    chosen: Sequence[Group], notes: Mapping[str, str], options: Options, word: set[int]
) -> dict[Group, Array]:
    """Roots of the frequencies of the tokens of embeddings, by the tokenizer or by Zipf's law.

    Roots: rare words say more of a text than their number does. Of what may be the word embedding,
    the tokenizer's tokens are the rows of the table (or tables) with least rows of those that have
    one for each; others are positions, segments. Without a tokenizer the rows are taken to be in
    the order of their frequency only where the model names a single table.
    """
    if not options.by_tokens:
        return {}
    power = POWERS[options.size is not None]
    tables = [
        group
        for group in chosen
        if group.kind == "embedding"
        and group.name not in notes
        and (not word or any(id(site.owner) in word for site in group.sites))
    ]
    if options.tokenizer is None:
        ordered = tables if word and len(tables) == 1 else []
        return {group: frequency_weights(group.head.shape[0]) ** power for group in ordered}
    if not tables:
        return {}
    with named(f"tokenizer, for {tables[0].name}"):
        vocabulary = read_tokenizer(options.tokenizer)
    fitting = [n for group in tables if (n := group.head.shape[0]) >= vocabulary.n]
    found = {}
    for group in tables:
        n = group.head.shape[0]
        if not fitting or n == min(fitting):
            with named(f"tokenizer, for {group.name}"):
                found[group] = vocabulary_weights(vocabulary, n) ** power
    return found
