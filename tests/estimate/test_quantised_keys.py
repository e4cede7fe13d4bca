"""Keys of a quantization_config, and its lists of modules."""

import pytest

from llmkit.errors import ConfigError
from llmkit.estimate.quantised_keys import QuantisedKeys, skipped


@pytest.mark.parametrize(
    ("name", "module", "matches"),
    [
        ("lm_head", "lm_head", True),
        ("lm_head", "model.lm_head", True),
        ("model.layers.1", "model.layers.1.mlp.up_proj", True),
        ("model.layers.1", "model.layers.11.mlp.up_proj", False),
        ("mlp.gate", "model.layers.0.mlp.gate", True),
        ("mlp.gate", "model.layers.0.mlp.gate_proj", False),
        ("model.layers.*.self_attn", "model.layers.7.self_attn.q_proj", True),
        ("visual.", "visual.blocks.0.fc", True),
        ("(", "a.(", True),
        ("(", "a", False),
    ],
)
def test_a_skipped_name_stands_for_what_transformers_makes_of_it(
    name: str, module: str, matches: bool
) -> None:
    assert any(pattern.match(module) for pattern in skipped([name])) == matches


@pytest.mark.parametrize("name", ["lm_head", "mlp.gate", "model.layers.1", "down_proj", "model.layers.*.mlp"])
def test_transformers_agrees(name: str) -> None:
    from transformers.quantizers.quantizers_utils import should_convert_module

    for module in (
        *(
            "lm_head",
            "model.layers.1.mlp.gate",
            "model.layers.11.mlp.gate_proj",
            "model.layers.1.mlp.down_proj",
        ),
        *("model.layers.1", "model.embed_tokens", "model.layers.3.self_attn.o_proj"),
    ):
        ours = any(pattern.match(module) for pattern in skipped([name]))
        assert ours == (not should_convert_module(module, [name])), module


def test_values_are_checked_and_the_key_is_named() -> None:
    keys = QuantisedKeys({"bits": 4, "group": -1, "flag": True, "pair": [1, 2], "names": ["a"], "bad": -3})
    assert (keys.whole("bits"), keys.group("group"), keys.flag("flag"), keys.pair("pair")) == (
        4,
        None,
        True,
        (1, 2),
    )
    assert (keys.names("names"), keys.names("absent"), keys.mapping("absent")) == (["a"], [], {})
    assert keys.whole("absent", "bits") == 4
    for call in (keys.whole, keys.group, keys.flag, keys.pair, keys.names, keys.mapping):
        with pytest.raises(ConfigError, match=r"quantization_config\.bad is -3"):
            call("bad")
    with pytest.raises(ConfigError, match="bits is 4"):
        keys.require("bits", (None, 8))


def test_a_section_must_be_an_object() -> None:
    with pytest.raises(ConfigError, match="holds 3 where an object belongs"):
        QuantisedKeys(3)
