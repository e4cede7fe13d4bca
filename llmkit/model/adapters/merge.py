"""A model whose adapter has become part of its weights: an ordinary model again."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from llmkit.model.adapters.add_lora import replace_module
from llmkit.model.adapters.lora import Adapted, LoraEmbedding, LowRankChange, Retrained, dense_weight
from llmkit.model.quantised.linear import QuantisedLinear
from llmkit.model.tied_head import TiedHead
from llmkit.model.transformer import Transformer

_HEAD = "lm_head"


@torch.no_grad()
def merge_adapter(model: Transformer) -> None:
    """Put every change into its matrix, computed in float32 and kept in the dtype the matrix has.

    Quantised matrices become numbers. A head that is the embedding gets a matrix of its own where the adapter
    changes one of the two alone; the config then says so.

    Args:
        model: changed in place; all of it is as trainable as its base was.
    """
    _untie(model)
    bases = [module.base for module in model.modules() if isinstance(module, Adapted)]
    for name, module in list(model.named_modules()):
        if isinstance(module, LowRankChange):
            base = module.base
            weight = module.values.merged(dense_weight(base).detach())
            if isinstance(base, nn.Embedding):
                base.weight = nn.Parameter(weight, requires_grad=False)
                replace_module(model, name, base)
            else:
                replace_module(model, name, _linear(weight, base.bias))
        elif isinstance(module, Retrained):
            replace_module(model, name, module.own.requires_grad_(False))
        elif isinstance(module, QuantisedLinear) and not any(module is base for base in bases):
            replace_module(model, name, _linear(module.dense(), module.bias))


def _untie(model: Transformer) -> None:
    """A matrix of its own for a head whose embedding is changed without it, or that is changed itself."""
    head, embedding = model.lm_head, model.model.embed_tokens
    inner = head.base if isinstance(head, Adapted) else head
    if not isinstance(inner, TiedHead):
        return
    if isinstance(head, Retrained):
        if isinstance(head.own, TiedHead):
            return  # trained as one
    elif isinstance(head, LowRankChange):
        head.base = _linear(inner.weight.detach().clone(), inner.bias)
    elif isinstance(embedding, LoraEmbedding | Retrained):
        replace_module(model, _HEAD, _linear(inner.weight.detach().clone(), inner.bias))
    else:
        return
    model.config = model.model.config = replace(model.config, tie_word_embeddings=False)


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    rows, columns = weight.shape
    linear = nn.Linear(columns, rows, bias=bias is not None, device="meta")
    linear.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        linear.bias = nn.Parameter(bias.detach(), requires_grad=False)
    return linear
