"""Chat templates render as transformers renders them."""

import json
from pathlib import Path
from typing import Any

import pytest
import tokenizers

from llmkit.errors import ConfigError, DataError, MissingError
from llmkit.tokens.chat import render_chat, render_generations
from llmkit.tokens.tokenizer import Tokenizer

USER = [{"role": "user", "content": "What is <2 & 3>? Ünï"}]


def _tokenizer(template: str | None, **config: Any) -> Tokenizer:
    return Tokenizer(tokenizers.Tokenizer(tokenizers.models.BPE()), config, template)


def _theirs(template: str, messages: list[dict[str, Any]], **settings: Any) -> str:
    from transformers.utils.chat_template_utils import render_jinja_template

    rendered, _ = render_jinja_template([messages], chat_template=template, **settings)
    return str(rendered[0])


def _published(folder: Path, name: str) -> str:
    text = (folder / name).read_text(encoding="utf-8")
    return text if name.endswith(".jinja") else json.loads(text)["chat_template"]


def test_published_templates_give_the_recorded_text(shared_data: Path) -> None:
    folder = shared_data / "chat_templates"
    rows = [json.loads(line) for line in (folder / "rendered.jsonl").read_text("utf-8").splitlines()]
    assert len({row["template"] for row in rows}) >= 10
    for row in rows:
        template = _published(folder, row["template"])
        tokenizer = _tokenizer(template, bos_token=row["bos_token"], eos_token=row["eos_token"])
        settings = {"tools": row["tools"], "add_generation_prompt": row["add_generation_prompt"]}
        if "error" in row:
            with pytest.raises(DataError, match=row["error"]):
                render_chat(tokenizer, row["messages"], **settings)
        else:
            assert render_chat(tokenizer, row["messages"], **settings) == row["rendered"], row["template"]


@pytest.mark.parametrize(
    "template",
    [
        "{{ messages | tojson }}{{ messages | tojson(indent=2) }}",
        "{% for m in messages %}\n  {% generation %}{{ m.content }}{% endgeneration %}\n{% endfor %}\n\n",
        "{% for m in messages %}{% if loop.index > 1 %}{% break %}{% endif %}{{ m['role'] }}{% endfor %}",
        "{{ bos_token }}{{ tools is none }}{{ documents is none }}{{ strftime_now('%Y') }}",
        "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
    ],
)
def test_what_hugging_face_adds_to_jinja_is_there(template: str) -> None:
    ours = render_chat(_tokenizer(template, bos_token="<s>"), USER)
    assert ours == _theirs(template, USER, bos_token="<s>")


def test_reasoning_is_found_under_each_of_its_names() -> None:
    template = "{% for m in messages %}{{ m.reasoning_content }}|{{ m.thinking }}|{{ m.content }}{% endfor %}"
    for name in ("reasoning_content", "thinking", "reasoning"):
        messages = [{"role": "assistant", "content": "4", name: "2 and 2"}]
        assert render_chat(_tokenizer(template), messages) == _theirs(template, messages)


def test_a_key_that_is_null_counts_as_absent() -> None:
    template = "{% for m in messages %}{{ 'calls' if m.tool_calls is defined else m.content }}{% endfor %}"
    message = {"role": "assistant", "content": "4", "tool_calls": None}
    assert render_chat(_tokenizer(template), [message]) == "4"


def test_special_tokens_may_be_written_as_objects_and_lists() -> None:
    template = "{{ eos_token }}{{ image_token }}{{ pad_token is defined }}"
    tokenizer = _tokenizer(
        template,
        eos_token={"content": "</s>", "lstrip": False},
        extra_special_tokens={"image_token": "<img>"},
    )
    assert render_chat(tokenizer, USER) == "</s><img>False"


def test_a_template_cannot_reach_the_machine() -> None:
    template = "{{ messages.__class__.__mro__[1].__subclasses__() }}"
    with pytest.raises(DataError, match="unsafe"):
        render_chat(_tokenizer(template), USER)


def test_what_cannot_be_rendered_is_told_apart() -> None:
    with pytest.raises(MissingError, match="no chat template") as caught:
        render_chat(_tokenizer(None), USER)
    assert caught.value.hint.startswith("a base model goes on from a text: llmkit generate;")
    with pytest.raises(ConfigError, match="line 2"):
        render_chat(_tokenizer("{% for m in messages %}\n{% endif %}"), USER)
    with pytest.raises(DataError, match="roles must alternate"):
        render_chat(_tokenizer("{{ raise_exception('roles must alternate') }}"), USER)


def test_generation_blocks_stand_where_transformers_finds_them() -> None:
    from transformers.utils.chat_template_utils import render_jinja_template

    template = (
        "{{ tools | length }}{% for m in messages %}\n  {% if m.role == 'assistant' %}\n"
        "{% generation %}{{ m.content }}!{% endgeneration %}{% else %}<{{ m.content }}>{% endif %}"
        "{% endfor %}"
    )
    messages = [*USER, {"role": "assistant", "content": "4"}, *USER, {"role": "assistant", "content": "é"}]
    texts, blocks = render_jinja_template(
        [messages], chat_template=template, tools=[], return_assistant_tokens_mask=True
    )
    text, found = render_generations(_tokenizer(template), messages)  # without tools: gone through unasked
    assert (text, found) == (texts[0], blocks[0])


TEXT_PARTS = [{"type": "text", "text": "What is "}, {"type": "text", "text": "it?"}]


def test_a_content_in_parts_of_text_is_one_text() -> None:
    template = "{% for m in messages %}{{ '<' + m.content + '>' }}{% endfor %}"
    assert render_chat(_tokenizer(template), [{"role": "user", "content": TEXT_PARTS}]) == "<What is it?>"


@pytest.mark.parametrize("kind", ["image", "image_url", "input_audio", "video", "file"])
def test_a_part_that_is_no_text_is_refused_by_its_place_whatever_the_template(kind: str) -> None:
    message = {"role": "user", "content": [*TEXT_PARTS, {"type": kind, kind: {}}]}
    for template in ("{% for m in messages %}{{ m.content }}{% endfor %}", "{{ messages | length }}"):
        with pytest.raises(DataError, match=rf"^messages\[1\]\.content\[2\]: of type '{kind}': only text"):
            render_chat(_tokenizer(template), [USER[0], message])


def test_other_parts_are_the_templates_own_affair() -> None:
    results = [{"name": "f", "result": 1}]
    template = "{{ messages[0].content | tojson }}"
    assert json.loads(render_chat(_tokenizer(template), [{"role": "tool", "content": results}])) == results
