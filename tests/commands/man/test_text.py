import shutil
import subprocess

import pytest

from llmkit.cli import build_cli
from llmkit.commands.documentation import CommandPage, read_pages
from llmkit.commands.man.text import man_page


@pytest.fixture(scope="module")
def pages() -> list[CommandPage]:
    return read_pages(build_cli())


def _format(roff: str) -> str:
    """The page as a reader of `man` sees it, 80 columns wide, without overstriking."""
    if shutil.which("groff") is None:
        pytest.skip("no groff on this machine")
    done = subprocess.run(
        ["groff", "-ww", "-man", "-Tutf8", "-P-cbou"], input=roff, capture_output=True, text=True
    )
    assert done.stderr == ""
    return done.stdout


def test_every_page_formats_without_a_warning_in_80_columns(pages: list[CommandPage]) -> None:
    for page in pages:
        text = _format(man_page(page, pages))
        assert [line for line in text.splitlines() if len(line) > 80] == [], page.title
        for heading in ("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "SEE ALSO"):
            assert f"\n{heading}\n" in text, (page.title, heading)


def test_every_flag_and_every_example_is_on_the_page_as_typed(pages: list[CommandPage]) -> None:
    for page in pages:
        text = _format(man_page(page, pages))
        words = set(text.replace(",", " ").split())
        assert {name for flag in page.options for name in flag.names} <= words, page.title
        for example in page.examples:
            assert example in text


def test_values_that_a_help_leaves_open_are_examples(pages: list[CommandPage]) -> None:
    roff = next(man_page(page, pages) for page in pages if page.title == "llmkit-kv-estimate")
    assert "Such as: h100, " in roff and "One of: context, batch, quant, parameters." in roff


def test_mandoc_finds_nothing_wrong(pages: list[CommandPage]) -> None:
    if shutil.which("mandoc") is None:
        pytest.skip("no mandoc on this machine")
    for page in pages:
        done = subprocess.run(
            ["mandoc", "-T", "lint", "-W", "warning"],
            input=man_page(page, pages),
            capture_output=True,
            text=True,
        )
        complaints = [line for line in done.stdout.splitlines() if "missing date" not in line]
        assert complaints == [], page.title  # no date: the same sources give the same page
