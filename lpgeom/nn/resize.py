"""More or fewer tokens in a model whose embedding is in factors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lpgeom import validation
from lpgeom.nn.embedding import LowRankEmbedding
from lpgeom.nn.linear import LowRankLinear


def resize_token_embeddings(model: nn.Module, num_tokens: int) -> LowRankEmbedding:
    """What a Hugging Face model's own ``resize_token_embeddings`` does, for factors.

    Rows of `left` are added or cut at the end, in the input embedding and in every layer that
    shares them; in an output layer of its own weights these; biases too. A new token gets the mean
    of the rows (of the largest subspace), and the bias 0. ``config.vocab_size`` follows.

    Parameters
    ----------
    model : torch.nn.Module
        With ``get_input_embeddings()``, a `LowRankEmbedding`.
    num_tokens : int

    Returns
    -------
    LowRankEmbedding

    Raises
    ------
    TypeError
        An embedding that is not in factors: use the model's own method.

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
    if not isinstance(embedding, LowRankEmbedding):
        raise TypeError(
            f"the input embedding is a {type(embedding).__name__}, not in factors; use the model's "
            "own resize_token_embeddings"
        )
    shared = embedding.left
    n = embedding.num_embeddings
    if n == num_tokens:
        return embedding
    labels = embedding.labels
    usual = 0 if labels is None else int(torch.bincount(labels.long()).argmax())
    with torch.no_grad():
        own = shared if labels is None else shared[labels == usual]
        left = nn.Parameter(
            _resized(shared, num_tokens, own.mean(0)), requires_grad=shared.requires_grad
        )
        new_labels = None if labels is None else _resized(labels, num_tokens, usual)
        outputs: list[Any] = []
        for module in model.modules():
            if getattr(module, "left", None) is not shared:
                continue
            if isinstance(module, LowRankEmbedding):
                module.num_embeddings = num_tokens
                if module.padding_idx is not None and module.padding_idx >= num_tokens:
                    module.padding_idx = None
            elif isinstance(module, LowRankLinear):
                module.out_features = num_tokens
                outputs.append(module)
            else:
                continue
            module.left, module.labels = left, new_labels
        head = _output_layer(model, n)
        if head is not None:
            _resize_head(head, num_tokens)
            outputs.append(head)
        biases = {
            id(b): nn.Parameter(_resized(b, num_tokens, 0.0), requires_grad=b.requires_grad)
            for b in (layer.bias for layer in outputs)
            if b is not None
        }
        # A bias may be shared with a module beside the layer (as in masked language models).
        for module in model.modules():
            for key, parameter in module._parameters.items():
                if parameter is not None and id(parameter) in biases and len(parameter) == n:
                    module._parameters[key] = biases[id(parameter)]
    config = getattr(model, "config", None)
    if getattr(config, "vocab_size", None) == n:
        config.vocab_size = num_tokens  # type: ignore[union-attr]
    return embedding


def _output_layer(model: nn.Module, n: int) -> Any:
    """The output layer, if it still has n rows: it shares nothing with the embedding."""
    get = getattr(model, "get_output_embeddings", None)
    head = None if get is None else get()
    return head if getattr(head, "out_features", None) == n else None


def _resize_head(head: Any, num_tokens: int) -> None:
    rows = head.left if isinstance(head, LowRankLinear) else head.weight
    usual = rows
    if getattr(head, "labels", None) is not None:
        largest = int(torch.bincount(head.labels.long()).argmax())
        usual = rows[head.labels == largest]
        head.labels = _resized(head.labels, num_tokens, largest)
    made = nn.Parameter(_resized(rows, num_tokens, usual.mean(0)), rows.requires_grad)
    if isinstance(head, LowRankLinear):
        head.left = made
    else:
        head.weight = made
    head.out_features = num_tokens


def _resized(values: Tensor, n: int, filling: Any) -> Tensor:
    """The first n rows, and rows of `filling` where there are fewer."""
    made = values.new_empty(n, *values.shape[1:])
    kept = min(n, len(values))
    made[:kept] = values.detach()[:kept]
    made[kept:] = filling
    return made
