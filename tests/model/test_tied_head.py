"""The head that is the embedding: nothing of its own, and the same scores."""

import torch
from torch import nn

from llmkit.model.config import ModelConfig
from llmkit.model.tied_head import TiedHead


def test_a_tied_head_scores_with_the_embedding_and_has_no_tensor_of_its_own() -> None:
    config = ModelConfig(
        **{"vocab_size": 5, "hidden_size": 4, "intermediate_size": 4, "num_hidden_layers": 1},
        **{"num_attention_heads": 2, "tie_word_embeddings": True},
    )
    embedding = nn.Embedding(5, 4)
    head, x = TiedHead(embedding, config), torch.randn(3, 4)
    assert dict(head.state_dict()) == {}
    assert torch.equal(head(x), x @ embedding.weight.T)
    embedding.weight = nn.Parameter(torch.ones(5, 4))
    assert torch.equal(head.weight, torch.ones(5, 4))
