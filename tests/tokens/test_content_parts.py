import subprocess
import sys
from typing import Any

import pytest

from llmkit.errors import DataError
from llmkit.tokens.content_parts import check_parts, joined_parts

TEXT, IMAGE = {"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "data:"}}


def test_parts_of_text_are_one_text() -> None:
    assert joined_parts([TEXT, {"type": "text", "text": " b", "cache_control": {}}]) == "a b"
    assert joined_parts([]) == ""


@pytest.mark.parametrize("content", ["a", None, 3, [TEXT, IMAGE], ["a"], [{"type": "text", "text": 3}]])
def test_what_is_not_all_text_is_left_as_it_is(content: Any) -> None:
    assert joined_parts(content) is content


def test_an_image_is_refused_by_its_place_and_what_nobody_knows_is_not() -> None:
    with pytest.raises(DataError, match=r"^here\[1\]: of type 'image_url': only text is read here$"):
        check_parts([TEXT, IMAGE], "here")
    for content in ("image", None, [TEXT, {"type": "own"}, {"type": ["image"]}, "image"]):
        check_parts(content, "here")


def test_who_reads_queries_does_not_wait_for_templates() -> None:
    code = "import sys, llmkit.workflows.retrieve.query; sys.exit('jinja2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
