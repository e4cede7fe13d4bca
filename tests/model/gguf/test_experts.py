"""Mixtures of experts in GGUF files: what is written is read, and what llama.cpp builds in is not written."""

from typing import Any

import gguf_models
import pytest
from gguf_models import case_config

from llmkit.errors import ConfigError
from llmkit.formats.gguf.values import Typed
from llmkit.model.gguf.architectures import ARCHITECTURES, WITH_STATES, gguf_architecture
from llmkit.model.gguf.experts import experts_metadata, has_shared_expert, is_sigmoid, read_experts
from llmkit.model.gguf.keys import GgufKeys

CASES: list[tuple[str, dict[str, Any]]] = [
    case for case in gguf_models.CASES if case_config(*case).experts is not None
]


@pytest.mark.parametrize(("family", "changes"), CASES)
def test_what_is_written_is_read(family: str, changes: dict[str, Any]) -> None:
    config = case_config(family, changes)
    architecture = gguf_architecture(config)
    assert config.experts is not None
    metadata = experts_metadata(architecture.name, config.experts, config.num_hidden_layers)
    plain = {key: one.value if isinstance(one, Typed) else one for key, one in metadata.items()}
    known = ("num_hidden_layers", "intermediate_size", "model_type", "lone_mlps")
    fields = {name: getattr(config, name) for name in known}
    back = read_experts(GgufKeys(plain, architecture.name, "a.gguf"), architecture, fields)
    assert back is not None
    for name, value in vars(config.experts).items():
        if not name.endswith("_coef"):  # of training
            assert getattr(back, name) == value, name


def test_a_granitemoe_with_a_shared_expert_is_a_granite_4() -> None:
    assert has_shared_expert(
        GgufKeys({"granitemoe.expert_shared_feed_forward_length": 40}, "granitemoe", "a")
    )
    assert not has_shared_expert(GgufKeys({}, "granitemoe", "a"))


def test_a_dense_architecture_has_none_and_a_hybrid_granite_may_have_none() -> None:
    assert read_experts(GgufKeys({}, "qwen3", "a"), ARCHITECTURES["qwen3"], {"num_hidden_layers": 2}) is None
    granite = WITH_STATES["granitemoehybrid"]
    for metadata in ({}, {"granitehybrid.expert_count": 0}):
        keys = GgufKeys(metadata, granite.name, "a")
        assert read_experts(keys, granite, {"num_hidden_layers": 2}) is None


def test_the_gating_function_tells_deepseeks_versions_apart() -> None:
    for number, expected in ((1, False), (2, True), (0, True)):
        keys = GgufKeys({"deepseek2.expert_gating_func": number}, "deepseek2", "a.gguf")
        assert is_sigmoid(keys, default=True) is expected
    with pytest.raises(ConfigError, match=r"expert_gating_func is not 1 .softmax. or 2"):
        is_sigmoid(GgufKeys({"deepseek2.expert_gating_func": 4}, "deepseek2", "a.gguf"), default=True)
