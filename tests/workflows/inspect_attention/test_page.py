"""The page itself: one file that asks no network and writes text as text.

Opened in Chromium by hand: no message on its console, heads chosen by click and key, light and dark.
"""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from llmkit.workflows.inspect_attention.page import PAGE
from tests.wcag import color, contrast, outside_of_main, over, schemes


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


def test_arrow_keys_go_to_the_head_above_or_below_where_layers_show_other_numbers_of_heads() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not here")
    beside = re.search(r"function beside.*?\n}\n", PAGE, re.DOTALL)
    assert beside is not None
    script = """
      const row = (many, line) => Array.from({length: many}, (_, column) => ({line, column}));
      const lines = [3, 1, 2].map(row);
      const data = {maps: lines.flat()};
      let current = 0;
      const walk = keys => keys.map(key => {
        const next = beside(data.maps[current], "Arrow" + key);
        if (next) current = data.maps.indexOf(next);
        return current;
      });
      console.log(JSON.stringify(walk(["Right", "Down", "Down", "Down", "Right", "Up", "Left", "Up", "Up"])));
    """
    done = subprocess.run([node, "-e", beside[0] + script], capture_output=True, text=True, timeout=60)
    #   0 1 2
    #   3
    #   4 5
    assert json.loads(done.stdout) == [1, 3, 4, 4, 5, 3, 2, 2, 2]


def test_arrow_keys_with_another_key_or_outside_of_the_heads_are_the_browsers() -> None:
    heard = re.findall(r'(\w+)\.addEventListener\("keydown", event => \{\s*const \w+ = (\w+)\(event\)', PAGE)
    assert heard == [("grid", "plain"), ("words", "plain")] and PAGE.count("keydown") == 2


def test_nothing_is_wider_than_a_phone_or_cut_off_on_paper() -> None:
    style = PAGE.split("<style>")[1].split("</style>")[0]
    assert re.search(r"\.grid \{[^}]*overflow-x: auto", style)
    assert re.search(r"#large \{[^}]*max-width: 100%; height: auto", style)
    assert re.search(r"h1 \{[^}]*overflow-wrap: anywhere", style)
    assert "large.style.height" not in PAGE
    assert "@media print { .scroll, #text { max-height: none; overflow: visible; }" in style


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_what_is_looked_at_most_and_what_is_not_seen_can_be_read(scheme: int) -> None:
    words = schemes(PAGE)[scheme]
    (strongest,) = re.findall(r"rgba\(var\(--heat\), \$\{\((\S+) \* s\)", PAGE)
    heat = tuple(float(part) for part in words["heat"].split(","))
    ink, soft, panel, paper = (color(words[name]) for name in ("ink", "soft", "panel", "paper"))
    assert contrast(ink, over(heat, panel, float(strongest))) >= 4.5
    assert min(contrast(soft, panel), contrast(soft, paper)) >= 4.5
    assert "#text span.unseen { color: var(--soft); }" in PAGE and "opacity" not in PAGE


def test_all_of_the_page_is_in_its_main_part_and_its_tables_are_scrolled_by_keys_too() -> None:
    assert outside_of_main(PAGE) == []
    assert re.search(r'"scroll"\).*\n\s*box\.tabIndex = 0;', PAGE)


def test_who_moves_the_mark_by_keys_is_told_what_it_looks_at_most_and_who_looks_at_it_most() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not here")
    strongest = re.search(r"function strongest.*?\n}\n", PAGE, re.DOTALL)
    assert strongest is not None
    script = """
      const R = 3, C = 3, current = 0, data = {rows: [0, 1, 2, 3], cols: [0, 1, 2, 3], maps: [{cells: [
        9, 0, 0,
        7, 3, 0,
        2, 8, 1]}]};
      let query = 0, way = "from";
      const found = ["from", "to"].flatMap(one => [0, 1, 2].map(at => {
        way = one; query = at; return strongest(); }));
      console.log(JSON.stringify(found));
    """
    done = subprocess.run([node, "-e", strongest[0] + script], capture_output=True, text=True, timeout=60)
    assert json.loads(done.stdout) == [[0, 0], [1, 0], [2, 1], [0, 0], [2, 1], [2, 2]]
    assert "tell(data.maps[current], ...strongest());" in PAGE and 'id="under" aria-live="polite"' in PAGE
