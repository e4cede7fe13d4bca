"""The environment of chat templates; what it renders is compared in test_chat.py."""

from pathlib import Path

import jinja2
import pytest

from llmkit.errors import ConfigError, DataError
from llmkit.tokens.templates import (
    compile_template,
    has_generation_markers,
    one_moment,
    read_template,
    render_with_generations,
)


def test_a_template_is_compiled_once() -> None:
    assert compile_template("{{ 1 }}") is compile_template("{{ 1 }}")


def test_lines_of_blocks_leave_no_white_space() -> None:
    assert compile_template("a\n  {% if true %}\nb\n  {% endif %}\nc").render() == "a\nb\nc"


def test_json_keeps_its_letters_and_signs() -> None:
    assert compile_template("{{ {'ü': '<&>'} | tojson }}").render() == '{"ü": "<&>"}'


def test_a_block_must_end() -> None:
    with pytest.raises(jinja2.TemplateSyntaxError):
        compile_template("{% generation %}a")


def test_generation_blocks_tell_where_they_stand() -> None:
    template = compile_template("a{% for x in xs %}{% generation %}b{{ x }}{% endgeneration %}c{% endfor %}")
    text, blocks = render_with_generations(template, {"xs": ["", "dd"]})
    assert (text, blocks) == ("abcbddc", [(1, 2), (3, 6)])
    assert template.render(xs=["", "dd"]) == text


def test_a_generation_block_that_is_not_written_where_it_stands_is_refused() -> None:
    block = "{% generation %}b{% endgeneration %}"
    template = compile_template(f"{{% set x %}}{block}{{% endset %}}a{{{{ x }}}}")
    with pytest.raises(jinja2.TemplateError, match="inside a macro or a set"):
        render_with_generations(template, {})


@pytest.mark.parametrize("marker", ["{% generation %}", "{%- generation -%}", "{%generation%}"])
def test_markers_are_seen_however_they_are_written(marker: str) -> None:
    assert has_generation_markers(f"a{marker}b")
    assert not has_generation_markers("{% if add_generation_prompt %}{{ generation }}")


def test_one_moment_lasts() -> None:
    template = compile_template("{{ strftime_now('%M:%S.%f') }}")
    with one_moment():
        first = template.render()
        with one_moment():
            assert template.render() == first
        assert template.render() == first
    assert template.render() != first


def test_a_file_that_is_no_template_is_named_with_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "t.jinja"
    path.write_text("{{ a }}\n{{ b", "utf-8")
    with pytest.raises(ConfigError, match=r"t\.jinja: line 2: "):
        read_template(path)
    path.write_bytes(b"caf\xe9")
    with pytest.raises(DataError, match=r"t\.jinja: not UTF-8 \(found byte 0xe9 at offset 3\)"):
        read_template(path)
    path.write_text("{{ a }}\n", "utf-8")
    assert read_template(path) == "{{ a }}\n"
