"""Licences as pages and texts state them, made up and real."""

from pathlib import Path

import msgspec
import pytest
import zstandard

from llmkit.text.licences.detect import LicenceEvidence, best_licence, detect_licences

REPOSITORY = Path(__file__).resolve().parents[3]
NOTICE = """This program is free software; you can redistribute it and/or modify it under the terms of the GNU
General Public License as published by the Free Software Foundation; either version 2 of the License, or
(at your option) any later version."""


def best(text: str = "", html: str = "") -> tuple[str, str] | None:
    found = best_licence(detect_licences(text, html))
    return None if found is None else (found.licence, found.method)


@pytest.mark.parametrize(
    ("text", "licence", "method"),
    [
        ("# SPDX-License-Identifier: MIT OR Apache-2.0\nimport os", "MIT OR Apache-2.0", "spdx"),
        ("/* SPDX-License-Identifier: GPL-2.0-only */", "GPL-2.0-only", "spdx"),
        ("<!-- SPDX-License-Identifier: CC-BY-4.0 -->", "CC-BY-4.0", "spdx"),
        (NOTICE, "GPL-2.0-or-later", "notice"),
        (NOTICE.replace("; either version 2 of the License, or\n(at", ", version 3 (not at"), "GPL-3.0-only",
         "notice"),
        ('# Licensed under the Apache License, Version 2.0 (the "License");', "Apache-2.0", "statement"),
        ("This work is licensed under a Creative Commons Attribution-ShareAlike 4.0 International License.",
         "CC-BY-SA-4.0", "statement"),
        ("Unless noted, content is available under CC BY-SA 3.0 or so.", "CC-BY-SA-3.0", "statement"),
        ("Released under the MIT license, 2019.", "MIT", "statement"),
        ("distributed under the CC BY-NC license", "CC-BY-NC-4.0", "statement"),
        ("See the license: https://creativecommons.org/licenses/by/4.0/", "CC-BY-4.0", "link"),
    ],
)  # fmt: skip
def test_a_text_that_names_its_licence_is_understood(text: str, licence: str, method: str) -> None:
    assert best(text) == (licence, method)


@pytest.mark.parametrize(
    "text",
    [
        "I got my driver license under the bridge.", "The book was published under the name of Jane.",
        "A license is available under certain conditions.", "Licensed by the State of New York.",
        "MIT is in Boston.",
        "Compare the licenses http://opensource.org/licenses/MIT and http://www.gnu.org/licenses/gpl.html",
    ],
)  # fmt: skip
def test_a_text_that_names_none_has_none(text: str) -> None:
    assert best(text) is None


@pytest.mark.parametrize(
    ("html", "licence", "method"),
    [
        (
            '<a rel="license" href="http://creativecommons.org/licenses/by/3.0/us/">x</a>',
            "CC-BY-3.0-US",
            "rel",
        ),
        (
            "<a href='//creativecommons.org/licenses/by-sa/3.0/' rel='nofollow license'>",
            "CC-BY-SA-3.0",
            "rel",
        ),
        ('<link rel=license href="https://www.apache.org/licenses/LICENSE-2.0">', "Apache-2.0", "rel"),
        ('<meta content="CC BY 4.0" name="dcterms.license">', "CC-BY-4.0", "rel"),
        (
            '{"@type":"Article","license":"https:\\/\\/creativecommons.org\\/publicdomain\\/zero\\/1.0\\/"}',
            "CC0-1.0",
            "rel",
        ),
        (
            '<footer><a href="https://creativecommons.org/licenses/by-nc/4.0/">terms</a>',
            "CC-BY-NC-4.0",
            "link",
        ),
    ],
)
def test_a_page_that_names_its_licence_is_understood(html: str, licence: str, method: str) -> None:
    assert best(html=f"<html><body>{html}</body></html>") == (licence, method)


def test_a_page_of_many_licences_has_none_of_them() -> None:
    links = "".join(
        f'<a href="https://creativecommons.org/licenses/{kind}/4.0/">x</a>'
        for kind in ("by", "by-sa", "by-nc")
    )
    found = detect_licences(html=links)
    assert [one.confidence for one in found] == [0.5, 0.5, 0.5]
    assert best(html=links) is None
    assert best(html=links + '<a rel="license" href="https://creativecommons.org/licenses/by/4.0/">') == (
        "CC-BY-4.0", "rel",
    )  # fmt: skip


def test_evidence_says_where_it_stands_and_in_which_words() -> None:
    text = "Some page. Licensed under the MIT License. More."
    (one,) = detect_licences(text)
    assert text[one.start : one.end].startswith("Licensed under the MIT License")
    assert one.match.startswith("Licensed under the MIT License")
    assert msgspec.convert(msgspec.to_builtins(one), LicenceEvidence) == one


def test_several_whole_texts_are_all_in_force() -> None:
    apache = (REPOSITORY / "LICENSE").read_text()
    isc = """Permission to use, copy, modify, and/or distribute this software for any purpose with or
    without fee is hereby granted, provided that the above copyright notice and this permission
    notice appear in all copies. THE SOFTWARE IS PROVIDED "AS IS" AND THE AUTHOR DISCLAIMS ALL
    WARRANTIES WITH REGARD TO THIS SOFTWARE INCLUDING ALL IMPLIED WARRANTIES OF MERCHANTABILITY AND
    FITNESS. IN NO EVENT SHALL THE AUTHOR BE LIABLE FOR ANY SPECIAL, DIRECT, INDIRECT, OR
    CONSEQUENTIAL DAMAGES OR ANY DAMAGES WHATSOEVER RESULTING FROM LOSS OF USE, DATA OR PROFITS,
    WHETHER IN AN ACTION OF CONTRACT, NEGLIGENCE OR OTHER TORTIOUS ACTION, ARISING OUT OF OR IN
    CONNECTION WITH THE USE OR PERFORMANCE OF THIS SOFTWARE."""
    assert best(f"{apache}\n\n{isc}") == ("Apache-2.0 AND ISC", "text")


@pytest.mark.parametrize(
    ("page", "licence"), [("wikipedia", "CC-BY-SA-3.0"), ("v8-blog", "CC-BY-3.0"), ("ietf-1", None)]
)
def test_real_pages_are_understood(page: str, licence: str | None, shared_data: Path) -> None:
    with zstandard.open(shared_data / "dirty" / "html" / "readability-pages.jsonl.zst", "rb") as stream:
        records = [msgspec.json.decode(line) for line in stream.read().splitlines()]
    (html,) = [record["html"] for record in records if record["page"] == page]
    found = best(html=html)
    assert (found and found[0]) == licence
