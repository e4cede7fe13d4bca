import json
from pathlib import Path

import pytest
from msgspec import Raw

from llmkit.errors import DataError
from llmkit.formats.jsonl import (
    BadLine,
    Line,
    decode_all,
    decode_field,
    decode_text,
    decode_value,
    encode_line,
    parse_line,
    raw,
    read_records,
    record_id,
    with_id,
)

ODD = (
    '{"z": 1.50, "a": "\\u00e9\\/", "n": 12345678901234567890123, "e": 1E+2, "deep": {"b":[1 ,2]}, "text":""}'
)


def _write(folder: Path, *lines: str) -> Path:
    path = folder / "in.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_values_that_nobody_asked_for_pass_through_byte_for_byte(tmp_path: Path) -> None:
    (line,) = read_records(_write(tmp_path, ODD))
    line.record["text"] = raw("y")
    out = encode_line(line.record).decode()
    for piece in (
        '"z":1.50',
        '"\\u00e9\\/"',
        "12345678901234567890123",
        "1E+2",
        '{"b":[1 ,2]}',
        '"text":"y"',
    ):
        assert piece in out
    assert list(json.loads(out)) == list(json.loads(ODD))


def test_blank_lines_are_passed_over_and_numbers_still_count_them(tmp_path: Path) -> None:
    lines = list(read_records(_write(tmp_path, '{"a":1}', "", "  ", '{"a":2}')))
    assert [line.number for line in lines] == [1, 4]
    assert lines[1].where == f"{tmp_path}/in.jsonl:4"


@pytest.mark.parametrize("bad", ['{"a":', "[1]", "3", "null", '{"a":1}{"b":2}', "{'a':1}", '{"a":NaN}'])
def test_a_line_that_is_no_object_is_named_by_file_and_line(tmp_path: Path, bad: str) -> None:
    path = _write(tmp_path, '{"a":1}', bad)
    with pytest.raises(DataError, match=r"in\.jsonl:2: not a JSON object") as caught:
        list(read_records(path))
    assert "--skip-bad" in caught.value.hint
    seen: list[BadLine] = []
    assert len(list(read_records(path, on_bad=seen.append))) == 1
    assert seen[0].content.decode().strip() == bad and seen[0].number == 2


@pytest.mark.parametrize(
    "bad", [b'{"a": "\xff"}', b'{"n": 1, "b": ["x", "\xc3("]}', b'{"\xe9": 1}', b'[{"role": "\xff"}]']
)
def test_bytes_that_are_no_utf_8_are_a_bad_line_whether_or_not_anybody_asks_for_them(
    tmp_path: Path, bad: bytes
) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes('{"a": "é"}\n'.encode() + bad + b"\n")
    offset = next(place for place in range(len(bad)) if bad[place] > 127)
    what = rf"in\.jsonl:2: not UTF-8 \(found byte 0x{bad[offset]:02x} at offset {offset} of the line\)"
    with pytest.raises(DataError, match=what) as caught:
        list(read_records(path, array_key="messages"))
    assert caught.value.hint == f"iconv -f latin1 -t utf-8 {path}, or pass over bad lines with --skip-bad"
    seen: list[BadLine] = []
    assert len(list(read_records(path, on_bad=seen.append))) == 1
    assert seen[0].content == bad + b"\n" and seen[0].problem.startswith("not UTF-8")


def test_what_is_known_to_be_utf_8_is_not_looked_at_twice() -> None:
    assert parse_line(b'{"a": "\xff"}', "f", 1, is_utf_8=True).record.keys() == {"a"}


def test_a_missing_or_wrong_field_says_what_was_found(tmp_path: Path) -> None:
    (line,) = read_records(_write(tmp_path, '{"id": 7, "body": [1, 2]}'))
    with pytest.raises(DataError, match=r'no "text" field \(found: id, body\)'):
        decode_field(line, "text", str)
    with pytest.raises(DataError, match='"body"'):
        decode_field(line, "body", str)
    assert decode_field(line, "body", list[int]) == [1, 2]


def test_of_a_record_without_text_the_longest_string_is_named(tmp_path: Path) -> None:
    rows = [
        '{"id":"a long name","url":"u","content":"a text"}',
        '{"id":"a","n":1}',
        '{"text":1,"content":"c"}',
    ]
    named, bare, wrong = read_records(_write(tmp_path, *rows))
    with pytest.raises(DataError, match=r'no "text" field \(found: id, url, content\)') as caught:
        decode_text(named, "text")
    assert "--field content, or jq -c '.text = .content'" in caught.value.hint
    assert decode_text(named, "content") == "a text"
    with pytest.raises(DataError) as caught:
        decode_text(bare, "text")
    assert caught.value.hint == "every line needs 'text'"
    with pytest.raises(DataError, match="Expected `str`, got `int`") as caught:
        decode_text(wrong, "text")
    assert caught.value.hint.endswith(": mend the line, or pass over bad lines with --skip-bad")


