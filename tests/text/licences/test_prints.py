"""Licence texts as real projects ship them: here, and in the packages that this environment has."""

import importlib.metadata
from pathlib import Path

import numpy as np
import pytest
import zstandard

from llmkit.text.licences.prints import known_prints, match_prints, print_of

REPOSITORY = Path(__file__).resolve().parents[3]
SHIPPED = {
    "pytest": "MIT",
    "rich": "MIT",
    "numpy": "BSD-3-Clause",
    "jinja2": "BSD-3-Clause",
    "pygments": "BSD-2-Clause",
    "openai": "Apache-2.0",
    "tld": "MPL-1.1",
}


def licence_texts(package: str) -> list[str]:
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"no {package} here")
    texts = [Path(str(file.locate())) for file in files if "LICEN" in file.name.upper()]
    return [path.read_text(encoding="utf-8", errors="replace") for path in texts if path.is_file()]


def test_this_repositorys_licence_is_apache() -> None:
    text = (REPOSITORY / "LICENSE").read_text()
    (match,) = match_prints(text)
    assert (match.licence, match.confidence) == ("Apache-2.0", 1.0)
    assert "Version 2.0, January 2004" in text[match.start : match.start + 100]
    assert np.isin(known_prints()["Apache-2.0"], print_of(text)).mean() > 0.95


@pytest.mark.parametrize(("package", "licence"), SHIPPED.items())
def test_licences_that_packages_ship_are_known(package: str, licence: str) -> None:
    found = {match.licence for text in licence_texts(package) for match in match_prints(text)}
    assert licence in found


def test_a_licence_is_known_inside_a_file_wrapped_and_commented() -> None:
    lines = licence_texts("pytest")[0].splitlines()
    header = "\n".join(f" * {line}" for line in lines)
    text = f"/*\n{header}\n */\n\nint main(void) {{ return 0; }}\n" * 1
    (match,) = match_prints("// first\n" * 300 + text)
    assert match.licence == "MIT" and match.confidence > 0.9
    assert match.start >= 2700


def test_a_part_of_a_licence_is_none() -> None:
    words = (REPOSITORY / "LICENSE").read_text().split()
    assert match_prints(" ".join(words[: len(words) // 2])) == []
    assert (
        match_prints("Copyright, license, warranty, permission: words of a text that is no licence." * 5)
        == []
    )
    assert match_prints("") == []


def test_the_licence_of_a_gutenberg_book_stands_at_its_end(shared_data: Path) -> None:
    with zstandard.open(shared_data / "text" / "gutenberg" / "en-treasure-island.txt.zst", "rb") as stream:
        text = stream.read().decode()
    (match,) = match_prints(text)
    assert match.licence == "LicenseRef-Project-Gutenberg" and match.confidence > 0.9
    assert match.start > 0.9 * len(text)
    assert "gutenberg" in text[match.start : match.start + 500].lower()


def test_the_same_words_make_the_same_print_however_they_are_set() -> None:
    text = "One two THREE four, five; six seven.\n\nEight nine ten eleven"
    again = "one TWO three\n * four\n * five six (seven) eight nine ten - eleven!"
    assert list(print_of(text)) == list(print_of(again)) == sorted(print_of(text))
    assert len(print_of(text)) == 7
    assert len(print_of("one two three four")) == 0
