"""The page itself: one file that asks no network and writes text as text.

Opened in Chromium by hand: no message on its console, heads chosen by click and key, light and dark.
"""

import re
from html.parser import HTMLParser

from llmkit.workflows.inspect_attention.page import PAGE


def test_the_page_loads_nothing_and_puts_no_text_in_as_markup() -> None:
    assert re.findall(r"https?://|//[a-z]+\.|@import|url\(", PAGE) == []
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", PAGE)
    assert re.findall(r'(?:src|href)="([^"]*)"', PAGE) == ["data:,"]
    assert PAGE.count("__DATA__") == 1 and "prefers-color-scheme: dark" in PAGE


def test_every_element_is_closed() -> None:
    open_ones: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            if tag not in ("meta", "link", "input"):
                open_ones.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert open_ones.pop() == tag

    Reader().feed(PAGE)
    assert open_ones == []


def test_every_part_that_the_script_looks_for_is_there() -> None:
    named = set(re.findall(r'getElementById\("(\w+)"\)', PAGE))
    assert named == set(re.findall(r'id="(\w+)"', PAGE)) and len(named) == 10


def test_each_line_of_the_text_begins_at_the_side_of_its_letters() -> None:
    assert re.search(r"#text \{[^}]*unicode-bidi: plaintext", PAGE)
