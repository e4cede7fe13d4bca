"""Shards, rows and traces for people."""

from llmkit.commands.show.shards_text import row_text, shards_text, trace_text, verified_text
from llmkit.formats.shards import ShardEntry
from llmkit.workflows.show.rows import Place, RowReport, Segment, TraceReport
from llmkit.workflows.show.shards import ShardsReport


def report(**fields: object) -> ShardsReport:
    settings: dict[str, object] = {
        **{"kind": "shards", "path": "rows", "rows": 200, "seq_len": 63, "tokens": 12_000},
        **{"padding_tokens": 800, "documents": 31, "vocab_size": 600, "dtype": "u2", "boundary": "eos"},
        **{"strategy": "best-fit", "long": "split", "seed": 7, "tokenizer_sha256": "ab" * 32},
        **{"special_ids": {"eos": 599}, "text_bytes": 36_000, "bytes_per_token": 3.0, "size_bytes": 12_800},
        **{"raw_bytes": 25_600, "frames": 1, "shards": [], "made_by": "llmkit pack docs.jsonl"},
    }
    return ShardsReport(**settings | fields)  # type: ignore[arg-type]


def test_a_folder_is_told_in_lines_that_fit() -> None:
    text = shards_text(report(), width=80)
    assert text.splitlines()[0] == "rows: shards"
    assert "200 of 64 ids, shuffled by seed 7" in text
    assert "12,000, and 6.25% padding" in text  # 800 / 12,800
    assert "35.2 KiB, 3.00 bytes a token" in text and "50% of the ids as they are" in text
    assert all(len(line) <= 80 for line in text.splitlines())


def test_what_is_not_known_is_left_out() -> None:
    text = shards_text(report(text_bytes=None, tokenizer_sha256=None, seed=None, made_by=None), width=80)
    assert "bytes a token" not in text and "made by" not in text
    assert "tokenizer   not known" in text and "in the order of their documents" in text


def test_many_shards_are_a_table_cut_short() -> None:
    entries = [ShardEntry(f"shard-{n:05d}.tok.zst", 10, 640, 2048, "s") for n in range(20)]
    lines = shards_text(report(shards=entries), width=80).splitlines()
    assert lines[-1] == "  and 8 more"
    assert lines[-2].split() == ["shard-00011.tok.zst", "10", "640", "2.0", "KiB"]


def test_sound_shards_are_one_line() -> None:
    entries = [ShardEntry("s", 200, 12_000, 2048, "s")]
    assert verified_text(report(shards=entries)) == "rows: sound: 1 shard, 1 frame, 200 rows, 12,000 tokens"


def test_a_row_shows_ids_or_text_and_how_much_is_learnt() -> None:
    segments = [
        Segment(document=3, id="a", offset=64, start=0, tokens=list(range(17)), loss_tokens=5),
        Segment(document=4, id="b", offset=0, start=17, tokens=[1], loss_tokens=1, text="hello"),
    ]
    text = row_text(RowReport(path="rows", row=2, shard="s.zst", padding_tokens=1, segments=segments))
    assert text.splitlines() == [
        "row 2 of rows (s.zst)",
        "",
        "-- document 3 'a' from token 64, 17 tokens, 5 of them with loss",
        "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15",
        "16",
        "",
        "-- document 4 'b', 1 token",
        "hello",
        "",
        "1 id of padding",
    ]


def test_a_trace_is_a_line_for_each_place() -> None:
    places = [
        Place(row=5, shard="s.zst", start=3, offset=0, length=61),
        Place(row=9, shard="s.zst", start=0, offset=61, length=1),
    ]
    text = trace_text([TraceReport(path="rows", id="a", document=3, tokens=62, lost_tokens=8, places=places)])
    assert text.splitlines() == [
        "document 3 'a': 62 tokens, 8 more lost",
        "  row 5  ids 3 to 63  tokens 0 to 60   s.zst",
        "  row 9  ids 0 to 0   tokens 61 to 61  s.zst",
    ]
