"""What generation_config.json says: beside transformers' own."""

from dataclasses import fields
from typing import Any

import pytest

from llmkit.engine.config import SamplingConfig
from llmkit.engine.generation_config import model_defaults, unfollowed
from llmkit.errors import ConfigError


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
        max_new_tokens=5,
    )
    written.stop_strings = ["END"]
    found = model_defaults(written.to_dict(), "generation_config.json")
    assert found == {
        **{"temperature": 0.6, "top_k": 40, "top_p": 0.95, "min_p": 0.05, "repetition_penalty": 1.1},
        **{"typical_p": 0.9, "max_tokens": 5},
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

    assert unfollowed(GenerationConfig().to_dict(), 4096) == []
    neutral = {"num_beams": 1, "no_repeat_ngram_size": 0, "typical_p": 1.0, "min_length": 0}
    assert unfollowed(neutral | {"token_healing": False, "encoder_no_repeat_ngram_size": 0}, 4096) == []
    assert unfollowed({"num_beams": 4, "suppress_tokens": [5], "temperature": 2}, 4096) == [
        "num_beams",
        "suppress_tokens",
    ]
    followed = GenerationConfig(token_healing=True, encoder_no_repeat_ngram_size=2, watermarking_config={})
    assert sorted(unfollowed(followed.to_dict(), 4096)) == [
        "encoder_no_repeat_ngram_size",
        "token_healing",
        "watermarking_config",
    ]


def test_a_length_of_prompt_and_text_is_listed_where_it_is_short_of_the_context() -> None:
    assert unfollowed({"max_length": 20}, 4096) == ["max_length"]
    assert unfollowed({"max_length": 4096}, 4096) == []  # as Llama 2 has it
    assert unfollowed({"max_length": 20, "max_new_tokens": 5}, 4096) == []  # transformers takes the latter
