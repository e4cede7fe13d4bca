"""DeepSeek's ranks and head sizes, and what YaRN does to its scores."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.model.config_parts import LatentConfig
from llmkit.model.families.latent import LatentHeads, LatentRope
from llmkit.model.keys import Keys

MakeKeys = Callable[..., Keys]
SIZES = {"kv_lora_rank": 24, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 12}
YARN: dict[str, Any] = {
    **{"type": "yarn", "factor": 40, "mscale": 1.0, "mscale_all_dim": 1.0},
    **{"original_max_position_embeddings": 4096, "beta_fast": 32, "beta_slow": 1},
}


def test_a_heads_key_is_both_its_parts(keys: MakeKeys) -> None:
    found = LatentHeads().read(keys(num_attention_heads=4, q_lora_rank=None, head_dim=8, **SIZES), {})
    assert found == {
        "latent": LatentConfig(**SIZES),
        **{"num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 24},
    }
    written = LatentHeads().write(found)
    assert (written["q_lora_rank"], written["head_dim"]) == (None, 8)
    assert LatentHeads().read(keys(**written), {}) == found


def test_absent_sizes_are_deepseek_v3s(keys: MakeKeys) -> None:
    latent = LatentHeads().read(keys(num_attention_heads=128), {})["latent"]
    assert (latent.kv_lora_rank, latent.q_lora_rank, latent.v_head_dim) == (512, 1536, 128)


def test_a_model_without_a_latent_is_none_of_these() -> None:
    with pytest.raises(ConfigError, match=r"has latent attention .found none."):
        LatentHeads().write({"model_type": "deepseek_v3", "latent": None})


def test_scores_grow_with_the_square_of_yarns_factor(keys: MakeKeys) -> None:
    found = {"latent": LatentConfig(**SIZES), "head_dim": 24, "max_position_embeddings": 163_840}
    part = LatentRope(always_interleaved=False)
    plain = part.read(keys(), found)
    assert plain["attention_scale"] == pytest.approx(24**-0.5, rel=1e-12)
    assert (plain["rotary_dim"], plain["rope_interleaved"], plain["rope_scaling"]) == (8, True, None)
    scaled = part.read(keys(rope_scaling=YARN, rope_interleave=False), found)
    mscale = 0.1 * 1.0 * math.log(40) + 1  # DeepSeek's yarn_get_mscale
    assert scaled["attention_scale"] == pytest.approx(24**-0.5 * mscale**2, rel=1e-12)
    assert not scaled["rope_interleaved"]
    assert LatentRope(always_interleaved=True).read(keys(rope_interleave=False), found)["rope_interleaved"]
    for fields in (plain, scaled):
        assert part.read(keys(**part.write(fields)), found) == fields
