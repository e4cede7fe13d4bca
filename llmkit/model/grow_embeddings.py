"""Embeddings for tokens that a model does not have yet.

Shapes: V rows before, D hidden_size.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from llmkit.errors import ConfigError
from llmkit.model.tied_head import TiedHead
from llmkit.model.transformer import Transformer


@torch.no_grad()
def grow_embeddings(model: Transformer, rows: int) -> None:
    """Give a model more rows of embeddings, and of its head.

    New rows are the mean of the old ones: a new token's score is then never far above the others', and the
    probability of every text of old tokens changes little (Hewitt, "Initializing New Word Embeddings", 2021).

    Args:
        model: changed in place, its config's vocab_size too; before it is given adapters.
        rows: in all.

    Raises:
        ConfigError: it has more rows than that, or an embedding that is no plain one.
    """
    embedding, head = model.model.embed_tokens, model.lm_head
    if type(embedding) is not nn.Embedding or not isinstance(head, nn.Linear | TiedHead):
        raise ConfigError(
            "embeddings that are adapted or quantised cannot grow", hint="grow them before that"
        )
    if rows < len(embedding.weight):
        raise ConfigError(
            f"{rows} rows of embeddings are fewer than the model's {len(embedding.weight)}",
            hint="give at least as many as the model has",
        )
    _grow(embedding, rows)
    if isinstance(head, nn.Linear):
        head.weight, head.out_features = _grown(head.weight, rows), rows
    if head.bias is not None:
        head.bias = _grown(head.bias, rows)
    config = replace(model.config, vocab_size=rows)
    if model.model.own_inputs is not None and config.own_inputs is not None:
        rows = max(rows, config.own_inputs.vocab_size)
        _grow(model.model.own_inputs.embed_tokens, rows)
        config = replace(config, own_inputs=replace(config.own_inputs, vocab_size=rows))
    model.config = model.model.config = config


def _grow(embedding: nn.Embedding, rows: int) -> None:
    embedding.weight, embedding.num_embeddings = _grown(embedding.weight, rows), rows


def _grown(old: nn.Parameter | Tensor, rows: int) -> nn.Parameter:
    mean = old.float().mean(0, keepdim=True).to(old.dtype)
    new = torch.cat((old, mean.expand(rows - len(old), *old.shape[1:])))
    return nn.Parameter(new, requires_grad=old.requires_grad)
