"""Logit bias: transformers' own sequence bias of one token is the oracle."""

import numpy as np
import torch

from llmkit.engine.bias import Bias


def test_it_is_transformers_sequence_bias_of_single_tokens() -> None:
    from transformers import SequenceBiasLogitsProcessor

    logits = np.random.default_rng(0).standard_normal(50, np.float32)
    pairs = ((3, 5.0), (7, -100.0), (49, 0.25))
    theirs = SequenceBiasLogitsProcessor({(token,): added for token, added in pairs})
    expected = theirs(torch.tensor([[1, 2]]), torch.tensor(logits)[None])[0]
    before = logits.copy()
    assert np.array_equal(Bias(pairs).apply(logits), expected.numpy())
    assert np.array_equal(logits, before)


def test_an_id_that_comes_twice_gets_both() -> None:
    assert Bias(((1, 0.5), (1, 2.0))).apply(np.ones(3, np.float32)).tolist() == [1.0, 3.5, 1.0]