@pytest.mark.parametrize(
    ("value", "cause"),
    [
        (float("nan"), "JSON has no NaN"),
        ([1, float("-inf")], "JSON has no -Infinity"),
        ({"a": "x\ud83dy"}, r"\ud83d is half of a surrogate pair, and no character"),
        ({"\udc00": 1}, r"\udc00 is half of a surrogate pair, and no character"),
    ],
)
def test_what_python_writes_and_is_no_json_is_told_by_name(value: object, cause: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_line(json.dumps({"text": "é \U0001f600", "v": value}).encode(), "f", 1)
    assert caught.value.problem.startswith(f"f:1: not a JSON object: {cause} (found: ")


def test_a_line_that_is_cut_short_within_a_surrogate_pair_is_called_so() -> None:
    with pytest.raises(DataError, match="truncated"):
        parse_line(rb'{"a": "\ud83d', "f", 1)


def test_an_id_may_be_text_or_a_number() -> None:
    assert record_id(Line({"id": raw("é")}, "f", 1)) == "é"
    assert record_id(Line({"id": raw(7)}, "f", 1)) == "7"
    assert record_id(Line({}, "f", 1)) is None
    assert record_id(Line({"id": raw(None)}, "f", 1)) is None
    with pytest.raises(DataError, match='f:1: "id"'):
        record_id(Line({"id": Raw(b'["\xff"]')}, "f", 1))


DEEP = b"[" * 20_000 + b"]" * 20_000


def test_a_value_that_is_nested_too_deeply_makes_a_bad_line(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'{"text": "x", "m": ' + DEEP + b'}\n{"text": "y"}\n')
    with pytest.raises(DataError, match=r"in\.jsonl:1: not a JSON object: nested too deeply"):
        list(read_records(path))
    seen: list[BadLine] = []
    assert [line.number for line in read_records(path, on_bad=seen.append)] == [2]
    assert seen[0].number == 1 and seen[0].problem.startswith("not a JSON object: nested too deeply")


@pytest.mark.parametrize(("value", "what"), [(DEEP, "nested too deeply"), (b'"\xff"', "utf-8")])
def test_a_value_that_cannot_be_decoded_is_an_error_of_the_data(value: bytes, what: str) -> None:
    line = Line({"text": raw("x"), "m": Raw(value)}, "f", 7)
    with pytest.raises(DataError, match=f'f:7: "m": .*{what}'):
        decode_field(line, "m", object)
    with pytest.raises(DataError, match=f"f:7: .*{what}"):
        decode_all(line)
    with pytest.raises(DataError, match=what):
        decode_value(line.record["m"])
    assert decode_value(b"[1]") == [1] and decode_all(Line({"a": raw(1)}, "f", 1)) == {"a": 1}


def test_a_byte_order_mark_before_the_first_record_is_no_part_of_it(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\n\xef\xbb\xbf{"a": 2}\n')
    seen: list[BadLine] = []
    (line,) = read_records(path, on_bad=seen.append)
    assert list(line.record) == ["a"]
    assert [bad.number for bad in seen] == [2]  # only a file begins with one


def test_nan_is_written_as_null() -> None:
    assert encode_line({"loss": float("nan"), "x": 1.5}) == b'{"loss":null,"x":1.5}\n'


def test_a_line_that_is_an_array_is_a_record_only_where_a_key_is_named(tmp_path: Path) -> None:
    path = _write(tmp_path, ' [{"b": 1.50}, {}] ', '{"a":1}')
    first, second = read_records(path, array_key="messages")
    assert (bytes(first.record["messages"]), first.number) == (b'[{"b": 1.50}, {}]', 1)
    assert list(second.record) == ["a"]
    with pytest.raises(DataError, match="not a JSON object"):
        list(read_records(path))
    for bad in ('[{"b": 1}, ', "[1]"):
        with pytest.raises(DataError, match="not a JSON object"):
            list(read_records(_write(tmp_path, bad), array_key="messages"))


@pytest.mark.parametrize("text", ['{"text":"a"}', '{"text":"a","id":null}', '{"id":null,"text":"a"}'])
def test_an_id_is_put_first_where_there_is_none(text: str) -> None:
    assert encode_line(with_id(parse_line(text.encode(), "f", 1).record, "x")) == b'{"id":"x","text":"a"}\n'


@pytest.mark.parametrize("text", ['{"text":"a","id":7}', '{"id":"","text":"a"}'])
def test_an_id_stays_where_and_as_it_is(text: str) -> None:
    assert encode_line(with_id(parse_line(text.encode(), "f", 1).record, "x")).decode() == text + "\n"
