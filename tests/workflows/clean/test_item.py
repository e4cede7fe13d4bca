"""One document: what nothing changed keeps its bytes, what is rejected gives its input back."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.errors import DataError
from llmkit.formats.digest import content_id
from llmkit.text.rule import Verdict
from llmkit.workflows.clean.input import Entry
from llmkit.workflows.clean.item import HeadReader, Item, keep_line, reject_line

VERDICT = Verdict("gopher-quality.words", 3.0, 50)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def read(line: bytes, *, field: str = "text", takes_html: bool = False, **entry: Any) -> Item:
    return HeadReader(field, takes_html=takes_html).read(Entry(line, "a.jsonl", 7, **entry))


def test_what_nothing_changed_is_written_as_the_bytes_it_came_as() -> None:
    line = b'{ "id" : 1,"text":"caf\\u00e9", "n":1.50,"big":123456789012345678901234567890, "metadata":null}'
    assert keep_line(read(line), None) == line + b"\n"


@pytest.mark.parametrize(
    "line", [b'{"text":"a b","n":1.0}', b'{ "n":1.0, "text":"a b"}', b'{"text":"a b","id":null}']
)
def test_a_document_without_an_id_gets_the_digest_of_its_text(line: bytes) -> None:
    kept = msgspec.json.decode(keep_line(read(line), None), type=dict[str, msgspec.Raw])
    assert bytes(kept.pop("id")) == msgspec.json.encode(content_id("a b"))
    assert {name: bytes(value) for name, value in kept.items()}.items() >= {("text", b'"a b"')}
    assert keep_line(read(line), None).count(b'"id"') == 1


def test_a_changed_text_leaves_every_other_value_as_it_was_written() -> None:
    item = read(b'{"n":1.50,"text":"old","id":"x","metadata":{"v":1e5},"z":[1, 2]}')
    item.text, item.edits, item.facts["lang"] = "new", {"fix": 1}, "en"
    assert keep_line(item, {"stage": "clean", "edits": {"fix": 1}}) == (
        b'{"n":1.50,"text":"new","id":"x","metadata":{"v":1e5,"lang":"en",'
        b'"history":[{"stage":"clean","edits":{"fix":1}}]},"z":[1, 2]}\n'
    )


def test_history_is_added_to_and_tags_go_beside_other_attributes() -> None:
    item = read(b'{"id":"x","text":"t","metadata":{"history":[{"stage":"read"}]},"attributes":{"q":[0.50]}}')
    item.tags["clean"] = []
    assert keep_line(item, {"stage": "clean"}) == (
        b'{"id":"x","text":"t","metadata":{"history":[{"stage":"read"},{"stage":"clean"}]},'
        b'"attributes":{"q":[0.50],"clean":[]}}\n'
    )


def test_text_taken_out_of_html_stands_in_its_place() -> None:
    item = read(b'{"id":"x","html":"<p>a","source":"s"}', takes_html=True)
    assert item.html == "<p>a" and item.text is None
    item.text = "a"
    assert keep_line(item, None) == b'{"id":"x","text":"a","source":"s"}\n'


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"[1]", "not a JSON object"),
        (b'{"text":', "not a JSON object"),
        (b'{"id":"x"}', r'no "text" field \(found: id\)'),
        (b'{"text":3}', '"text": Expected `str`'),
        (b'{"html":"<p>"}', 'no "text" field'),
        (b'{"text":"\xff"}', "not UTF-8"),
        (b'{"id":"a","text":"x y","url":"\xff"}', r"not UTF-8 \(found byte 0xff at offset 30 of the line\)"),
        (b'{"id":"a","text":"x y","\xff":1}', "not UTF-8"),
    ],
)
def test_a_line_without_a_text_is_named_with_its_place(line: bytes, problem: str) -> None:
    with pytest.raises(DataError, match=rf"a\.jsonl:7: .*{problem}|a\.jsonl:7: {problem}"):
        read(line)


@pytest.mark.parametrize("key", ["metadata", "attributes"])
@pytest.mark.parametrize("was", [[1], '{"u":1}', 7, True])
def test_what_is_no_object_is_kept_beside_what_is_put_there(key: str, was: Any) -> None:
    item = read(json.dumps({"id": "x", "text": "t", key: was}).encode())
    assert json.loads(keep_line(item, None))[key] == was  # as long as there is nothing to put
    item.facts["a"] = item.tags["a"] = 1
    made = json.loads(keep_line(item, {"stage": "clean"}))
    assert made[key] == {
        "was": was,
        "a": 1,
        **({"history": [{"stage": "clean"}]} if key == "metadata" else {}),
    }
    assert made["attributes" if key == "metadata" else "metadata"]["a"] == 1


def test_an_edit_keeps_metadata_that_is_no_object_as_other_stages_do() -> None:
    item = read(b'{"id":"2","text":"t","metadata":"{\\"u\\":1}"}')
    item.text = "u"
    made = json.loads(keep_line(item, {"stage": "clean", "edits": {"pii email": 1}}))
    history = [{"stage": "clean", "edits": {"pii email": 1}}]
    assert made == {"id": "2", "text": "u", "metadata": {"was": '{"u":1}', "history": history}}


def test_a_record_of_html_alone_names_the_flag_that_reads_it() -> None:
    with pytest.raises(DataError, match='no "text" field, but html') as caught:
        read(b'{"html":"<p>a"}')
    assert caught.value.hint.startswith("--extract fast")


def test_another_field_is_the_text_and_html_or_id_may_be_it() -> None:
    assert read(b'{"content":"c","text":1}', field="content").text == "c"
    assert read(b'{"html":"<p>","id":3}', field="html", takes_html=True).text == "<p>"
    item = read(b'{"id":"words","text":"t"}', field="id")
    assert item.text == "words"


@given(st.dictionaries(st.text(max_size=6), JSON, max_size=4), st.text(), st.integers(0, 3))
def test_a_reject_without_its_reason_is_the_input(record: dict[str, Any], text: str, spaces: int) -> None:
    record = {**record, "text": text}
    record.pop("_reject", None)
    line = json.dumps(record, ensure_ascii=False, separators=("," + " " * spaces, ":")).encode()
    rejected = json.loads(reject_line(Entry(line, "a.jsonl", 7), VERDICT))
    why = rejected.pop("_reject")
    assert rejected == json.loads(line)
    assert why == {
        "stage": "clean",
        "rule": "gopher-quality.words",
        "value": 3.0,
        "threshold": 50,
        "file": "a.jsonl",
        "line": 7,
    }


def test_white_space_around_a_record_is_kept_or_out_of_the_way() -> None:
    line = b'  {"text":"t" } \r'
    assert json.loads(reject_line(Entry(line, "a", 1), VERDICT))["text"] == "t"
    assert json.loads(keep_line(read(line), None)) == {"id": content_id("t"), "text": "t"}
    line = b'  {"id":1,"text":"t" } \r'
    assert keep_line(read(line), None) == line + b"\n"


def test_a_document_rejected_before_has_the_new_reason_alone() -> None:
    line = b'{"text":"t","_reject":{"rule":"old"},"n":1}'
    rejected = reject_line(Entry(line, "a", 1), VERDICT)
    assert rejected.count(b"_reject") == 1
    assert json.loads(rejected)["_reject"]["rule"] == VERDICT.rule
    quoting = b'{"text":"say \\"_reject\\"","n":1}'  # only says the word
    assert json.loads(reject_line(Entry(quoting, "a", 1), VERDICT))["text"] == 'say "_reject"'
