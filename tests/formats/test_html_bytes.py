"""Encodings of pages: what the page says, what its bytes say, and what a browser would do."""

import codecs

import pytest

from llmkit.formats.html_bytes import decode_html

META = (
    '<html><!-- <meta charset="big5"> --><head><meta http-equiv="a" content="text/html; charset={}"></head>{}'
)


@pytest.mark.parametrize(
    ("charset", "letters"),
    [
        ("windows-1251", "Привет, мир"),
        ("shift_jis", "日本語の文章"),
        ("euc-kr", "한국어 문장"),
        ("gb2312", "中文句子"),
        ("iso-8859-2", "Zażółć gęślą jaźń"),
        ("utf-8", "naïve façade"),
    ],
)
@pytest.mark.parametrize("said_by", ["header", "meta"])
def test_a_declared_encoding_is_followed(charset: str, letters: str, said_by: str) -> None:
    page = META.format(charset if said_by == "meta" else "x-none", letters)
    read = decode_html(page.encode(charset), charset.upper() if said_by == "header" else None)
    assert (read.text, read.evidence, read.replaced) == (page, said_by, 0)


def test_the_header_goes_before_the_page_and_the_mark_before_both() -> None:
    page = META.format("windows-1251", "é")
    assert decode_html(page.encode("latin-1"), "iso-8859-1").text == page
    assert decode_html(codecs.BOM_UTF16_LE + page.encode("utf-16-le"), "utf-8").text == page
    assert decode_html(codecs.BOM_UTF8 + page.encode(), "iso-8859-1").evidence == "bom"


def test_latin1_is_read_as_windows_1252_as_browsers_do() -> None:
    assert decode_html(b"<p>\x93quoted\x94 \x80 \x81", "ISO-8859-1").text == "<p>“quoted” € \x81"


def test_utf8_under_a_wrong_label_does_not_become_mojibake() -> None:
    page = META.format("iso-8859-1", "naïve “café”")
    read = decode_html(page.encode())
    assert (read.text, read.evidence) == (page, "content")
    assert decode_html("<p>naïve".encode("latin-1"), "utf-8").text == "<p>naïve"


def test_without_a_word_the_bytes_decide() -> None:
    assert decode_html("<p>naïve".encode()).evidence == "content"
    assert decode_html("<p>naïve".encode("cp1252")).text == "<p>naïve"
    assert decode_html(b"<p>caf\xc3").text in ("<p>cafÃ", "<p>caf\ufffd")


def test_what_cannot_be_decoded_is_counted() -> None:
    read = decode_html("<p>é \ufffd ".encode() + b"\xff\xfe", "utf-8")
    assert read.replaced == 2
    assert read.text == "<p>é \ufffd \ufffd\ufffd"


def test_a_label_that_is_no_text_encoding_is_passed_over() -> None:
    for label in ("base64", "rot13", "utf-7", "punycode", "nonsense"):
        assert decode_html(b"<p>+AGE-</p>", label).text == "<p>+AGE-</p>"
