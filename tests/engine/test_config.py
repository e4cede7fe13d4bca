"""Settings of a request: what is refused."""

from typing import Any

import pytest

from llmkit.engine.config import GenerateConfig, SamplingConfig
from llmkit.errors import ConfigError, UsageError


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("max_tokens", 0), ("repetition_penalty", 0.0), ("repetition_penalty", float("inf"))),
        *(("repetition_penalty", 5e-324), ("repetition_penalty", 9e-7)),
        *(("presence_penalty", float("nan")), ("frequency_penalty", -1e7), ("temperature", -0.1)),
        *(("temperature", float("nan")), ("top_k", -1), ("top_p", 0.0), ("top_p", 1.1), ("min_p", -0.1)),
        *(("min_p", 1.5), ("stop", ("",)), ("seed", -1), ("seed", 1 << 63), ("samples", 0)),
        *(("logprobs", -1), ("logprobs", 1001), ("typical_p", 0.0), ("typical_p", 1.1), ("choice", ("",))),
        *(("top_n_sigma", -1.0), ("xtc_probability", 1.1), ("xtc_threshold", 0.0)),
        *(("dry_multiplier", -0.1), ("dry_multiplier", 1e6), ("dry_base", 0.99), ("dry_base", float("nan"))),
        *(("dry_allowed_length", 0), ("dry_penalty_last_n", -2), ("repeat_last_n", -2)),
        *(("adaptive_target", 1.1), ("adaptive_target", float("nan"))),
        *(("adaptive_decay", -0.1), ("adaptive_decay", 1.0), ("mirostat", 3), ("mirostat", -1)),
        *(("mirostat_tau", -0.1), ("mirostat_tau", float("nan")), ("mirostat_eta", 1.1)),
    ],
)
def test_a_value_out_of_range_is_refused_by_name_with_a_flag(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=name) as caught:
        SamplingConfig(**{name: value})
    flag, example = caught.value.hint.split(" ", 1)
    assert flag == f"--{name.replace('_', '-')}"
    kind = {
        "stop": lambda text: (text,),
        "choice": lambda text: (text,),
        "logprobs": int,
        "top_p": float,
    }.get(name, float)
    SamplingConfig(**{name: int(kind(example)) if isinstance(value, int) else kind(example)})  # it helps


def test_of_the_two_steps_that_go_by_what_was_drawn_one_is_on_at_most() -> None:
    with pytest.raises(ConfigError, match="mirostat and adaptive_target exclude each other"):
        SamplingConfig(mirostat=2, adaptive_target=0.0)
    assert SamplingConfig(mirostat=2, adaptive_target=-1.0).has_mirostat
    assert not SamplingConfig(mirostat=2, temperature=0.0).has_mirostat and not SamplingConfig().has_mirostat


def test_a_break_that_is_no_text_is_refused_with_the_flag_that_turns_breaks_off() -> None:
    with pytest.raises(ConfigError, match="dry_sequence_breakers must be not empty") as caught:
        SamplingConfig(dry_sequence_breakers=("a", ""))
    assert caught.value.hint == "--dry-sequence-breaker none"


def test_text_is_needed_for_what_ends_it_for_rules_and_for_breaks() -> None:
    assert not SamplingConfig().needs_text
    assert SamplingConfig(stop=("a",)).needs_text and SamplingConfig(choice=("a",)).needs_text
    assert SamplingConfig(dry_multiplier=0.8).needs_text
    assert not SamplingConfig(dry_multiplier=0.8, dry_sequence_breakers=()).needs_text
    assert not SamplingConfig(dry_multiplier=0.8, dry_penalty_last_n=0).needs_text


def test_of_the_rules_for_a_text_there_is_one_at_most() -> None:
    assert SamplingConfig().rule is None
    assert SamplingConfig(json_schema="{}").rule == ("json_schema", "{}")
    assert SamplingConfig(regex="").rule == ("regex", "")
    assert SamplingConfig(choice=("a", "b")).rule == ("choice", ("a", "b"))
    with pytest.raises(ConfigError, match="--regex and --choice exclude each other"):
        SamplingConfig(regex="a", choice=("a",))


@pytest.mark.parametrize("added", [float("nan"), float("inf"), 1e6])
def test_a_bias_is_a_number(added: float) -> None:
    with pytest.raises(ConfigError, match="logit_bias"):
        SamplingConfig(logit_bias=((3, 1.0), (4, added)))


@pytest.mark.parametrize(("temperature", "is_greedy"), [(0, True), (1e-6, True), (1e-4, False), (0.8, False)])
def test_a_temperature_near_zero_is_greedy(temperature: float, is_greedy: bool) -> None:
    assert SamplingConfig(temperature=temperature).is_greedy == is_greedy


@pytest.mark.parametrize("name", ["repetition_penalty", "presence_penalty", "frequency_penalty"])
def test_each_penalty_alone_counts_as_one(name: str) -> None:
    assert not SamplingConfig().has_penalties
    assert SamplingConfig(**{name: 1.5}).has_penalties


def test_a_pattern_that_is_none_is_refused_before_any_work() -> None:
    with pytest.raises(UsageError, match=r"--require '\(' is no regular expression"):
        GenerateConfig(require="(")
