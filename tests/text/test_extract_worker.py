"""The child's side, run in this process."""

import io

import msgspec
import pytest

from llmkit.formats.frames import read_frame, write_frame
from llmkit.text.extract import extract_text
from llmkit.text.extract_process import Reply
from llmkit.text.extract_worker import serve

PAGE = "<html><head><title>A</title></head><body><article><p>Words – naïve.</p></article></body></html>"


def answers(pages: list[bytes], method: str = "fast") -> list[Reply]:
    source, sink = io.BytesIO(), io.BytesIO()
    for page in pages:
        write_frame(source, page)
    source.seek(0)
    serve(source, sink, method, 30.0)  # type: ignore[arg-type]
    sink.seek(0)
    assert read_frame(sink) == b"ready"
    frames = iter(lambda: read_frame(sink), None)
    return [msgspec.json.decode(frame, type=Reply) for frame in frames if frame is not None]


def test_each_page_has_its_answer_in_order() -> None:
    pytest.importorskip("resiliparse")
    first, empty = answers([PAGE.encode(), b"<html></html>"])
    assert (first.text, first.title, first.error) == (extract_text(PAGE, "fast"), "A", "")
    assert empty == Reply()


def test_what_the_library_raises_is_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("resiliparse")
    real = extract_text

    def fails(html: str, method: str) -> str:
        if "bad" in html:
            raise ValueError("a page it does not like")
        return real(html, method)  # type: ignore[arg-type]

    monkeypatch.setattr("llmkit.text.extract_worker.extract_text", fails)
    bad, good = answers([b"bad", PAGE.encode()])
    assert bad.error == "ValueError: a page it does not like"
    assert good.text == real(PAGE, "fast")
