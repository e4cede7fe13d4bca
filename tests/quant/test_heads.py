import torch
from torch import nn

from llmkit.model.tied_head import TiedHead
from llmkit.quant.heads import own_logits, tied_like
from tests.quant.small_models import model

STATES = torch.randn(2, 3, 256, generator=torch.Generator().manual_seed(3))


def test_logits_stay_those_of_the_head_that_was_kept() -> None:
    for tied in (False, True):
        made = model(num_hidden_layers=1, tie_word_embeddings=tied)
        wanted = made.logits(STATES)
        kept = own_logits(
            made, made.lm_head if isinstance(made.lm_head, nn.Linear) else made.model.embed_tokens.weight.data
        )
        made.lm_head = nn.Linear(256, 96)
        assert torch.equal(kept(STATES), wanted)


def test_a_head_over_another_embedding_has_the_same_bias() -> None:
    made = model(num_hidden_layers=1, tie_word_embeddings=True)
    assert isinstance(made.lm_head, TiedHead)
    made.lm_head.bias = nn.Parameter(torch.arange(96.0))
    other = nn.Embedding(96, 256)
    made.lm_head = tied_like(made.lm_head, other, made)
    assert torch.allclose(made.logits(STATES), STATES @ other.weight.T + torch.arange(96.0), atol=1e-4)
