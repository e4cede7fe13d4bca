"""A page that hangs, kills or is refused costs that page and no other."""

import os
import signal
from pathlib import Path

import pytest

from llmkit.errors import MissingError
from llmkit.text.extract import extract_text
from llmkit.text.extract_process import Extractor
from llmkit.text.rule import Verdict

pytest.importorskip("resiliparse")

GOOD = (
    "<html><title>t</title><body><article><p>Some words, enough of them to be content.</p></article></body>"
)
HANGS = "<div>" * 30_000 + "x"  # resiliparse takes time with the square of the depth: half a minute here


def test_a_page_that_hangs_costs_one_document() -> None:
    with Extractor("fast", seconds=0.5) as extract:
        first, hung, last = extract(GOOD), extract(HANGS), extract(GOOD)
    assert hung.verdict is not None and hung.text == ""
    assert (hung.verdict.rule, hung.verdict.threshold) == ("extract timeout", 0.5)
    assert first == last
    assert (first.text, first.title, first.verdict) == (extract_text(GOOD, "fast"), "t", None)


def test_a_child_that_is_killed_costs_at_most_the_page_it_had() -> None:
    with Extractor("fast") as extract:
        extract(GOOD)
        assert extract._child is not None
        os.kill(extract._child.pid, signal.SIGKILL)
        extract._child.wait()
        assert extract(GOOD).text == extract_text(GOOD, "fast")
        empty = extract("<script>x</script>")
        assert empty.verdict == Verdict("extract empty", 0, 1)


def test_closing_leaves_no_child_behind() -> None:
    with Extractor("fast") as extract:
        extract(GOOD)
        child = extract._child
        assert child is not None and child.poll() is None
    assert child.poll() is not None


def test_a_library_that_does_not_load_is_an_error_and_no_reject(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    with Extractor("fast") as extract, pytest.raises(MissingError, match="resiliparse does not load"):
        extract(GOOD)


def test_a_part_of_a_library_that_is_missing_is_named_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "trafilatura.py").write_text("raise ImportError('lxml.html.clean is now\\nlxml_html_clean')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Extractor("precise") as extract, pytest.raises(MissingError) as caught:
        extract(GOOD)
    assert caught.value.problem.endswith("trafilatura does not load: lxml.html.clean is now lxml_html_clean")
    assert caught.value.hint == "pip install 'llmkit[corpus]'"
    assert capfd.readouterr().err == ""
