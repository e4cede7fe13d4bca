"""Flags as fields of SamplingConfig: only what was given, in the shape that the engine takes."""

from pathlib import Path

import pytest

from llmkit.commands.sampling_flags import parse_bias, sampling_fields
from llmkit.engine.config import SamplingConfig
from llmkit.errors import UsageError

NONE = dict.fromkeys(("stop", "stop_ids", "json_schema", "grammar", "choice", "logit_bias"))


def test_what_was_not_given_is_left_to_the_model() -> None:
    assert sampling_fields(greedy=False, temperature=None, top_k=None, **NONE) == {}
    assert sampling_fields(greedy=True, temperature=None, seed=0, **NONE) == {"temperature": 0.0, "seed": 0}


def test_what_was_given_makes_a_config(tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    file.write_text("{}")
    given = sampling_fields(
        greedy=False,
        temperature=0.5,
        stop=["a"],
        stop_ids=[5, 6],
        json_schema=str(file),
        grammar=None,
        choice=[],
        logit_bias=["3=-1.5", "4=2"],
    )
    config = SamplingConfig(**given)
    assert (config.stop, config.json_schema, config.choice) == (("a",), "{}", ())
    assert config.stop_ids == (5, 6) and config.grammar is None
    assert config.logit_bias == ((3, -1.5), (4, 2.0))


def test_greedy_excludes_a_temperature_but_0() -> None:
    assert sampling_fields(greedy=True, temperature=0.0, **NONE) == {"temperature": 0.0}
    with pytest.raises(UsageError, match="exclude each other"):
        sampling_fields(greedy=True, temperature=1.0, **NONE)


@pytest.mark.parametrize("text", ["", "3", "3=", "=1", "a=1", "3=b", "3=1=2"])
def test_a_bias_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="ID=X"):
        parse_bias(text)


def test_a_grammar_is_read_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "a.gbnf").write_text('root ::= "a"')
    given = NONE | {"grammar": str(tmp_path / "a.gbnf")}
    assert sampling_fields(greedy=False, **given) == {"grammar": 'root ::= "a"'}
