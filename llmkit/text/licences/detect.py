"""Which licence a document says it is under, with the evidence: how it is said, where, and how sure that is.

    spdx       SPDX-License-Identifier: MIT                                  1.0
    text       a licence's whole text (llmkit.text.licences.prints)          the share of it that is there
    rel        <a rel="license" href>, JSON-LD "license", <meta dc.rights>  0.98, 0.95, 0.9
    notice     "either version 2 of the License, or (at your option) …"     0.95
    statement  "licensed under the Apache License, Version 2.0"             0.85
    link       a link to a licence, in HTML or text, without a word         0.8 for one alone, 0.5 for several

HTML has to be looked at before its text is taken out of it: the links, mostly in the footer, do not survive.
"""

import html as entities
import re
from collections.abc import Iterator

import msgspec

from llmkit.text.licences.ids import normalise_licence
from llmkit.text.licences.prints import match_prints
from llmkit.text.licences.urls import licence_of_url

LEAST = 0.8
_MENTIONS = ("licens", "licenc", "creativecommons", "creative commons", "cc by", "cc-by", "cc0", "warrant")
_SPDX = re.compile(
    r"SPDX-License-Identifier:[ \t]*(?P<name>[A-Za-z0-9.+() \t-]+?)[ \t]*(?:\*/|-->|#\}|[\"'<\n\r]|$)"
)
_TAG = re.compile(r"<(?:a|link)\b[^>]{0,600}>", re.IGNORECASE)
_REL = re.compile(r"\brel\s*=\s*(?:[\"'][^\"'>]*\blicen[sc]e\b|licen[sc]e\b)", re.IGNORECASE)
_HREF = re.compile(r"\bhref\s*=\s*[\"']?(?P<url>[^\"'\s>]+)", re.IGNORECASE)
_META = re.compile(
    r"<meta\b(?=[^<>]{0,300}\b(?:name|property)\s*=\s*[\"'](?:dc\.rights|dc\.license|dcterms\.license"
    r"|dcterms\.rights|license|licence|rights|og:license)[\"'])"
    r"[^<>]{0,300}\bcontent\s*=\s*(?P<quote>[\"'])(?P<name>[^\"'<>]{2,200})(?P=quote)",
    re.IGNORECASE,
)
_JSON_LD = re.compile(r"\"license\"\s*:\s*\"(?P<name>[^\"]{2,200})\"")
_NOTICE = re.compile(
    r"GNU\s+(?P<kind>Lesser\s+|Library\s+|Affero\s+)?General\s+Public\s+License\W{0,4}(?:version\s+[\d.]+\W+)?"
    r"(?:\(\w+\)\s+)?as\s+published\s+by\s+the\s+Free\s+Software\s+Foundation\W{1,8}"
    r"(?:(?P<either>either)\s+)?version\s+(?P<version>[123](?:\.\d)?)",
    re.IGNORECASE,
)
_STATEMENT = re.compile(
    r"\b(?i:licen[sc]ed?|released?|available|distributed|published|provided|shared|governed|covered)\b"
    r"[^.;!?]{0,60}?\b(?:under|by)\s+(?:the\s+terms\s+of\s+)?(?:an?\s+|the\s+)?"
    r"(?P<name>[A-Z0-9][^;!?<>\"“”]{1,110})"
)
_URL = re.compile(r"(?:https?:)?//[^\s<>\"')\]]{6,200}|\bcreativecommons\.org/[^\s<>\"')\]]{4,100}")
_MOST_NAME_WORDS = 12


class LicenceEvidence(msgspec.Struct, frozen=True):
    """A licence, how it is said, how sure that is (0 to 1), where in the HTML or text, the words there."""

    licence: str
    method: str
    confidence: float
    start: int
    end: int
    match: str


def detect_licences(text: str = "", html: str = "") -> list[LicenceEvidence]:
    """Everything in a document that names a licence, the surest first, each licence once by each method.

    Args:
        text: the document's text; "" where it is yet to be taken out of `html`.
        html: its page, "" where there is none.
    """
    found: list[LicenceEvidence] = []
    if _mentions_any(html):
        found += [*_in_html(html), *_notices(html)]
    if _mentions_any(text):
        found += [*_spdx(text), *_texts(text), *_notices(text), *_statements(text), *_links(_urls(text))]
    first: dict[tuple[str, str], LicenceEvidence] = {}
    for one in sorted(found, key=lambda one: (-one.confidence, one.start)):
        first.setdefault((one.licence, one.method), one)
    return list(first.values())


