"""Keys of Mamba-2 and of layers of one branch: what was written is read, others' files as llama.cpp does."""

from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.formats.gguf.values import Typed
from llmkit.model.config_states import Mamba2Config
from llmkit.model.gguf.keys import GgufKeys
from llmkit.model.gguf.mamba import (
    MAMBA_ARCHITECTURES,
    ONE_BRANCH,
    mamba_metadata,
    one_branch_metadata,
    other_eps,
    read_lone_mlps,
    read_mamba,
)

TINY: dict[str, Any] = {
    **{"ssm.conv_kernel": 4, "ssm.state_size": 128, "ssm.group_count": 1, "ssm.inner_size": 3072},
    **{"ssm.time_step_rank": 48, "attention.head_count_kv": [0, 0, 4, 0]},
}
"""Of a converted Granite 4 H-Tiny, but that it has four layers."""


def keys_of(name: str = "granitehybrid", **changed: Any) -> GgufKeys:
    """The keys of a file, some changed (None: left out)."""
    changes = {key.replace("__", "."): value for key, value in changed.items()}
    metadata = {f"{name}.{key}": one for key, one in (TINY | changes).items() if one is not None}
    return GgufKeys(metadata, name, "x.gguf")


def test_a_converted_files_keys_are_read() -> None:
    found = read_mamba(keys_of(), 12, 4, ())
    assert found == {
        "num_key_value_heads": 4,
        "mamba": Mamba2Config(
            layers=(0, 1, 3), num_heads=48, head_dim=64, num_groups=1, state_size=128, kernel=4
        ),
    }


def test_a_layer_with_neither_heads_nor_an_mlp_keeps_a_state() -> None:
    keys = keys_of("nemotron_h", feed_forward_length=[0, 96, 0, 0])
    feed = read_lone_mlps(keys, 4)
    assert feed == {"intermediate_size": 96, "lone_mlps": (1,)}
    assert read_mamba(keys, 12, 4, feed["lone_mlps"])["mamba"].layers == (0, 3)


def test_a_file_all_of_whose_layers_attend_has_no_mamba() -> None:
    assert read_mamba(keys_of(attention__head_count_kv=4), 12, 4, ())["mamba"] is None


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"ssm__inner_size": 3073}, "inner_size is not a multiple of ssm.time_step_rank, 48"),
        ({"ssm__time_step_rank": 0}, "inner_size is not a multiple of ssm.time_step_rank, 0"),
        ({"ssm__state_size": None}, "no granitehybrid.ssm.state_size in its metadata"),
        ({"ssm__group_count": 5}, r"heads \(48\) are not a multiple of their groups \(5\)"),
        ({"attention__head_count_kv": [0, 2, 4, 0]}, "head_count_kv is not 0 or one other number"),
    ],
)
def test_what_cannot_be_is_refused(changed: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        read_mamba(keys_of(**changed), 12, 4, ())


@pytest.mark.parametrize("widths", [[0, 96, 64, 0], [0, 0, 0, 0], [96, 0], None])
def test_mlps_of_two_widths_or_none_are_refused(widths: list[int] | None) -> None:
    with pytest.raises(ConfigError, match=r"nemotron_h\.feed_forward_length is not"):
        read_lone_mlps(keys_of("nemotron_h", feed_forward_length=widths), 4)


def test_what_is_written_is_read() -> None:
    mamba = Mamba2Config(layers=(0, 1, 3), num_heads=6, head_dim=4, num_groups=3, state_size=5, kernel=2)
    for name in MAMBA_ARCHITECTURES:
        metadata: dict[str, Any] = {key: one.value for key, one in typed(mamba_metadata(name, mamba)).items()}
        keys = GgufKeys(metadata | {f"{name}.attention.head_count_kv": [0, 0, 2, 0]}, name, "x.gguf")
        assert read_mamba(keys, 4, 4, ())["mamba"] == mamba
    for name in ONE_BRANCH:
        plain = {key: one.value for key, one in typed(one_branch_metadata(name, 96, 4, (1, 3), 1e-5)).items()}
        keys = GgufKeys(plain, name, "x.gguf")
        assert read_lone_mlps(keys, 4) == {"intermediate_size": 96, "lone_mlps": (1, 3)}
        assert other_eps(keys) == 1e-5


def test_norms_of_nemotron_h_alone_have_another_key() -> None:
    for name, found in (*((one, 0.5) for one in ONE_BRANCH), ("granitehybrid", None)):
        assert other_eps(keys_of(name, attention__layer_norm_epsilon=0.5)) == found
    assert other_eps(keys_of("nemotron_h")) is None


def test_gguf_py_has_every_key() -> None:
    constants = pytest.importorskip("gguf.constants")
    classes = (constants.Keys.SSM, constants.Keys.LLM, constants.Keys.Attention)
    known = {value for one in classes for value in vars(one).values() if isinstance(value, str)}
    mamba = Mamba2Config(layers=(0,), num_heads=2, head_dim=4, num_groups=1, state_size=5, kernel=2)
    written = mamba_metadata("arch", mamba) | one_branch_metadata("arch", 96, 4, (1,), 1e-5)
    assert {key.replace("arch", "{arch}", 1) for key in written} <= known


def typed(metadata: dict[str, Any]) -> dict[str, Typed]:
    """Keys all of which say their type."""
    assert all(isinstance(one, Typed) for one in metadata.values())
    return metadata
