"""Logit bias: transformers' own sequence bias of one token is the oracle."""

import torch

from llmkit.engine.bias import Bias


def test_it_is_transformers_sequence_bias_of_single_tokens() -> None:
    from transformers import SequenceBiasLogitsProcessor

    logits = torch.randn(50, generator=torch.Generator().manual_seed(0))
    pairs = ((3, 5.0), (7, -100.0), (49, 0.25))
    theirs = SequenceBiasLogitsProcessor({(token,): added for token, added in pairs})
    expected = theirs(torch.tensor([[1, 2]]), logits[None].clone())[0]
    before = logits.clone()
    assert torch.equal(Bias(pairs).apply(logits), expected)
    assert torch.equal(logits, before)
