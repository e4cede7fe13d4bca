"""Each piece reads its keys into fields, and writes the fields back under the keys that classes read."""

from collections.abc import Callable
from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.model.families.parts import (
    Choice,
    Constant,
    Fixed,
    Flag,
    Heads,
    Number,
    Part,
    SpecialIds,
    Training,
    Whole,
    Word,
)
from llmkit.model.keys import Keys

MakeKeys = Callable[..., Keys]
HIDDEN = {"hidden_size": 32}
CASES: list[tuple[Part, dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    (Whole("hidden_size", ("n_embd", "hidden_size")), {"hidden_size": 8}, {"hidden_size": 8}, {"n_embd": 8}),
    (Whole("vocab_size", ("vocab_size",), 5), {}, {"vocab_size": 5}, {"vocab_size": 5}),
    (Number("cap", "softcap", 50.0), {"softcap": None}, {"cap": 50.0}, {"softcap": 50.0}),
    (Number("cap", "softcap", 50.0, null_is_none=True), {"softcap": None}, {"cap": None}, {"softcap": None}),
    (Number("cap", "softcap", 50.0, null_is_none=True), {}, {"cap": 50.0}, {"softcap": 50.0}),
    (Flag(("a", "b"), "bias"), {"bias": True}, {"a": True, "b": True}, {"bias": True}),
    (Flag(("a",), "bias", True), {}, {"a": True}, {"bias": True}),
    (Choice("residual", "parallel", "s", "p"), {"parallel": True}, {"residual": "p"}, {"parallel": True}),
    (Choice("residual", "parallel", "s", "p"), {}, {"residual": "s"}, {"parallel": False}),
    (Word("act", ("new", "old"), "silu"), {"old": "relu"}, {"act": "relu"}, {"new": "relu"}),
    (Word("act", ("act",), "silu", {"swish": "silu"}), {"act": "swish"}, {"act": "silu"}, {"act": "silu"}),
    (Fixed({"norm": "layer"}), {}, {"norm": "layer"}, {}),
    (Constant({"clip": None, "norm": False}), {"norm": False}, {}, {"clip": None, "norm": False}),
    (Training({"dropout": 0.0}, ("other",)), {"dropout": 0.5, "other": 1}, {}, {"dropout": 0.0}),
    (
        SpecialIds(1, 2),
        {"eos_token_id": [2, 5]},
        {"bos_token_id": 1, "eos_token_id": (2, 5), "pad_token_id": None},
        {"bos_token_id": 1, "eos_token_id": [2, 5], "pad_token_id": None},
    ),
]


@pytest.mark.parametrize(("part", "config", "fields", "written"), CASES)
def test_a_part_reads_its_keys_and_writes_them_back(
    part: Part, config: dict[str, Any], fields: dict[str, Any], written: dict[str, Any], keys: MakeKeys
) -> None:
    assert part.read(keys(**config), HIDDEN) == fields
    assert part.write({**HIDDEN, **fields}) == written
    assert part.read(keys(**written), HIDDEN) == fields


@pytest.mark.parametrize(("part", "config"), [(part, config) for part, config, _, _ in CASES])
def test_a_part_understands_the_keys_that_it_read(part: Part, config: dict[str, Any], keys: MakeKeys) -> None:
    found = keys(**config)
    part.read(found, HIDDEN)
    found.refuse_unknown("some", signs=("",))


def test_a_constant_with_another_value_is_refused(keys: MakeKeys) -> None:
    with pytest.raises(ConfigError, match=r"norm is not false, which is all that is supported .found True."):
        Constant({"norm": False}).read(keys(norm=True), {})


@pytest.mark.parametrize(
    ("part", "config", "expected"),
    [
        (Heads(), {}, (4, 8)),
        (Heads(), {"num_key_value_heads": 2}, (2, 8)),
        (Heads(kv_heads=2), {}, (2, 8)),
        (Heads(kv_heads=2), {"num_key_value_heads": None}, (4, 8)),
        (Heads(head_dim=64), {}, (4, 64)),
        (Heads(head_dim=64), {"head_dim": None}, (4, 8)),
        (Heads(), {"head_dim": 12}, (4, 12)),
        (Heads(has_head_dim=False), {"head_dim": 8}, (4, 8)),
        (Heads(has_groups=False), {"num_key_value_heads": 4}, (4, 8)),
    ],
)
def test_heads_are_counted_and_as_wide_as_the_file_or_the_class_says(
    part: Heads, config: dict[str, Any], expected: tuple[int, int], keys: MakeKeys
) -> None:
    found = part.read(keys(num_attention_heads=4, **config), HIDDEN)
    assert (found["num_key_value_heads"], found["head_dim"]) == expected
    assert part.read(keys(**part.write(found)), HIDDEN) == found


@pytest.mark.parametrize(
    ("part", "config", "named"),
    [
        (Heads(), {"num_attention_heads": 5}, "hidden_size is not a multiple of num_attention_heads, 5"),
        (Heads(), {}, "no 'num_attention_heads'"),
        (Heads(has_head_dim=False), {"num_attention_heads": 4, "head_dim": 12}, "head_dim"),
        (
            Heads(has_groups=False),
            {"num_attention_heads": 4, "num_key_value_heads": 2},
            "num_key_value_heads",
        ),
    ],
)
def test_heads_that_the_family_cannot_have_are_refused(
    part: Heads, config: dict[str, Any], named: str, keys: MakeKeys
) -> None:
    with pytest.raises(ConfigError, match=named):
        part.read(keys(**config), HIDDEN)


def test_a_default_number_of_heads_is_the_classs(keys: MakeKeys) -> None:
    assert Heads(4, 256, heads=8).read(keys(), HIDDEN)["num_attention_heads"] == 8
