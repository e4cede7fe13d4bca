"""Rope scaling: what files say in one form, the factors beside transformers', and every error by its key."""

import math
from types import ModuleType
from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.model.rope_scaling import (
    attention_factor,
    check_rope_scaling,
    normalise_rope_scaling,
    yarn_softmax_factor,
)

LLAMA3 = {
    **{"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
    "original_max_position_embeddings": 8192,
}
LONGROPE = {"short_factor": [1.0] * 4, "long_factor": [1.0, 2.0, 3.0, 4.0]}
YARN = {
    **{"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768},
    **{"beta_fast": 32.0, "beta_slow": 1.0, "truncate": True},
}
DEEPSEEK = {
    **{"type": "yarn", "factor": 40, "original_max_position_embeddings": 4096, "beta_fast": 32},
    **{"beta_slow": 1, "mscale": 1.0, "mscale_all_dim": 1.0},
}
GPT_OSS = {
    **{"rope_type": "yarn", "factor": 32.0, "original_max_position_embeddings": 4096, "rope_theta": 150000},
    **{"beta_fast": 32.0, "beta_slow": 1.0, "truncate": False},
}


def _normal(settings: dict[str, Any], max_positions: int = 131_072, original: int | None = None) -> Any:
    return normalise_rope_scaling(
        settings, max_positions=max_positions, original=original, source="config.json: rope_scaling"
    )


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, None),
        ({"rope_type": "default", "rope_theta": 5e5, "partial_rotary_factor": 0.5}, None),
        ({"type": "linear", "factor": 2}, {"rope_type": "linear", "factor": 2.0}),
        ({**LLAMA3, "rope_theta": 5e5, "type": "llama3"}, LLAMA3),
        ({"type": "yarn", "factor": 4, "original_max_position_embeddings": 32768, "mscale": None}, YARN),
        ({"type": "yarn", "original_max_position_embeddings": 32768, "beta_fast": 0}, YARN),  # 131072 / 32768
        ({**YARN, "finetuned": True, "mscale_all_dim": 0}, YARN),
        (
            {"type": "dynamic", "factor": 2.0},
            {"rope_type": "dynamic", "factor": 2.0, "original_max_position_embeddings": 131_072},
        ),
        (
            {"type": "dynamic", "factor": 2.0, "original_max_position_embeddings": 16},  # nobody reads it
            {"rope_type": "dynamic", "factor": 2.0, "original_max_position_embeddings": 131_072},
        ),
        (
            {"type": "linear", "rope_type": "dynamic", "factor": 2.0},  # the newer name wins
            {"rope_type": "dynamic", "factor": 2.0, "original_max_position_embeddings": 131_072},
        ),
    ],
)
def test_files_of_either_transformers_have_one_normal_form(
    settings: dict[str, Any], expected: dict[str, Any] | None
) -> None:
    assert _normal(settings) == expected


@pytest.mark.parametrize("name", ["su", "longrope"])
def test_phi_3_says_its_original_positions_beside_the_scaling(name: str) -> None:
    found = _normal({"type": name, **LONGROPE}, original=4096)
    assert found == {
        "rope_type": "longrope",
        **LONGROPE,
        "factor": 32.0,
        "original_max_position_embeddings": 4096,
    }
    assert attention_factor(found, 131_072) == pytest.approx(1.1902381, abs=5e-8)  # the reference's


