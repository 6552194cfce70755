"""More or fewer tokens in a model whose embedding is in factors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lpgeom.io import validation
from lpgeom.nn.factors.groups import Factors, places_of
from lpgeom.nn.modules.embedding import LowRankEmbedding
from lpgeom.nn.modules.linear import LowRankLinear
from lpgeom.nn.modules.low_rank import LowRank
from lpgeom.nn.modules.quantized import Quantized


def resize_token_embeddings(model: nn.Module, num_tokens: int) -> nn.Module:
    """What a Hugging Face model's own ``resize_token_embeddings`` does, for factors.

    Rows of left factors are added or cut at the end, in the input embedding and in every layer that
    shares them; in an output layer of its own weights these; biases too, also the buffer
    ``final_logits_bias`` of Marian, Pegasus, BART and their kin. A new token gets the mean of the
    rows, and the bias 0. Where rows are in groups, new ones go to the group of the highest rank (of
    equal ranks, to the largest group), with the mean of its rows. ``config.vocab_size`` follows,
    and Marian's ``config.decoder_vocab_size``.

    Parameters
    ----------
    model : torch.nn.Module
        Its ``get_input_embeddings()`` gives a `LowRankEmbedding`.
    num_tokens : int

    Returns
    -------
    LowRankEmbedding

    Raises
    ------
    TypeError
        An embedding that is not in factors: use the model's own method (one in few bits has to be
        dense first, see `decompress`); an output layer of another
        kind. The model is as it was.

    Examples
    --------
    >>> import torch
    >>> from lpgeom import nn
    >>> class Net(torch.nn.Sequential):
    ...     def get_input_embeddings(self):
    ...         return self[0]
    >>> model = Net(torch.nn.Embedding(300, 24))
    >>> _ = nn.compress(model, rank=5, progress=False)
    >>> nn.resize_token_embeddings(model, 310)
    LowRankEmbedding(310, 24, rank=5)
    """
    num_tokens = validation.check_positive_int("num_tokens", num_tokens)
    get = getattr(model, "get_input_embeddings", None)
    embedding = None if get is None else get()
    if isinstance(embedding, Quantized):
        raise TypeError(
            f"the input embedding is a {type(embedding).__name__}, whose rows are codes: resize "
            "the model before it is compressed, or decompress it"
        )
    if not isinstance(embedding, LowRankEmbedding):
        raise TypeError(
            f"the input embedding is a {type(embedding).__name__}, not in factors; use the model's "
            "own resize_token_embeddings"
        )
    n = embedding.num_embeddings
    if n == num_tokens:
        return embedding
    head = _output_layer(model, embedding)
    with torch.no_grad():
        shared = _resize_factors(model, embedding, num_tokens)
        if isinstance(head, LowRankLinear):  # shared with a decoder's own embedding, perhaps
            shared += _resize_factors(model, head, num_tokens)
        for module in shared:
            if isinstance(module, LowRankEmbedding):
                module.num_embeddings = num_tokens
                if module.padding_idx is not None and module.padding_idx >= num_tokens:
                    module.padding_idx = None
        outputs = [layer for layer in shared if not isinstance(layer, LowRankEmbedding)]
        fillings = []
        if head is not None and head not in outputs:
            outputs.append(head)
            fillings.append((head.weight, head.weight.mean(0)))
        for layer in outputs:
            layer.out_features = num_tokens
            fillings += [] if layer.bias is None else [(layer.bias, 0.0)]
        made = {
            id(old): nn.Parameter(_resized(old, num_tokens, filling), old.requires_grad)
            for old, filling in fillings
        }
        # A bias may be shared with a module beside the layer (as in masked language models), and
        # the weight of a dense output layer with a decoder's own embedding.
        for module in model.modules():
            for key, parameter in module._parameters.items():
                if id(parameter) in made:
                    module._parameters[key] = made[id(parameter)]
                    if isinstance(module, nn.Embedding):
                        module.num_embeddings = num_tokens
            # What sequence-to-sequence models add to the output layer's logits.
            bias = module._buffers.get("final_logits_bias")
            if outputs and bias is not None and bias.shape == (1, n):
                module._buffers["final_logits_bias"] = _resized(bias[0], num_tokens, 0.0)[None]
    config = getattr(model, "config", None)
    if getattr(config, "vocab_size", None) == n:
        config.vocab_size = num_tokens  # type: ignore[union-attr]
    if outputs and getattr(config, "decoder_vocab_size", None) == n:
        config.decoder_vocab_size = num_tokens  # type: ignore[union-attr]
    return embedding


def _sharing(model: nn.Module, layer: LowRank) -> list[Any]:
    """The layers in factors that share a layer's rows, itself among them."""
    first = layer.factors.lefts[0]
    return [
        module
        for module in model.modules()
        if isinstance(module, LowRank) and module.factors.lefts[0] is first
    ]


def _resize_factors(model: nn.Module, layer: LowRank, num_tokens: int) -> list[Any]:
    """Add or cut rows in a layer and those that share them, which are returned."""
    old = layer.factors
    sizes = old.counts if len(set(old.ranks)) == 1 else old.ranks
    usual = max((c for c, n_c in enumerate(old.counts) if n_c), key=lambda c: sizes[c])
    kept = min(num_tokens, old.shape[0])
    labels = None if old.labels is None else _resized(old.labels, num_tokens, usual)
    lefts = []
    for c, left in enumerate(old.lefts):
        rows = left[:kept]
        if labels is not None and old.places is not None:
            # In the order of the tokens, as `places_of` counts them.
            rows = left[old.places[:kept][labels[:kept] == c].long()]
        more = num_tokens - kept if c == usual else 0
        rows = _resized(rows, len(rows) + more, left.mean(0) if more else 0.0)
        lefts.append(nn.Parameter(rows, requires_grad=left.requires_grad))
    places = None if labels is None else places_of(labels, len(lefts))
    sharing = _sharing(model, layer)
    for module in sharing:
        module.take(Factors(tuple(lefts), module.factors.rights, labels, places))
    return sharing


def _output_layer(model: nn.Module, embedding: LowRankEmbedding) -> Any:
    """The output layer, if it has n rows of its own: it shares nothing with the embedding.

    Raises
    ------
    TypeError
        One whose rows cannot be told.
    """
    get = getattr(model, "get_output_embeddings", None)
    head: Any = None if get is None else get()
    n = embedding.num_embeddings
    if getattr(head, "out_features", None) != n or head in _sharing(model, embedding):
        return None
    if not isinstance(head, LowRankLinear):
        rows = head._parameters.get("weight")
        if rows is None or rows.shape[0] != n or not rows.is_floating_point():
            raise TypeError(
                f"the output layer is a {type(head).__name__} without a weight of {n} rows, which "
                "cannot be resized; resize the model before it is compressed"
            )
    return head


def _resized(values: Tensor, n: int, filling: Any) -> Tensor:
    """The first n rows, and rows of `filling` where there are fewer."""
    made = values.new_empty(n, *values.shape[1:])
    kept = min(n, len(values))
    made[:kept] = values.detach()[:kept]
    made[kept:] = filling
    return made
