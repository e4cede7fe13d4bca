"""A family reads part after part, refuses what none understood, and writes what all of them write."""

from collections.abc import Callable
from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.model.families.family import BIAS, Family, layer_norm, rms, sizes
from llmkit.model.families.parts import Heads
from llmkit.model.keys import Keys

MakeKeys = Callable[..., Keys]
SIZES = {"vocab_size": 8, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
FAMILY = Family("SomeForCausalLM", (*sizes(64), Heads(), rms(), BIAS), tied=True)


def test_parts_are_read_in_their_order_and_written_back(keys: MakeKeys) -> None:
    given = {**SIZES, "num_attention_heads": 4, "attention_bias": True}
    found = FAMILY.read(keys(**given), "some")
    assert found == {
        **{**SIZES, "tie_word_embeddings": True, "max_position_embeddings": 64, "hidden_act": "silu"},
        **{"num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 4, "norm_eps": 1e-6},
        **{"attention_bias": True, "output_bias": True},
    }
    written = FAMILY.write(found)
    assert given.items() <= written.items()
    assert FAMILY.read(keys(**written), "some") == found


@pytest.mark.parametrize(
    "key",
    [
        "logit_scale",
        "rope_theta",
        "num_experts",
        "attn_logit_softcapping",
        "position_bias",
        "clip_qkv_factor",
    ],
)
def test_a_key_that_no_part_read_and_that_sounds_like_arithmetic_is_refused(key: str, keys: MakeKeys) -> None:
    given: dict[str, Any] = {**SIZES, "num_attention_heads": 4}
    with pytest.raises(ConfigError, match=rf"there: {key} \(2\) is not known for model_type some"):
        FAMILY.read(keys(**given, **{key: 2}), "some")
    FAMILY.read(keys(**given, **{key: None}), "some")
    FAMILY.read(keys(**given, _name_or_path="x", pretraining_tp=1, initializer_factor=1.0), "some")


def test_norms_have_their_own_key_and_defaults(keys: MakeKeys) -> None:
    assert rms(1e-5).read(keys(), {}) == {"norm_eps": 1e-5}
    assert rms().read(keys(rms_norm_eps=0.1), {}) == {"norm_eps": 0.1}
    found = [part.read(keys(norm_epsilon=0.1), {}) for part in layer_norm("norm_epsilon")]
    assert found == [{"norm_eps": 0.1}, {"norm": "layer"}]
