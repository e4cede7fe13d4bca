"""What is estimated of a config, and what llmkit's own network of that config has: for every family."""

from typing import Any

import pytest
import torch

from llmkit.estimate.architecture import Architecture
from llmkit.estimate.architecture_of import architecture_of
from llmkit.estimate.cache import cache_bytes, contiguous_cache_bytes
from llmkit.estimate.cache_settings import CacheSettings
from llmkit.model.config import ModelConfig
from llmkit.model.families.table import FAMILIES
from llmkit.model.transformer import Transformer
from tests.model.kv_cache import KVCache

from .family_models import CASES, their_config

IDS = [f"{family}-{number}" for number, (family, _) in enumerate(CASES)]


def _config(family: str, changes: dict[str, Any]) -> ModelConfig:
    return ModelConfig.from_hf(their_config(family, changes).to_dict())


@pytest.mark.parametrize(("family", "changes"), CASES, ids=IDS)
def test_parameters_are_the_networks(family: str, changes: dict[str, Any]) -> None:
    config = _config(family, changes)
    with torch.device("meta"):
        network = Transformer(config)
    parameters = dict(network.named_parameters())  # a tied head once
    assert architecture_of(config).parameters == sum(one.numel() for one in parameters.values())


@pytest.mark.parametrize(("family", "changes"), CASES, ids=IDS)
def test_the_cache_reserves_what_is_predicted(family: str, changes: dict[str, Any]) -> None:
    config = _config(family, changes)
    for dtype in ("float32", "bfloat16"):
        held = KVCache(config, batch=3, capacity=37, dtype=getattr(torch, dtype), device="meta").nbytes
        assert held == contiguous_cache_bytes(architecture_of(config), dtype, context=37, batch=3)


@pytest.mark.parametrize(("family", "changes"), CASES, ids=IDS)
def test_an_estimate_lets_go_of_what_sliding_layers_do_not_see(family: str, changes: dict[str, Any]) -> None:
    config = _config(family, changes)
    found: Architecture = architecture_of(config)
    kept = cache_bytes(found, CacheSettings(kv_dtype="float32"), context=37).total
    outside = max(0, 37 - (config.sliding_window or 37)) * len(
        {*config.sliding_layers} & {*config.attention_layers}
    )
    each = 2 * config.num_key_value_heads * config.head_dim * 4
    assert kept == contiguous_cache_bytes(found, "float32", context=37) - outside * each


def test_every_family_is_compared() -> None:
    assert {family for family, _ in CASES} == set(FAMILIES)
