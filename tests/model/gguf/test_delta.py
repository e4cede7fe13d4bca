"""Keys of the gated delta rule: what was written is read, others' files go by llama.cpp's rules."""

from typing import Any

import gguf_models
import pytest
from gguf_models import case_config

from llmkit.errors import ConfigError
from llmkit.formats.gguf.values import Typed
from llmkit.model.config_states import DeltaConfig
from llmkit.model.gguf.delta import DELTA_ARCHITECTURES, delta_metadata, read_delta
from llmkit.model.gguf.keys import GgufKeys

QWEN35: dict[str, Any] = {
    **{"qwen35.ssm.conv_kernel": 4, "qwen35.ssm.state_size": 128, "qwen35.ssm.group_count": 16},
    **{"qwen35.ssm.time_step_rank": 32, "qwen35.ssm.inner_size": 4096, "qwen35.attention.head_count_kv": 4},
}
"""Of a converted Qwen3.5 9B, but for the interval."""


def read(layers: int = 8, ahead: int = 0, **changed: Any) -> dict[str, Any]:
    """Fields of a file of these keys, some changed (None: left out)."""
    names = {f"qwen35.{name.replace('__', '.')}": value for name, value in changed.items()}
    metadata = {key: value for key, value in {**QWEN35, **names}.items() if value is not None}
    return read_delta(GgufKeys(metadata, "qwen35", "x.gguf"), 16, layers, ahead)


def plain(metadata: dict[str, Any]) -> dict[str, Any]:
    return {key: one.value if isinstance(one, Typed) else one for key, one in metadata.items()}


def test_a_converted_files_keys_are_read() -> None:
    found = read(full_attention_interval=4)
    assert found["delta"] == DeltaConfig(
        layers=(0, 1, 2, 4, 5, 6),
        num_key_heads=16,
        num_value_heads=32,
        key_head_dim=128,
        value_head_dim=128,
        kernel=4,
    )
    assert found["attention_gate"] is True and found["num_key_value_heads"] == 4


def test_every_fourth_layer_is_attention_where_a_file_says_nothing() -> None:
    assert read()["delta"] == read(full_attention_interval=4)["delta"]


def test_a_list_of_layers_counts_more_than_an_interval_and_has_those_that_predict_further() -> None:
    listed = [True, False, False, True, True, True, True, True, False]
    found = read(ahead=1, full_attention_interval=2, attention__recurrent_layers=listed)
    assert found["delta"].layers == (0, 3, 4, 5, 6, 7)
    with pytest.raises(ConfigError, match="recurrent_layers is not a list of 8"):
        read(attention__recurrent_layers=listed)


def test_key_heads_may_be_told_of_each_layer() -> None:
    assert read(attention__head_count_kv=[0, 0, 0, 2, 0, 0, 0, 2])["num_key_value_heads"] == 2


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"ssm__inner_size": 4008}, "inner_size is not a multiple of ssm.time_step_rank, 32"),
        ({"ssm__time_step_rank": 0}, "inner_size is not a multiple of ssm.time_step_rank, 0"),
        ({"full_attention_interval": 0}, "full_attention_interval is not a number of layers above 0"),
        ({"attention__recurrent_layers": [1]}, "recurrent_layers is not a list of 8"),
        ({"ssm__state_size": None}, "no qwen35.ssm.state_size in its metadata"),
        ({"ssm__group_count": 5}, r"linear_num_value_heads \(32\) is not a multiple"),
    ],
)
def test_what_cannot_be_is_refused(changed: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        read(**changed)


@pytest.mark.parametrize(
    ("states", "key", "value"),
    [
        ((0, 1, 2), "full_attention_interval", 4),
        ((0, 2), "full_attention_interval", 2),
        ((), "full_attention_interval", 1),
        ((0, 1, 2, 3), "full_attention_interval", 5),
        ((1, 2, 3), "attention.recurrent_layers", [False, True, True, True]),
        ((0, 1), "attention.recurrent_layers", [True, True, False, False]),
    ],
)
def test_which_layers_keep_a_state_is_an_interval_where_it_can_be(
    states: tuple[int, ...], key: str, value: object
) -> None:
    delta = DeltaConfig(
        layers=states, num_key_heads=2, num_value_heads=4, key_head_dim=8, value_head_dim=8, kernel=4
    )
    metadata = plain(delta_metadata("qwen35", delta, 4, 64))
    assert metadata[f"qwen35.{key}"] == value
    keys = GgufKeys(metadata, "qwen35", "x.gguf")
    assert read_delta(keys, 2, 4, 0)["delta"] == delta


@pytest.mark.parametrize("pairs", [1, 2, 4, 31, 32, 64])
def test_every_pair_turns_by_a_position_and_sections_fit_a_head(pairs: int) -> None:
    config = case_config("qwen3_5_text", gguf_models.DELTA)
    assert config.delta is not None
    sections = plain(delta_metadata("qwen35", config.delta, 4, 2 * pairs))["qwen35.rope.dimension_sections"]
    assert sum(sections) == pairs and sections[3] == 0  # ggml stops where they are wider than a head
    assert all(pair < 3 * sections[pair % 3] for pair in range(pairs))  # ggml's rule of who turns by what
    assert pairs != 32 or sections == [11, 11, 10, 0]  # what Qwen3.5's config.json and converted files say


def test_qwen3_next_has_no_sections_and_its_inputs_by_head() -> None:
    changes = {**gguf_models.SHARED, **gguf_models.DELTA}
    config = case_config("qwen3_next", changes)
    assert config.delta is not None
    metadata = plain(delta_metadata("qwen3next", config.delta, 4, config.rotary_dim))
    assert "qwen3next.rope.dimension_sections" not in metadata
    assert read_delta(GgufKeys(metadata, "qwen3next", "x.gguf"), 4, 4, 0)["delta"] == config.delta


def test_gguf_py_has_every_key() -> None:
    constants = pytest.importorskip("gguf.constants")
    classes = (constants.Keys.SSM, constants.Keys.LLM, constants.Keys.Rope)
    known = {value for one in classes for value in vars(one).values() if isinstance(value, str)}
    for name in DELTA_ARCHITECTURES:
        config = case_config("qwen3_5_text", gguf_models.DELTA)
        assert config.delta is not None
        metadata = delta_metadata(name, config.delta, 4, 8)
        assert {key.replace(name, "{arch}", 1) for key in metadata} <= known
