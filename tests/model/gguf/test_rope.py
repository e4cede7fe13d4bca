"""Stretched positions as llama.cpp keeps them, and back; checked against our own tables."""

from typing import Any

import gguf_models
import numpy as np
import pytest
import torch
from gguf_models import case_config

from llmkit.errors import ConfigError
from llmkit.formats.gguf.values import Typed
from llmkit.model.gguf.keys import GgufKeys, as_float32
from llmkit.model.gguf.rope import OWN_SCALING, read_scaling, rope_metadata, rope_tables, same_scaling
from llmkit.model.rope_tables import inverse_frequencies

LLAMA31 = gguf_models.rope(
    "llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=8192
)


def _round_trip(scaling: Any, *, name: str = "llama", own: bool = True, positions: int = 256) -> Any:
    metadata = rope_metadata(name, 10_000.0, scaling, positions)
    plain = {key: one.value if isinstance(one, Typed) else one for key, one in metadata.items()}
    plain = {key: as_float32(one) if isinstance(one, float) else one for key, one in plain.items()}
    if not own:
        plain.pop(OWN_SCALING, None)
    tables = {
        key: [as_float32(one) for one in values] for key, values in rope_tables(scaling, 10_000.0, 16).items()
    }
    return read_scaling(
        GgufKeys(plain, name, "a.gguf"), tables, theta=10_000.0, rotary_dim=16, max_positions=positions
    )


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize(
    "changes", [{}, gguf_models.rope("linear", factor=4.0), gguf_models.YARN, gguf_models.LONG, LLAMA31]
)
def test_a_scaling_comes_back_with_our_own_key_or_without(changes: dict[str, Any], own: bool) -> None:
    config = case_config("phi3" if "original_max_position_embeddings" in changes else "llama", changes)
    back = _round_trip(config.rope_scaling, own=own, positions=config.max_position_embeddings)
    assert same_scaling(back, config.rope_scaling, config.max_position_embeddings)


def test_a_linear_scaling_by_one_is_written_and_is_none_when_it_is_read() -> None:
    scaling = case_config("llama", gguf_models.rope("linear", factor=1.0)).rope_scaling
    back = _round_trip(scaling, own=False)
    assert scaling is not None and back is None
    assert same_scaling(scaling, back, 256) and same_scaling(back, scaling, 256)
    assert not same_scaling({**scaling, "factor": 1.5}, back, 256)


def test_an_attention_factor_is_llama_cpps_times_its_own_growth() -> None:
    scaling = {**case_config("llama", gguf_models.YARN).rope_scaling, "attention_factor": 1.25}  # type: ignore[dict-item]
    metadata = rope_metadata("llama", 10_000.0, scaling, 256)
    kept = metadata["llama.rope.scaling.attn_factor"]
    assert isinstance(kept, Typed)
    assert kept.value == pytest.approx(1.25 / (1 + 0.1 * torch.tensor(4.0).log().item()))
    assert _round_trip(scaling, own=False)["attention_factor"] == pytest.approx(1.25)


def test_llama_3s_table_is_what_its_frequencies_are_divided_by() -> None:
    config = case_config("llama", gguf_models.LLAMA3)
    plain = case_config("llama", {})
    (table,) = rope_tables(config.rope_scaling, config.rope_theta, config.rotary_dim).values()
    ratio = inverse_frequencies(plain) / inverse_frequencies(config)
    assert np.allclose(table, ratio, rtol=1e-6)


def test_an_unusual_table_is_read_as_factors_of_the_same_effect() -> None:
    config = case_config("llama", gguf_models.LLAMA3)
    back = _round_trip(config.rope_scaling, own=False)
    assert back["rope_type"] == "longrope" and back["attention_factor"] == 1.0
    assert np.allclose(
        inverse_frequencies(case_config("llama", {"rope_parameters": {**back, "rope_theta": 10_000.0}})),
        inverse_frequencies(config),
        rtol=1e-6,
    )
    assert _round_trip(config.rope_scaling) == config.rope_scaling


def test_our_own_key_is_not_believed_where_the_rest_differs() -> None:
    scaling = case_config("llama", gguf_models.YARN).rope_scaling
    keys = {OWN_SCALING: '{"rope_type": "linear", "factor": 9.0}', "llama.rope.scaling.type": "linear"}
    keys |= {"llama.rope.scaling.factor": 2.0}  # type: ignore[dict-item]
    for text in (keys[OWN_SCALING], "{", "[]", '{"rope_type": "yarn"}'):
        found = read_scaling(
            GgufKeys({**keys, OWN_SCALING: text}, "llama", "a"),
            {},
            theta=1e4,
            rotary_dim=16,
            max_positions=64,
        )
        assert found == {"rope_type": "linear", "factor": 2.0}
    assert scaling is not None and not same_scaling(scaling, None, 64)


def test_deepseek_keeps_a_tenth_of_its_weight() -> None:
    scaling = case_config("deepseek_v2", {**gguf_models.LATENT, **gguf_models.LATENT_YARN}).rope_scaling
    assert scaling is not None
    kept = rope_metadata("deepseek2", 10_000.0, scaling, 256)["deepseek2.rope.scaling.yarn_log_multiplier"]
    assert isinstance(kept, Typed) and kept.value == pytest.approx(0.07)
    assert _round_trip(scaling, name="deepseek2", own=False)["mscale_all_dim"] == 0.7


def test_an_unknown_kind_is_named() -> None:
    keys = GgufKeys({"llama.rope.scaling.type": "spiral"}, "llama", "a.gguf")
    with pytest.raises(ConfigError, match=r"llama.rope.scaling.type is not none, linear, yarn or longrope"):
        read_scaling(keys, {}, theta=1e4, rotary_dim=16, max_positions=64)
