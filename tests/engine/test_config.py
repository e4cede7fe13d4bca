"""Settings of a request: what is refused, and what generation_config.json says."""

from dataclasses import fields
from typing import Any

import pytest

from llmkit.engine.config import GenerateConfig, SamplingConfig, model_defaults, unfollowed
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


def test_generation_config_gives_defaults_under_their_names_in_transformers() -> None:
    from transformers import GenerationConfig

    written = GenerationConfig(
        do_sample=True,
        temperature=0.6,
        top_k=40,
        top_p=0.95,
        min_p=0.05,
        repetition_penalty=1.1,
        typical_p=0.9,
    )
    written.stop_strings = ["END"]
    found = model_defaults(written.to_dict(), "generation_config.json")
    assert found == {
        **{"temperature": 0.6, "top_k": 40, "top_p": 0.95, "min_p": 0.05, "repetition_penalty": 1.1},
        "typical_p": 0.9,
        "stop": ("END",),
    }
    assert set(found) <= {one.name for one in fields(SamplingConfig)}


def test_do_sample_false_is_greedy_and_nothing_said_is_nothing_set() -> None:
    assert model_defaults({"do_sample": False, "temperature": 0.6}, "g") == {"temperature": 0.0}
    assert model_defaults({"eos_token_id": 2, "temperature": None}, "g") == {}


@pytest.mark.parametrize("wrong", [{"top_k": "many"}, {"temperature": True}, {"top_k": 1.5}])
def test_a_default_of_the_wrong_type_is_named_with_its_file(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"g.json: {next(iter(wrong))}"):
        model_defaults(wrong, "g.json")


def test_what_transformers_would_follow_and_we_do_not_is_listed() -> None:
    from transformers import GenerationConfig

    assert unfollowed(GenerationConfig().to_dict()) == []
    assert unfollowed({"num_beams": 1, "no_repeat_ngram_size": 0, "typical_p": 1.0, "min_length": 0}) == []
    assert unfollowed({"num_beams": 4, "suppress_tokens": [5], "temperature": 2}) == [
        "num_beams",
        "suppress_tokens",
    ]


def test_a_pattern_that_is_none_is_refused_before_any_work() -> None:
    with pytest.raises(UsageError, match=r"--require '\(' is no regular expression"):
        GenerateConfig(require="(")
