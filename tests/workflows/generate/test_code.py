"""The first code block, beside markdown-it, which is another's reading of CommonMark."""

import random

import pytest

from llmkit.workflows.generate.code import first_code_block


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Sure:\n```python\nx = 1\n```\nand\n```\ny\n```\n", "x = 1\n"),
        ("no code, only `a` and ```b```", None),
        ("~~~\na\n```\nb\n~~~~\nc", "a\n```\nb\n"),
        ("````\n```\na\n```\n````", "```\na\n```\n"),
        ("```\ncut off", "cut off"),
        ("  ```\n    a\n b\n  ```", "  a\nb\n"),
        ("```a`b\nno fence", None),
        ("    ```\n    an indented block is no fence", None),
        ("```\n```", ""),
        ("", None),
    ],
)
def test_the_first_block_is_what_stands_between_its_fences(text: str, code: str | None) -> None:
    assert first_code_block(text) == code


def test_markdown_it_finds_the_same() -> None:
    from markdown_it import MarkdownIt

    dice, parser = (
        random.Random(3),
        MarkdownIt("commonmark").disable(["code", "blockquote", "list", "html_block"]),
    )
    parts = ("```", "````", "~~~", "```py", "``` ", " ```", "   ~~~", "a", " b", "", "``")
    found = 0
    for _ in range(400):
        text = "\n".join(dice.choice(parts) for _ in range(dice.randrange(1, 9))) + "\n"
        blocks = [token.content for token in parser.parse(text) if token.type == "fence"]
        found += bool(blocks)
        assert first_code_block(text) == (blocks[0] if blocks else None), text
    assert found > 100
