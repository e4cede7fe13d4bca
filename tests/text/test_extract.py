"""Extraction, beside hand-checked articles and trafilatura's own rendering."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard

from llmkit.errors import MissingError
from llmkit.text.extract import Method, extract_text, judge_page, page_title, require_extractor

pytest.importorskip("resiliparse")
trafilatura = pytest.importorskip("trafilatura")

PROSE = "This sentence is here so that the paragraph is long enough to be taken for content by anyone. " * 3
PAGE = f"""<!doctype html><html><head><title>The &amp; title
 of it</title><style>p {{}}</style></head><body>
<nav><a href=x>Home</a><a href=y>News</a></nav><article><h1>Head one</h1>
<p>First <b>bold</b>ly set,
   and<br>broken. {PROSE}</p><h2>Sub</h2><p>Second. {PROSE}</p>
<ul><li>one thing</li><li>two things<ul><li>inner</li></ul></li></ul>
<pre>code
  indented</pre><table><tr><th>a</th><td>b</td></tr><tr><td>c</td><td>d</td></tr></table>
</article><script>alert(1)</script><footer>All rights reserved</footer></body></html>"""


@pytest.fixture(scope="module")
def pages(shared_data: Path) -> list[dict[str, Any]]:
    path = shared_data / "dirty" / "html" / "readability-pages.jsonl.zst"
    with zstandard.open(path, "rb") as stream:
        return [msgspec.json.decode(line) for line in stream.read().splitlines()][3:12]


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


def test_precise_keeps_headings_paragraphs_lists_tables_and_code_apart() -> None:
    assert extract_text(PAGE, "precise").split("\n\n") == [
        "Head one",
        f"First boldly set, and\nbroken. {PROSE.strip()}",
        "Sub",
        f"Second. {PROSE.strip()}",
        "- one thing\n- two things\n  - inner",
        "code\n  indented",
        "a\tb\nc\td",
    ]


def test_fast_keeps_paragraphs_and_headings_apart_and_drops_the_frame() -> None:
    text = extract_text(PAGE, "fast")
    assert text.startswith("Head one\n\nFirst boldly set, and\nbroken. This sentence")
    assert "\n\nSub\n\nSecond." in text and "code\n  indented" in text
    assert not any(word in text for word in ("Home", "alert", "rights"))


@pytest.mark.parametrize("method", ["fast", "precise"])
@pytest.mark.parametrize("page", ["", " ", "<html></html>", "<script>x</script>", "no markup"])
def test_a_page_without_content_is_no_error(method: Method, page: str) -> None:
    assert extract_text(page, method) in ("", "no markup")


def test_precise_has_the_words_that_trafilatura_writes_itself(pages: list[dict[str, Any]]) -> None:
    for page in pages:
        peer = trafilatura.extract(page["html"], favor_precision=True, include_comments=False)
        assert words(extract_text(page["html"], "precise")) == words(peer.replace("|---", "")), page["page"]


@pytest.mark.parametrize(("method", "precision", "recall"), [("fast", 0.93, 0.85), ("precise", 0.98, 0.9)])
def test_real_articles_come_out_nearly_whole(
    method: Method, precision: float, recall: float, pages: list[dict[str, Any]]
) -> None:
    hits = found = wanted = 0
    for page in pages:
        truth = Counter(words(re.sub(r"<[^>]+>|&\w+;", " ", page["expected_html"])))
        ours = Counter(words(extract_text(page["html"], method)))
        shared = (ours & truth).total()
        hits, found, wanted = hits + shared, found + ours.total(), wanted + truth.total()
    assert hits / found >= precision and hits / wanted >= recall


def test_a_title_is_one_line_with_its_entities_read() -> None:
    assert page_title(PAGE) == "The & title of it"
    assert page_title("<p>none") == ""


@pytest.mark.parametrize(
    ("status", "content_type", "refused"),
    [
        (200, "text/html", None),
        (None, "", None),
        (200, "text/plain", None),
        (404, "text/html", ("http status", 404, 200)),
        (200, "image/png", ("content type", "image/png", "text/html")),
    ],
)
def test_only_pages_that_were_served_are_read(
    status: int | None, content_type: str, refused: tuple[object, ...] | None
) -> None:
    verdict = judge_page(status, content_type)
    assert (None if verdict is None else (verdict.rule, verdict.value, verdict.threshold)) == refused


def test_a_missing_package_is_named_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingError, match="--extract fast needs the package resiliparse"):
        require_extractor("fast")
