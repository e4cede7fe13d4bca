"""Heads of a model beside its own: the one that it had, and the one over another embedding."""

from collections.abc import Callable

from torch import Tensor, nn

from llmkit.model.tied_head import TiedHead
from llmkit.model.transformer import Transformer


def tied_like(head: TiedHead, embedding: nn.Embedding, model: Transformer) -> TiedHead:
    """A head over another embedding, float32, with the same bias.

    Args:
        head: of the model.
        embedding: the other.
        model: whose config it has.
    """
    fresh = TiedHead(embedding, model.config)
    fresh.bias = None if head.bias is None else nn.Parameter(head.bias.detach().float())
    return fresh


def own_logits(model: Transformer, kept: Tensor | nn.Linear) -> Callable[[Tensor], Tensor]:
    """`Transformer.logits` with a head of its own, whatever becomes of the model's.

    Args:
        model: whose config, and whose bias where the head is the embedding.
        kept: the head, or the embedding that is one.
    """
    if isinstance(kept, nn.Linear):
        head: TiedHead | nn.Linear = kept
    else:
        assert isinstance(model.lm_head, TiedHead)
        head = tied_like(model.lm_head, nn.Embedding.from_pretrained(kept), model)
    owner = Transformer.__new__(Transformer)
    nn.Module.__init__(owner)
    owner.config, owner.lm_head = model.config, head
    return owner.logits
