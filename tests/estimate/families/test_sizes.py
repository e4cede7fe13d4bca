"""Sizes of a decoder: what a file says, and what its class takes where the file says nothing."""

from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.estimate.families.sheet import Sheet
from llmkit.estimate.families.sizes import Defaults, Sizes, assemble, read_sizes, split_heads
from llmkit.model.keys import Keys

FILE = {"hidden_size": 32, "vocab_size": 50, "num_hidden_layers": 2, "num_attention_heads": 8}
DEFAULTS = Defaults(max_positions=2048)


def read(change: dict[str, Any], defaults: Defaults = DEFAULTS) -> Sizes:
    return read_sizes(Keys({**FILE, **change}, "config.json"), defaults)


def test_without_other_keys_every_head_has_its_own_keys_and_an_equal_share_of_the_width() -> None:
    assert read({}) == Sizes(
        hidden_size=32, vocab_size=50, layers=2, heads=8, kv_heads=8, head_dim=4, max_positions=2048
    )


def test_a_file_overrules_its_class() -> None:
    defaults = Defaults(max_positions=2048, kv_heads=4, head_dim=6)
    assert (read({}, defaults).kv_heads, read({}, defaults).head_dim) == (4, 6)
    own = read({"num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 64}, defaults)
    assert (own.kv_heads, own.head_dim, own.max_positions) == (2, 16, 64)


def test_null_is_a_key_set_for_every_head_even_where_the_class_has_fewer() -> None:
    defaults = Defaults(max_positions=2048, kv_heads=4, head_dim=6)
    found = read({"num_key_value_heads": None, "head_dim": None}, defaults)
    assert (found.kv_heads, found.head_dim) == (8, 4)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"num_key_value_heads": 3}, "num_key_value_heads is not a divisor of num_attention_heads, 8"),
        ({"hidden_size": 36}, "hidden_size is not a multiple of the number of heads, 8"),
        ({"vocab_size": None}, "no 'vocab_size'"),
    ],
)
def test_sizes_that_no_model_has_are_refused(change: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        read(change)


def test_a_width_that_heads_do_not_divide_needs_a_head_dim() -> None:
    assert read({"hidden_size": 36, "head_dim": 4}).head_dim == 4
    assert split_heads(Keys({}, "config.json"), 768, 12) == 64  # GPT-2
    with pytest.raises(ConfigError, match="hidden_size"):
        split_heads(Keys({}, "config.json"), 768, 11)


@pytest.mark.parametrize(
    ("written", "dtype"),
    [
        ({}, "float32"),
        ({"torch_dtype": "bfloat16"}, "bfloat16"),
        ({"dtype": "float16", "torch_dtype": "bfloat16"}, "float16"),  # transformers 5 writes `dtype`
    ],
)
def test_weights_are_of_the_dtype_that_the_file_says_or_float32(written: dict[str, Any], dtype: str) -> None:
    sheet = Sheet()
    sheet.norm("norm", 32)
    keys = Keys({**FILE, **written, "model_type": "llama"}, "config.json")
    found = assemble(keys, read({}), sheet, (), tied=True, mlp_width=9)
    assert found.dtype == dtype
    assert (found.model_type, found.parameters, found.tied_head, found.mlp_width) == ("llama", 32, True, 9)


def test_no_key_heads_at_all_are_refused_and_null_is_one_for_each_head() -> None:
    assert read({"num_key_value_heads": None}, Defaults(max_positions=8, kv_heads=4)).kv_heads == 8
    with pytest.raises(ConfigError, match=r"num_key_value_heads is not a divisor .*found 0"):
        read({"num_key_value_heads": 0})


def test_a_size_beyond_reason_is_refused() -> None:
    with pytest.raises(ConfigError, match="hidden_size is not a possible number"):
        read({"hidden_size": 8 * 10**29})
