"""More rows of embeddings: old tokens keep their scores, new ones have the mean."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from llmkit.errors import ConfigError
from llmkit.model.config import ModelConfig
from llmkit.model.config_parts import OwnInputsConfig
from llmkit.model.grow_embeddings import grow_embeddings
from llmkit.model.save import save_model
from llmkit.model.transformer import Transformer

IDS = torch.arange(10).view(1, 10)


@pytest.mark.parametrize("tied", [False, True])
def test_old_tokens_keep_their_scores_and_new_ones_score_the_mean(
    tied: bool, make_config: Callable[..., ModelConfig], make_model: Callable[..., Transformer]
) -> None:
    model = make_model(make_config(tie_word_embeddings=tied))
    before = model(IDS)
    grow_embeddings(model, 96)
    after = model(IDS)
    assert after.shape[-1] == model.config.vocab_size == model.model.config.vocab_size == 96
    torch.testing.assert_close(after[..., :80], before)
    torch.testing.assert_close(after[..., 80:], before.mean(-1, keepdim=True).expand(-1, -1, 16))
    assert model(torch.full((1, 3), 95)).isfinite().all()


def test_embeddings_of_each_layer_s_own_grow_with_those_of_the_stream(
    make_model: Callable[..., Transformer],
) -> None:
    keys = {
        **{"model_type": "gemma4_text", "vocab_size": 10, "hidden_size": 6, "intermediate_size": 8},
        **{"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4},
        **{"global_head_dim": 8, "hidden_size_per_layer_input": 3, "vocab_size_per_layer_input": 10},
    }
    model = make_model(ModelConfig.from_hf(keys))
    before = model(IDS)
    grow_embeddings(model, 12)
    assert model.config.own_inputs == model.model.config.own_inputs == OwnInputsConfig(vocab_size=12, width=3)
    torch.testing.assert_close(model(IDS)[..., :10], before)
    assert model(torch.full((1, 3), 11)).isfinite().all()


def test_a_grown_model_opens_in_transformers(
    make_config: Callable[..., ModelConfig],
    make_model: Callable[..., Transformer],
    open_theirs: Callable[[Path], nn.Module],
    logit_gap: Callable[..., float],
    tmp_path: Path,
) -> None:
    model = make_model(make_config())
    grow_embeddings(model, 88)
    save_model(model, tmp_path)
    assert logit_gap(model, open_theirs(tmp_path)) < 1e-5


def test_embeddings_do_not_shrink(
    make_config: Callable[..., ModelConfig], make_model: Callable[..., Transformer]
) -> None:
    with pytest.raises(ConfigError, match="fewer than the model's 80"):
        grow_embeddings(make_model(make_config()), 79)
