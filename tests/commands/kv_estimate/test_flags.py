"""Flags of kv-estimate: names of formats are known or refused, and every flag is in the help."""

from dataclasses import fields, is_dataclass
from typing import Any, get_args

import pytest

from llmkit.commands.kv_estimate import flags as kv_estimate_flags
from llmkit.commands.kv_estimate.flags import parse_cache, parse_weights
from llmkit.errors import ConfigError


def test_a_name_that_is_not_known_is_refused_with_the_hint() -> None:
    assert (parse_weights("Q4_K_M"), parse_cache("Q8_0")) == ("q4_k_m", "q8_0")
    assert [parse_cache(name) for name in ("q8", "bf16", "F16")] == ["q8_0", "bfloat16", "float16"]
    with pytest.raises(ConfigError, match=r"--dtype: no way .* 'q4_k_n'") as weights:
        parse_weights("q4_k_n")
    assert "did you mean q4_k_" in weights.value.hint
    with pytest.raises(ConfigError, match=r"--kv-dtype: .*'q8_1'"):
        parse_cache("q8_1")


def test_every_flag_is_in_the_help_and_fits_its_columns(llmkit_run: Any) -> None:
    text = llmkit_run("kv-estimate", "--help").text
    groups = [one for one in vars(kv_estimate_flags).values() if isinstance(one, type) and is_dataclass(one)]
    grouped = [one.type for group in groups for one in fields(group)]
    declared = [
        word
        for flag in (*vars(kv_estimate_flags).values(), *grouped)
        for part in get_args(flag)
        for word in getattr(part, "param_decls", None) or ()
    ]
    assert len(declared) > 8
    assert [word for word in declared if word not in text] == []
    assert max(map(len, text.splitlines())) <= 80
