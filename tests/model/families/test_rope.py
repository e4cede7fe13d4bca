"""The keys of rotary positions in the forms of transformers 4 and 5."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.model.families.rope import (
    AlphaRope,
    Rope,
    RopeByKind,
    partial_factor,
    rope_object,
    with_rope_scaling,
)
from llmkit.model.keys import Keys

MakeKeys = Callable[..., Keys]
FOUND = {"head_dim": 16, "max_position_embeddings": 256}
LINEAR = {"rope_type": "linear", "factor": 2.0}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
YARN_FULL = {**YARN, "beta_fast": 32.0, "beta_slow": 1.0, "truncate": True}
NEOX = Rope(theta_key="rotary_emb_base", partial=0.25, partial_key="rotary_pct", has_partial=True)
ALPHA = {"type": "dynamic", "alpha": 1000.0, "factor": 1.0, "mscale": 1.0, "beta_fast": 32}
PHI3 = Rope(has_partial=True, original=4096)


@pytest.mark.parametrize(
    ("part", "config", "theta", "rotary", "scaling"),
    [
        (Rope(), {}, 1e4, 16, None),
        (Rope(5e5), {}, 5e5, 16, None),
        (AlphaRope(), {"rope_scaling": ALPHA}, 1e4 * 1000 ** (16 / 14), 16, None),
        (AlphaRope(), {"rope_parameters": {**ALPHA, "rope_theta": 7.0}}, 7 * 1000 ** (16 / 14), 16, None),
        (AlphaRope(), {"rope_scaling": LINEAR}, 1e4, 16, LINEAR),
        (Rope(), {"rope_theta": 7, "rope_scaling": LINEAR}, 7.0, 16, LINEAR),
        (Rope(), {"rope_parameters": {**LINEAR, "rope_theta": 7}, "rope_theta": 8}, 7.0, 16, LINEAR),
        (Rope(), {"rope_scaling": {"type": "linear", "factor": 2.0}}, 1e4, 16, LINEAR),
        (Rope(), {"rope_scaling": YARN}, 1e4, 16, YARN_FULL),
        (Rope(), {"rope_theta": 7, "partial_rotary_factor": None}, 7.0, 16, None),
        (NEOX, {}, 1e4, 4, None),
        (NEOX, {"rotary_emb_base": 9, "rotary_pct": 0.5}, 9.0, 8, None),
        (NEOX, {"rope_parameters": {**LINEAR, "partial_rotary_factor": 1.0}}, 1e4, 16, LINEAR),
        (Rope(scaling=LINEAR), {}, 1e4, 16, LINEAR),
        (Rope(scaling=LINEAR), {"rope_parameters": {"rope_type": "default"}}, 1e4, 16, None),
    ],
)
def test_positions_are_read_from_either_form_and_written_in_both(
    part: Rope,
    config: dict[str, Any],
    theta: float,
    rotary: int,
    scaling: dict[str, Any] | None,
    keys: MakeKeys,
) -> None:
    found = part.read(keys(**config), FOUND)
    assert found == {
        **{"position": "rope", "rope_theta": theta, "rotary_dim": rotary, "rope_scaling": scaling}
    }
    written = part.write({**FOUND, **found})
    assert part.read(keys(**written), FOUND) == found
    older = {key: value for key, value in written.items() if key != "rope_parameters"}
    if part.scaling is None:
        assert part.read(keys(**older), FOUND) == found
    assert part.read(keys(rope_parameters=written["rope_parameters"]), FOUND) == found


def test_phi3s_original_context_stands_at_the_top_and_wins(keys: MakeKeys, transformers: ModuleType) -> None:
    long = {"rope_type": "longrope", "short_factor": [1.0] * 8, "long_factor": [2.0] * 8}
    for top, nested, expected in ((None, None, 4096), (None, 64, 4096), (32, 64, 32), (32, None, 32)):
        scaling = long if nested is None else {**long, "original_max_position_embeddings": nested}
        config = {} if top is None else {"original_max_position_embeddings": top}
        found = PHI3.read(keys(rope_scaling=scaling, **config), FOUND)
        assert found["rope_scaling"]["original_max_position_embeddings"] == expected
        sizes = {"hidden_size": 64, "num_attention_heads": 4, "max_position_embeddings": 256}
        theirs = transformers.Phi3Config(**sizes, rope_scaling=dict(scaling), **config)
        assert theirs.rope_parameters["original_max_position_embeddings"] == expected
        assert PHI3.write({**FOUND, **found})["original_max_position_embeddings"] == expected
    assert "original_max_position_embeddings" not in Rope().write(
        {**FOUND, "rope_theta": 1.0, "rope_scaling": YARN}
    )


@pytest.mark.parametrize(
    ("config", "theta", "sliding", "scaling"),
    [
        ({}, 1e6, 1e4, None),
        ({"rope_theta": 5, "rope_local_base_freq": 6}, 5.0, 6.0, None),
        ({"rope_scaling": LINEAR}, 1e6, 1e4, LINEAR),
        (
            {
                "rope_parameters": {
                    "full_attention": {**LINEAR, "rope_theta": 5},
                    "sliding_attention": {"rope_type": "default", "rope_theta": 6},
                }
            },
            *(5.0, 6.0, LINEAR),
        ),
    ],
)
def test_sliding_layers_have_a_base_of_their_own_that_is_not_scaled(
    config: dict[str, Any], theta: float, sliding: float, scaling: dict[str, Any] | None, keys: MakeKeys
) -> None:
    part = RopeByKind(1_000_000.0, 10_000.0, "rope_local_base_freq")
    found = part.read(keys(**config), FOUND)
    assert (found["rope_theta"], found["sliding_rope_theta"], found["rope_scaling"]) == (
        theta,
        sliding,
        scaling,
    )
    assert part.read(keys(**part.write({**FOUND, **found})), FOUND) == found


def test_a_second_base_that_no_key_tells_is_the_first(keys: MakeKeys) -> None:
    found = RopeByKind(500_000.0, 500_000.0).read(keys(rope_theta=7), FOUND)
    assert (found["rope_theta"], found["sliding_rope_theta"]) == (7.0, 7.0)


def test_scaled_sliding_layers_are_refused(keys: MakeKeys) -> None:
    scaled = {"full_attention": {"rope_type": "default"}, "sliding_attention": LINEAR}
    with pytest.raises(ConfigError, match="rope_parameters is not without scaling for sliding_attention"):
        RopeByKind(1e6, 1e4).read(keys(rope_parameters=scaled), FOUND)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"rope_theta": "big"}, "rope_theta"),
        ({"rope_parameters": {"rope_theta": "big"}}, "rope_parameters"),
        ({"rope_scaling": {"rope_type": "spiral"}}, "spiral"),
        ({"rope_scaling": {"rope_type": "linear"}}, "factor"),
        ({"rope_scaling": "linear"}, "rope_scaling is not an object"),
    ],
)
def test_what_is_no_scaling_is_refused(config: dict[str, Any], named: str, keys: MakeKeys) -> None:
    with pytest.raises(ConfigError, match=named):
        Rope().read(keys(**config), FOUND)


@pytest.mark.parametrize("head_dim", [6, 10, 64, 80, 96, 128])
def test_a_part_of_a_head_is_told_by_a_factor_that_gives_it_back(head_dim: int) -> None:
    for rotary in range(2, head_dim + 1, 2):
        assert int(head_dim * partial_factor(rotary, head_dim)) == rotary
    assert partial_factor(32, 128) == 0.25


def test_the_older_object_is_preferred_as_in_transformers(keys: MakeKeys) -> None:
    assert rope_object(keys(rope_scaling=LINEAR, rope_parameters=YARN)) == LINEAR
    assert rope_object(keys(rope_scaling=None, rope_parameters=YARN)) == YARN
    assert rope_object(keys()) == {}


def test_another_scaling_keeps_the_base_the_part_that_turns_and_the_sliding_layers() -> None:
    old = {"rope_theta": 7.0, "partial_rotary_factor": 0.5, **LINEAR}
    kept = {"rope_theta": 7.0, "partial_rotary_factor": 0.5, **YARN}
    original = {"original_max_position_embeddings": 64}
    for name in ("rope_scaling", "rope_parameters"):
        assert with_rope_scaling({"a": 1, name: old}, YARN) == {"a": 1, "rope_parameters": kept, **original}
    kinds = {"full_attention": {"rope_theta": 7.0}, "sliding_attention": {"rope_theta": 8.0}}
    changed = with_rope_scaling({"rope_parameters": kinds}, LINEAR)
    assert changed == {"rope_parameters": {**kinds, "full_attention": {"rope_theta": 7.0, **LINEAR}}}
    inside = with_rope_scaling({"text_config": {"a": 1}, "b": 2}, LINEAR)
    assert inside == {"text_config": {"a": 1, "rope_parameters": LINEAR}, "b": 2}
