"""History goes into a record's metadata and leaves everything else as it was written."""

import json

import msgspec
import pytest

from llmkit.formats.jsonl import Record, encode_line, parse_line
from llmkit.text.history import (
    history_of,
    licence_of,
    licences_of,
    origin_of,
    roomy_object_at,
    with_history,
    with_latest,
)


def record(text: str) -> Record:
    return parse_line(text.encode(), "f", 1).record


def test_an_entry_is_added_last_and_numbers_stay_as_written() -> None:
    before = record('{"id":"a","n":1.0,"metadata":{"license":"MIT","x":1e3},"text":"t"}')
    after = with_history(with_history(before, "clean", edits={"nfc": 1}), "mix", source="web")
    assert encode_line(after).decode() == (
        '{"id":"a","n":1.0,"metadata":{"license":"MIT","x":1e3,"history":'
        '[{"stage":"clean","edits":{"nfc":1}},{"stage":"mix","source":"web"}]},"text":"t"}\n'
    )
    assert history_of(before) == [] and licence_of(before) == licence_of(after) == "MIT"
    assert history_of(with_latest(after, epoch=2))[1] == {"stage": "mix", "source": "web", "epoch": 2}
    assert history_of(with_latest(after, epoch=2))[0] == history_of(after)[0]


def test_what_is_no_object_or_no_list_is_kept() -> None:
    for metadata, was in (("null", None), ('"words"', "words"), ("[1]", [1])):
        made = with_history(record(f'{{"metadata":{metadata}}}'), "mix")
        found = json.loads(msgspec.json.encode(made))["metadata"]
        assert found.get("was") == was and found["history"] == [{"stage": "mix"}]
    assert history_of(with_history(record('{"metadata":{"history":"by hand"}}'), "s")) == [
        "by hand",
        {"stage": "s"},
    ]
    assert licence_of(record('{"text":"x"}')) is None and licence_of(record('{"metadata":7}')) is None


def test_an_object_stays_itself_and_anything_else_goes_into_one() -> None:
    made = {key: roomy_object_at(record('{"a":{"b":1.0},"c":null,"d":"x"}'), key) for key in "acde"}
    assert {key: encode_line(value) for key, value in made.items()} == {
        "a": b'{"b":1.0}\n',
        "c": b"{}\n",
        "d": b'{"was":"x"}\n',
        "e": b"{}\n",
    }


@pytest.mark.parametrize(
    ("text", "names", "joined"),
    [
        ('{"metadata":{"license":["MIT"]}}', ("MIT",), "MIT"),
        (
            '{"metadata":{"licenses":["MIT OR Zlib","GPL-3.0","MIT OR Zlib",7,""]}}',
            ("MIT OR Zlib", "GPL-3.0"),
            "(MIT OR Zlib) AND GPL-3.0",
        ),
        ('{"license":"MIT"}', ("MIT",), "MIT"),
        ('{"licence":"Zlib","metadata":{"license":"MIT"}}', ("MIT", "Zlib"), "MIT AND Zlib"),
        ('{"licenses":["MIT"],"metadata":7}', ("MIT",), "MIT"),
        ('{"license":null,"licenses":[],"licence":{"name":"MIT"}}', (), None),
    ],
)
def test_a_licence_is_declared_by_name_or_list_in_the_record_or_its_metadata(
    text: str, names: tuple[str, ...], joined: str | None
) -> None:
    assert licences_of(record(text)) == names and licence_of(record(text)) == joined
    assert origin_of(record(text)).get("license") == joined


def test_an_origin_is_what_is_known_of_it() -> None:
    assert origin_of(record('{"id":"a","source":7,"metadata":[1]}')) == {}
    assert origin_of(record('{"source":"web"}')) == {"source": "web"}
    mixed = (
        '{"metadata":{"license":"MIT","history":["x",{"stage":"mix","epoch":2},{"stage":"mix","epoch":3}]}}'
    )
    assert origin_of(record(mixed)) == {"license": "MIT", "epoch": 3}
