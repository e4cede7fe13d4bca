"""A longer context: what the flag says, and config.json before and after."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from llmkit.errors import ConfigError, UsageError
from llmkit.model.config import ModelConfig
from llmkit.model.extend_context import extend_context, original_positions, parse_rope_scaling

Make = Callable[..., ModelConfig]
ORIGINAL = "original_max_position_embeddings"
YARN = {
    **{"rope_type": "yarn", "factor": 4.0, ORIGINAL: 64, "beta_fast": 32.0, "beta_slow": 1.0},
    "truncate": True,
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("none", {"rope_type": "default"}),
        ("yarn:4", YARN),
        ("linear:2.5", {"rope_type": "linear", "factor": 2.5}),
        ("dynamic:2", {"rope_type": "dynamic", "factor": 2.0, ORIGINAL: 64}),
        (
            "llama3:8",
            {
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                ORIGINAL: 64,
            },
        ),
        (' {"type": "yarn", "factor": 4, "beta_fast": 16}', {**YARN, "beta_fast": 16.0}),
        (f'{{"rope_type": "yarn", "factor": 4, "{ORIGINAL}": 16}}', {**YARN, ORIGINAL: 16}),
        ('{"rope_type": "default"}', {"rope_type": "default"}),
    ],
)
def test_a_flag_says_what_config_json_would(text: str, expected: dict[str, Any]) -> None:
    assert parse_rope_scaling(text, max_positions=64) == expected


@pytest.mark.parametrize(
    ("text", "problem", "hint"),
    [
        ("yarn", "no factor behind the colon", "yarn:4"),
        ("yarn:", "no factor behind the colon", "yarn:4"),
        ("yarn:x", "found 'x'", "yarn:4"),
        ("yarn:-2", "factor is not a number above 0", "factor"),
        ("yarn:nan", "factor is not a number above 0", "factor"),
        ("yarm:4", "unknown type 'yarm'", "did you mean yarn"),
        ("", "unknown type ''", "yarn:4"),
        ("longrope:4", "a factor for each pair", "short_factor"),
        ("{", "not JSON", "yarn:4"),
        ('{"rope_type": "yarn"}', "yarn lacks factor", "original"),
        ('{"rope_type": "linear", "factor": 2, "x": 1}', "linear with x", "remove"),
        ('{"rope_type": "linear", "factor": 2, "rope_theta": 9}', "rope_theta", "leave rope_theta out"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_hint(text: str, problem: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_rope_scaling(text, max_positions=64)
    assert caught.value.problem.startswith("--rope-scaling") and problem in caught.value.problem
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("text", "positions"),
    [
        *(("yarn:4", 256), ("linear:2.5", 160), ("dynamic:2", 128), ("none", 64)),
        (f'{{"rope_type": "dynamic", "factor": 2, "{ORIGINAL}": 48}}', 96),
    ],
)
def test_the_model_has_the_scaling_and_the_longer_context_and_is_otherwise_itself(
    text: str, positions: int, make_config: Make
) -> None:
    before = make_config(rope_theta=5e5)
    scaling = parse_rope_scaling(text, max_positions=original_positions(before))
    after = ModelConfig.from_hf(extend_context(before.to_hf(), scaling))
    wanted = None if text == "none" else scaling
    assert after == make_config(rope_theta=5e5, rope_scaling=wanted, max_position_embeddings=positions)


def test_a_scaling_is_replaced_and_counts_from_the_positions_before_it(make_config: Make) -> None:
    stretched = make_config(rope_scaling=YARN, max_position_embeddings=256)
    assert original_positions(stretched) == 64
    dynamic = replace(stretched, rope_scaling={"rope_type": "dynamic", "factor": 4.0, ORIGINAL: 64})
    for before in (stretched, dynamic):
        for text, positions in (("yarn:8", 512), ("yarn:2", 256), ("dynamic:8", 512), ("none", 256)):
            scaling = parse_rope_scaling(text, max_positions=original_positions(before))
            written = extend_context(before.to_hf(), scaling)
            after = ModelConfig.from_hf(written)
            assert after.max_position_embeddings == positions
            assert after.rope_scaling == (None if text == "none" else scaling)


def test_original_positions_at_the_top_of_a_file_follow(make_config: Make) -> None:
    older = {key: value for key, value in make_config().to_hf().items() if key != "rope_parameters"}
    after = extend_context({**older, ORIGINAL: 32}, {**YARN, ORIGINAL: 48})
    assert after[ORIGINAL] == 48 and after["max_position_embeddings"] == 192
    config = ModelConfig.from_hf(after)
    assert config.rope_scaling is not None and config.rope_scaling[ORIGINAL] == 48


def test_a_model_without_rotary_positions_and_a_broken_config_are_refused(make_config: Make) -> None:
    with pytest.raises(UsageError, match="learned positions cannot be scaled"):
        extend_context(make_config("gpt2").to_hf(), YARN)
    with pytest.raises(ConfigError, match=r"^here: "):
        extend_context({}, YARN, "here")


@pytest.mark.parametrize("text", ["none", "linear:2", "dynamic:2", "yarn:8"])
def test_queries_that_grow_go_on_growing_as_before(text: str, make_config: Make) -> None:
    config = make_config(
        **{"model_type": "ministral3", "rope_scaling": YARN, "max_position_embeddings": 256},
        **{"query_growth": 0.3, "query_growth_positions": 64},
    )
    scaling = parse_rope_scaling(text, max_positions=original_positions(config))
    other = ModelConfig.from_hf(extend_context(config.to_hf(), scaling))
    assert (other.query_growth, other.query_growth_positions) == (0.3, 64)
    assert (other.rope_scaling or {"rope_type": "default"}) == scaling
    assert ModelConfig.from_hf(other.to_hf()) == other
