"""The report and the plan as people read them."""

from types import SimpleNamespace
from typing import Any

from llmkit.commands.train_tokenizer.text import SOURCES_SHOWN, describe_plan, describe_report


def _piece(text: str | None, hex_bytes: str) -> SimpleNamespace:
    return SimpleNamespace(text=text, hex=hex_bytes)


def _source(name: str, size: int, ratio: float | None = 3.25) -> SimpleNamespace:
    return SimpleNamespace(source=name, documents=2, bytes=size, bytes_per_token=ratio)


def _report(**changes: Any) -> SimpleNamespace:
    fields: dict[str, Any] = {
        **{"type": "bpe", "vocab_size": 1024, "out": "tok", "special_tokens": ["<s>", "</s>"]},
        **{"documents": 1, "text_bytes": 2048, "trained_bytes": 2048, "is_sample": False},
        **{"bytes_per_token": 3.14159, "unused_tokens": 1, "bad_lines": 0, "seconds": 1.25},
        **{"peak_memory_bytes": 3 << 20, "sources": [_source("a.txt", 2048)], "valid": []},
        "longest": [
            _piece(" the", "20746865"),
            _piece("-" * 80, "2d" * 80),
            _piece(None, "e69d"),
            _piece("a\n\x1b", "610a1b"),
        ],
    }
    return SimpleNamespace(**fields | changes)


def test_a_report_of_one_source_is_one_table() -> None:
    assert describe_report(_report()).splitlines() == [
        "tokenizer    bpe, 1,024 ids (tok)",
        "special      <s> </s>",
        "text         1 document, 2.0 KiB",
        "bytes/token  3.142",
        "unused       1 piece that the text never turns into",
        "longest      ' the'  '-' x 80  0xe69d  'a\\n\\x1b'",
        "took         1.2 s, 3.0 MiB of memory",
    ]


def test_sources_and_held_out_text_are_a_second_table() -> None:
    sources = [_source("books", 2048), _source("\x1b[31mweb", 10, None)]
    text = describe_report(_report(sources=sources, valid=[_source("v.txt", 5)], bad_lines=2))
    assert "bad          2 lines passed over" in text
    assert text.split("\n\n")[1].splitlines() == [
        "bytes/token  documents    bytes  source",
        "      3.250          2  2.0 KiB  books",
        "          -          2     10 B  \\x1b[31mweb",
        "      3.250          2      5 B  v.txt (held out)",
    ]


def test_many_sources_are_cut_short() -> None:
    sources = [_source(f"s{number}", 10) for number in range(SOURCES_SHOWN + 5)]
    lines = describe_report(_report(sources=sources)).splitlines()
    assert lines[-1].strip() == "and 5 more"


def test_a_sample_is_said() -> None:
    text = describe_report(_report(is_sample=True, trained_bytes=1024, special_tokens=[]))
    assert "text         1 document, 2.0 KiB, a sample of 1.0 KiB trained on" in text
    assert "special      none" in text


def _plan(**changes: Any) -> SimpleNamespace:
    fields: dict[str, Any] = {
        **{"inputs": ["a", "b"], "input_bytes": 4096, "out": "tok", "type": "unigram", "vocab_size": 500},
        **{"pattern": "gpt4", "special_tokens": [], "is_sample": False, "about_text_bytes": 4096},
        **{"about_memory_bytes": 1 << 20, "memory_available_bytes": 1 << 30, "about_seconds": 90.0},
        **{"disk_bytes": 1 << 20, "disk_free_bytes": 1 << 30},
    }
    return SimpleNamespace(**fields | changes)


def test_a_plan_is_a_table() -> None:
    assert describe_plan(_plan()).splitlines() == [
        "inputs     2 files (4.0 KiB)",
        "trains on  all of it, about 4.0 KiB",
        "tokenizer  unigram, at most 500 ids, pattern gpt4",
        "special    none",
        "memory     about 1.0 MiB of 1.0 GiB free",
        "disk       about 1.0 MiB of 1.0 GiB free",
        "time       about 1 m 30 s",
        "writes     tok",
    ]


def test_what_cannot_be_known_before_is_said_so() -> None:
    text = describe_plan(_plan(input_bytes=None, is_sample=None, memory_available_bytes=None))
    assert "(stdin)" in text and "at most 4.0 KiB" in text and "memory     about 1.0 MiB\n" in text
    assert "a sample of 4.0 KiB" in describe_plan(_plan(is_sample=True))
