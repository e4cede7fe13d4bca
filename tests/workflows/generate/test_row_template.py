"""Templates that make prompts: what they are given, and what they may not do."""

from pathlib import Path

import msgspec
import pytest

from llmkit.errors import ConfigError, DataError, MissingError
from llmkit.workflows.generate.row_template import RowTemplate


def _filled(folder: Path, text: str, **row: object) -> str:
    path = folder / "t.jinja"
    path.write_text(text)
    return RowTemplate(path).fill(
        {key: msgspec.Raw(msgspec.json.encode(value)) for key, value in row.items()}
    )


def test_every_key_and_the_whole_row_are_there(tmp_path: Path) -> None:
    assert _filled(tmp_path, "{{ a }}/{{ b.c[0] }}", a="é", b={"c": [1]}) == "é/1"
    assert _filled(tmp_path, "{{ record['a b'] }} {{ record | tojson }}", **{"a b": 1}) == '1 {"a b": 1}'


def test_a_missing_key_is_an_error_and_not_nothing_unless_the_template_says_what(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'b' is undefined") as caught:
        _filled(tmp_path, "{{ b }}", a=1)
    assert caught.value.hint == "the row has: a"
    assert _filled(tmp_path, "{{ b | default('x') }}", a=1) == "x"


def test_a_template_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"t\.jinja: line 2: "):
        _filled(tmp_path, "a\n{{ a", a=1)
    with pytest.raises(MissingError):
        RowTemplate(tmp_path / "none.jinja")
    (tmp_path / "latin.jinja").write_bytes(b"caf\xe9")
    with pytest.raises(DataError, match="not UTF-8"):
        RowTemplate(tmp_path / "latin.jinja")


def test_a_template_reaches_nothing_of_python(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        _filled(tmp_path, "{{ a.__class__.__mro__ }}", a="x")


@pytest.mark.parametrize(
    "text", ["{{ 1 + a }}", "{{ a.b.c }}", "{{ 1 // 0 }}", "{{ range(10 ** 9) | list }}"]
)
def test_what_a_template_makes_go_wrong_is_the_rows_error_and_no_bug(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match=r"t\.jinja: "):
        _filled(tmp_path, text, a="x")
