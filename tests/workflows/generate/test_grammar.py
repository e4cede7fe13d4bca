"""A schema or a grammar from the command line: the text itself, or a file."""

import gzip
from pathlib import Path

import pytest

from llmkit.errors import DataError, MissingError
from llmkit.workflows.generate.grammar import read_grammar, read_schema


@pytest.mark.parametrize("text", ['{"type": "null"}', '  {"a', "true", "false "])
def test_json_is_taken_as_it_is(text: str) -> None:
    assert read_schema(text) == text


def test_anything_else_is_a_file_also_a_compressed_one(tmp_path: Path) -> None:
    file = tmp_path / "schema"
    file.write_bytes(gzip.compress(b'{"const": 1}'))
    assert read_schema(str(file)) == '{"const": 1}'
    with pytest.raises(MissingError, match="no such file"):
        read_schema("[]")
    file.write_bytes(b"\xff")
    with pytest.raises(DataError, match="not UTF-8"):
        read_schema(str(file))


@pytest.mark.parametrize(
    "text", ['root ::= "a"', '# a list\n\n item ::= "a"', 'start: "a"', "%llguidance {}\nstart: A"]
)
def test_rules_are_taken_as_they_are(text: str) -> None:
    assert read_grammar(text) == text


def test_a_grammar_without_rules_is_the_name_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "start.gbnf"
    file.write_text('root ::= "a"')
    assert read_grammar(str(file)) == 'root ::= "a"'
    with pytest.raises(MissingError, match="--grammar restart: no such file"):
        read_grammar("restart")
