"""Flags as fields of SamplingConfig: only what was given, in the shape that the engine takes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmkit.commands.sampling_flags import Sampling, parse_bias
from llmkit.engine.config import SamplingConfig
from llmkit.errors import UsageError

MODELS_OWN = {
    *("max_tokens", "temperature", "top_k", "top_p", "min_p", "typical_p", "repetition_penalty"),
}
"""What a generation_config.json may set: where no flag is given, it must win."""


def test_what_was_not_given_is_left_to_the_model() -> None:
    given = Sampling().fields(seed=0, logprobs=None)
    assert not given.keys() & (MODELS_OWN | {"logprobs"})
    assert SamplingConfig(**given) == SamplingConfig()
    assert Sampling(greedy=True).fields(seed=7) == given | {"temperature": 0.0, "seed": 7}


@pytest.mark.parametrize("command", ["generate", "chat", "serve"])
def test_each_help_says_how_tokens_are_drawn_where_nobody_does(
    command: str, llmkit_run: Callable[..., Any]
) -> None:
    words = " ".join(llmkit_run(command, "--help").text.split())
    assert (
        f"generation_config.json does; else they are drawn at temperature {SamplingConfig.temperature}"
        in words
    )


def test_what_was_given_makes_a_config(tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    file.write_text("{}")
    sampling = Sampling(
        temperature=0.5,
        stop=["a"],
        stop_id=[5, 6],
        json_schema=str(file),
        choice=[],
        logit_bias=["3=-1.5", "4=2"],
        samplers="top-k, temperature",
    )
    config = SamplingConfig(**sampling.fields(samples=2))
    assert (config.stop, config.json_schema, config.choice) == (("a",), "{}", ())
    assert config.stop_ids == (5, 6) and config.grammar is None
    assert config.logit_bias == ((3, -1.5), (4, 2.0))
    assert (config.samplers, config.samples) == (("top_k", "temperature"), 2)


def test_greedy_excludes_a_temperature_but_0() -> None:
    assert Sampling(greedy=True, temperature=0.0).fields()["temperature"] == 0.0
    with pytest.raises(UsageError, match="exclude each other"):
        Sampling(greedy=True, temperature=1.0).fields()


@pytest.mark.parametrize("text", ["", "3", "3=", "=1", "a=1", "3=b", "3=1=2"])
def test_a_bias_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="ID=X"):
        parse_bias(text)


def test_a_grammar_is_read_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "a.gbnf").write_text('root ::= "a"')
    assert Sampling(grammar=str(tmp_path / "a.gbnf")).fields()["grammar"] == 'root ::= "a"'
