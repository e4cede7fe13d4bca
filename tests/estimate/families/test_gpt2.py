"""GPT-2: the published sizes, and what is stored otherwise than elsewhere."""

from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.estimate.architecture import Architecture
from llmkit.estimate.families.gpt2 import read_gpt2
from llmkit.model.keys import Keys

SMALL = {"model_type": "gpt2", "vocab_size": 50_257, "n_embd": 768, "n_layer": 12, "n_head": 12}


def read(prefix: str = "", **change: Any) -> Architecture:
    return read_gpt2(Keys({**SMALL, **change}, "config.json"), prefix)


@pytest.mark.parametrize(
    ("width", "layers", "heads", "parameters"),
    [
        (768, 12, 12, 124_439_808),  # gpt2
        (1024, 24, 16, 354_823_168),  # gpt2-medium
        (1280, 36, 20, 774_030_080),  # gpt2-large
        (1600, 48, 25, 1_557_611_200),  # gpt2-xl
    ],
)
def test_the_four_published_models_have_their_published_parameters(
    width: int, layers: int, heads: int, parameters: int
) -> None:
    found = read(n_embd=width, n_layer=layers, n_head=heads)
    assert found.parameters == parameters
    assert found.head_dim == 64
    assert found.mlp_width == 4 * width


def test_its_matrices_are_stored_as_in_by_out() -> None:
    shapes = {tensor.name: tensor.shape for tensor in read("inner.").tensors}
    assert shapes["inner.transformer.h.0.attn.c_attn.weight"] == (768, 3 * 768)
    assert shapes["inner.transformer.h.11.mlp.c_fc.weight"] == (768, 3072)
    assert shapes["inner.transformer.h.11.mlp.c_proj.bias"] == (768,)


def test_every_layer_keeps_keys_and_values_of_all_heads() -> None:
    found = read()
    assert sum(cache.kv_heads * (cache.key_dim + cache.value_dim) for cache in found.caches) == 12 * 2 * 768
    assert {cache.kind for cache in found.caches} == {"full"}


def test_a_table_of_sinusoids_is_stored_and_is_no_parameter() -> None:
    learned, fixed = read(), read(position_embedding_type="sinusoidal")
    assert learned.parameters - fixed.parameters == 1024 * 768
    assert [tensor.name for tensor in fixed.tensors] == [tensor.name for tensor in learned.tensors]
    with pytest.raises(ConfigError, match="learned or sinusoidal"):
        read(position_embedding_type="rotary")


def test_names_of_other_families_and_a_head_of_its_own_are_understood() -> None:
    other = {"vocab_size": 50_257, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12}
    found = read_gpt2(Keys({**other, "model_type": "gpt2"}, "config.json"), "")
    assert found == read()
    assert read(tie_word_embeddings=False).by_part["head"] == 50_257 * 768
    assert "head" not in found.by_part


@pytest.mark.parametrize("change", [{"n_positions": 32_768, "n_inner": 14_336}, {"n_ctx": 32_768}])
def test_longer_and_wider_models_than_the_published_are_read(change: dict[str, Any]) -> None:
    found = read(**change)
    assert found.max_position_embeddings == 32_768
    assert found.mlp_width == change.get("n_inner", 3072)
