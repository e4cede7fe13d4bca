"""A reply in parts, thought and not: however it comes, and wherever the prompt has left off."""

import shutil
from itertools import groupby
from pathlib import Path

import pytest

from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.tools.thoughts import Place, ThoughtForm
from llmkit.workflows.chat.thoughts import ThoughtParts, thought_parts

QWEN = ThoughtForm("<think>", "</think>")


def _cut(text: str, place: Place, step: int) -> list[tuple[str, bool]]:
    """The text's parts, of pieces of so many letters; neighbours of one kind as one."""
    parts = ThoughtParts(QWEN, place)
    pieces = [text[at : at + step] for at in range(0, len(text), step)]
    found = [*(part for piece in pieces for part in parts.push(piece)), *parts.flush()]
    kinds = groupby(found, key=lambda part: part[1])
    return [(whole, kind) for kind, some in kinds if (whole := "".join(text for text, _ in some))]


@pytest.mark.parametrize("step", [1, 2, 3, 7, 100])
@pytest.mark.parametrize(
    ("place", "parts"),
    [
        ("before", [("<think>\nSeven?</think>", True), ("\n\nSeven.", False)]),
        ("before", [("\n <think></think>", True), ("Seven.</think>", False)]),
        ("before", [("<thin ice", False)]),
        ("before", [("\n<thin", False)]),
        ("before", [("I <think>", False)]),
        ("before", [("<think>cut off</thin", True)]),
        ("within", [("Seven? </ </think>", True), (" <think>", False)]),
        ("within", [("</think>", True), ("\nSeven", False)]),
        ("after", [("<think>Seven</think>", False)]),
    ],
)
def test_what_is_thought_is_told_apart_however_it_comes(
    place: Place, parts: list[tuple[str, bool]], step: int
) -> None:
    assert _cut("".join(text for text, _ in parts), place, step) == parts


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("Hi", [("Hm", False)]),
        ("Hi<think>\n", [("Hm", True)]),
        ("Hi<think>\n\n</think>\n\n", [("Hm", False)]),
    ],
)
def test_the_prompt_says_where_the_text_begins(
    byte_level_dir: Path, tmp_path: Path, prompt: str, parts: list[tuple[str, bool]]
) -> None:
    folder = shutil.copytree(byte_level_dir, tmp_path / "tok")
    (folder / "chat_template.jinja").write_text("<think>")
    tokenizer = load_tokenizer(folder)
    found = thought_parts(tokenizer, tuple(tokenizer.encode(prompt)))
    assert found is not None and list(found.push("Hm")) == parts


def test_a_model_that_thinks_nothing_is_not_listened_to(byte_level_dir: Path) -> None:
    assert thought_parts(load_tokenizer(byte_level_dir), (1, 2)) is None