def best_licence(evidence: list[LicenceEvidence]) -> LicenceEvidence | None:
    """The licence that evidence points to; None where none is sure enough, or where it points two ways.

    Several whole texts are all of them in force: their licences joined by AND.
    """
    sure = [one for one in evidence if one.confidence >= LEAST]
    if not sure:
        return None
    top = sure[0]
    texts = [one for one in sure if one.method == "text"]
    if top.method == "text" and len(texts) > 1:
        ids = sorted({one.licence for one in texts})
        lowest = min(one.confidence for one in texts)
        return msgspec.structs.replace(top, licence=" AND ".join(ids), confidence=lowest)
    rivals = [one for one in sure if one.licence != top.licence and one.method == top.method]
    return None if any(one.confidence > top.confidence - 0.1 for one in rivals) else top


def _mentions_any(text: str) -> bool:
    lower = text.lower()  # and not a pattern that ignores case: twenty times as fast
    return any(word in lower for word in _MENTIONS)


def _in_html(html: str) -> Iterator[LicenceEvidence]:
    links: list[tuple[str, int, int]] = []
    for tag in _TAG.finditer(html):
        href = _HREF.search(tag.group())
        if href is None:
            continue
        if _REL.search(tag.group()):
            yield from _named(entities.unescape(href["url"]), "rel", 0.98, tag.span())
        else:
            links.append((href["url"], *tag.span()))
    for found in _META.finditer(html):
        yield from _named(entities.unescape(found["name"]), "rel", 0.9, found.span())
    for found in _JSON_LD.finditer(html):
        yield from _named(found["name"].replace("\\/", "/"), "rel", 0.95, found.span())
    yield from _links(links)


def _named(name: str, method: str, confidence: float, span: tuple[int, int]) -> Iterator[LicenceEvidence]:
    licence = normalise_licence(name)
    if licence is not None:
        yield LicenceEvidence(licence, method, confidence, *span, name[:200])


def _spdx(text: str) -> Iterator[LicenceEvidence]:
    for found in _SPDX.finditer(text):
        yield from _named(found["name"].strip(), "spdx", 1.0, found.span())


def _texts(text: str) -> Iterator[LicenceEvidence]:
    for match in match_prints(text):
        words = " ".join(text[match.start : match.start + 120].split())
        yield LicenceEvidence(match.licence, "text", match.confidence, match.start, match.end, words)


def _notices(text: str) -> Iterator[LicenceEvidence]:
    for found in _NOTICE.finditer(text):
        kind = {"l": "LGPL", "a": "AGPL"}.get((found["kind"] or "")[:1].lower(), "GPL")
        after = text[found.end() : found.end() + 120]
        is_open = re.match(
            r"\s+of\s+the\s+Licen[sc]e\W{1,4}or\W{1,8}at\W+your\W+option", after, re.IGNORECASE
        )
        name = f"{kind}-{found['version']}{'+' if is_open else ''}"
        yield from _named(name, "notice", 0.95, found.span())


def _statements(text: str) -> Iterator[LicenceEvidence]:
    for found in _STATEMENT.finditer(text):
        words = found["name"].split()[:_MOST_NAME_WORDS]
        for count in range(len(words), 0, -1):
            name = " ".join(words[:count]).rstrip(".,:)")
            licence = normalise_licence(name)
            if licence is not None:
                yield LicenceEvidence(
                    licence, "statement", 0.85, *found.span(), " ".join(found.group().split())[:200]
                )
                break


def _urls(text: str) -> list[tuple[str, int, int]]:
    return [(found.group(), *found.span()) for found in _URL.finditer(text)]


def _links(links: list[tuple[str, int, int]]) -> list[LicenceEvidence]:
    """Addresses of licences: one alone is likely the page's, several are likely those of what it shows."""
    named = [(licence_of_url(url), url, start, end) for url, start, end in links]
    found = [(licence, url, start, end) for licence, url, start, end in named if licence is not None]
    confidence = 0.8 if len({licence for licence, *_ in found}) == 1 else 0.5
    return [
        LicenceEvidence(licence, "link", confidence, start, end, url[:200])
        for licence, url, start, end in found
    ]