@pytest.mark.parametrize(
    "settings",
    [
        {"type": "linear", "factor": 3},
        {"type": "dynamic", "factor": 2.5},
        *(DEEPSEEK, GPT_OSS, YARN, LLAMA3, {"type": "su", **LONGROPE}, {"type": "yarn", "factor": 2}),
    ],
)
def test_a_scaling_written_and_read_again_is_itself(settings: dict[str, Any]) -> None:
    once = _normal(settings)
    check_rope_scaling(once, rotary_dim=8)
    assert _normal(once, max_positions=once.get("original_max_position_embeddings", 7)) == once


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"type": "mrope", "mrope_section": [1]}, "rope_type 'mrope' is not supported"),
        ({"rope_type": "default", "mrope_section": [16, 24, 24]}, "default with mrope_section"),
        ({"rope_type": "yarm", "factor": 2}, "'yarm'"),
        ({"rope_type": ["yarn"]}, "not supported"),
        ({"type": "linear"}, "linear lacks factor"),
        ({"type": "linear", "factor": None}, "linear lacks factor"),
        ({"type": "yarn"}, "yarn lacks factor"),
        ({"type": "longrope", "long_factor": [1.0]}, "longrope lacks short_factor"),
        ({"type": "dynamic", "factor": 2.0, "alpha": 1000.0}, "dynamic with alpha"),
        ({**YARN, "llama_4_scaling_beta": 0.1}, "llama_4_scaling_beta"),
        ({"type": "linear", "factor": "2"}, "factor is not a number above 0"),
        ({"type": "linear", "factor": True}, "factor is not a number above 0"),
        ({"type": "linear", "factor": -1}, "factor is not a number above 0"),
        ({"type": "linear", "factor": float("inf")}, "factor is not a number above 0"),
        ({**YARN, "truncate": 1}, "truncate is not true or false"),
        (
            {**YARN, "original_max_position_embeddings": 4096.5},
            "original_max_position_embeddings is not a whole",
        ),
        (
            {"type": "yarn", "original_max_position_embeddings": "4k"},
            "original_max_position_embeddings is not",
        ),
        ({**YARN, "beta_slow": 40}, "beta_slow"),
        ({**LLAMA3, "low_freq_factor": 4.5}, "low_freq_factor .* is not below high_freq_factor"),
        ({"type": "longrope", **LONGROPE, "factor": 2, "long_factor": [1, "x"]}, "long_factor is not a list"),
    ],
)
def test_what_cannot_be_followed_is_named(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=rf"config.json: rope_scaling: .*{named}"):
        _normal(settings)


@pytest.mark.parametrize(
    ("scaling", "rotary_dim", "named"),
    [
        ({"factor": 2.0}, 8, "rope_type None"),
        (
            {**LONGROPE, "rope_type": "longrope", "factor": 2.0, "original_max_position_embeddings": 64},
            16,
            "short",
        ),
        ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}, 8, "lacks beta_fast"),
        ({"rope_type": "dynamic", "factor": 4.0, "original_max_position_embeddings": 64}, 2, "rotary_dim 2"),
        ({"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4}, 8, "rope_theta"),
    ],
)
def test_only_a_normal_form_that_fits_the_heads_passes(
    scaling: dict[str, Any], rotary_dim: int, named: str
) -> None:
    with pytest.raises(ConfigError, match=named):
        check_rope_scaling(scaling, rotary_dim=rotary_dim)


def test_yarn_and_longrope_have_the_attention_factors_of_the_reference() -> None:
    assert attention_factor(YARN, 131_072) == pytest.approx(1.1386294, abs=5e-8)
    assert attention_factor(YARN, 131_072) == pytest.approx(0.1 * math.log(4) + 1, rel=1e-15)
    assert attention_factor({**YARN, "attention_factor": 1.5}, 131_072) == 1.5
    assert attention_factor(_normal(DEEPSEEK), 163_840) == 1.0  # mscale over itself
    assert attention_factor(None, 1) == attention_factor(LLAMA3, 1) == 1.0
    bare = {"rope_type": "longrope", **LONGROPE, "original_max_position_embeddings": 4096}
    assert attention_factor(bare, 131_072) == pytest.approx(math.sqrt(1 + math.log(32) / math.log(4096)))
    assert attention_factor(bare, 4096) == 1.0


@pytest.mark.parametrize(
    "settings", [DEEPSEEK, {**DEEPSEEK, "mscale": 0.707, "mscale_all_dim": 0.707}, YARN, LLAMA3]
)
def test_scores_are_scaled_as_deepseek_in_transformers_scales_them(
    settings: dict[str, Any], transformers: ModuleType
) -> None:
    from transformers.models.deepseek_v3.modeling_deepseek_v3 import yarn_apply_mscale

    scaling = _normal(settings)
    assert yarn_softmax_factor(scaling) == pytest.approx(yarn_apply_mscale(scaling, 1.0), rel=1e-12)
    assert yarn_softmax_factor(None) == 1.0
