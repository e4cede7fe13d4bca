"""A document's way in words."""

from llmkit.commands.show.trace_text import trace_text
from llmkit.workflows.show.rows import Place, TraceReport
from llmkit.workflows.show.trace import Sighting

ROWS = TraceReport(
    path="shards",
    id="a",
    document=3,
    tokens=62,
    lost_tokens=0,
    places=[Place(row=5, shard="s.zst", start=3, offset=0, length=62)],
    source="web",
    license="MIT",
)


def test_each_path_has_a_heading_and_each_stage_a_line() -> None:
    history = [{"stage": "clean", "edits": {"nfc": 1, "mojibake": 2}}, {"stage": "mix", "source": "web"}]
    found = [
        Sighting(
            **{"schema": "s", "path": "mixed", "file": "mixed/part-0", "line": 7, "id": "a"},
            **{"relation": "itself", "source": "web", "text_bytes": 2048, "text_sha256": "0123456789abcdef"},
            history=history,
        ),
        Sighting(
            **{
                "schema": "s",
                "path": "dups",
                "file": "dups",
                "line": 1,
                "id": "b\x1b",
                "relation": "duplicate",
            },
            reject={"stage": "dedup", "rule": "near", "similarity": 0.87654321, "file": "f", "line": 2},
        ),
        ROWS,
    ]
    assert trace_text(found).splitlines() == [
        "mixed",
        "  'a' at mixed/part-0:7: 2.0 KiB, sha256 0123456789ab, source web, licence unknown",
        "    clean: edits nfc 1 mojibake 2",
        "    mix: source web",
        "",
        "dups",
        "  dropped for it: 'b\\x1b' at dups:1: licence unknown",
        "    rejected by dedup: rule near, similarity 0.8765",
        "",
        "shards",
        "  document 3 'a': 62 tokens, source web, licence MIT",
        "    row 5  ids 3 to 64  tokens 0 to 61  s.zst",
    ]


def test_rows_of_one_folder_have_no_heading() -> None:
    assert trace_text([ROWS]).startswith("document 3 'a'")
