"""GPT-2's own keys."""

from collections.abc import Callable

import pytest

from llmkit.errors import ConfigError
from llmkit.model.families.gpt2 import InnerWidth, OneKindOfHead, Positions
from llmkit.model.keys import Keys

MakeKeys = Callable[..., Keys]


def test_an_inner_width_that_is_null_or_absent_is_four_times_the_width(keys: MakeKeys) -> None:
    for found in (keys(), keys(n_inner=None)):
        assert InnerWidth().read(found, {"hidden_size": 6}) == {"intermediate_size": 24}
    assert InnerWidth().read(keys(n_inner=7), {"hidden_size": 6}) == {"intermediate_size": 7}
    assert InnerWidth().write({"intermediate_size": 7}) == {"n_inner": 7}


def test_heads_share_the_width(keys: MakeKeys) -> None:
    found = OneKindOfHead().read(keys(n_head=3), {"hidden_size": 6})
    assert found == {"num_attention_heads": 3, "num_key_value_heads": 3, "head_dim": 2}
    assert OneKindOfHead().write(found) == {"n_head": 3}
    with pytest.raises(ConfigError, match="n_head is not a divisor of n_embd, 6"):
        OneKindOfHead().read(keys(n_head=4), {"hidden_size": 6})


def test_sinusoids_are_told_by_a_key_of_our_own(keys: MakeKeys) -> None:
    for position, extra in (("learned", {}), ("sinusoidal", {"position_embedding_type": "sinusoidal"})):
        written = Positions().write({"position": position, "max_position_embeddings": 9})
        assert written == {"n_ctx": 9, **extra}
        assert Positions().read(keys(**written), {}) == {"position": position}
    with pytest.raises(ConfigError, match="position_embedding_type is not learned or sinusoidal"):
        Positions().read(keys(position_embedding_type="rotary"), {})
