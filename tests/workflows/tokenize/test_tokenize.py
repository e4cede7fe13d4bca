"""llmkit tokenize through its workflow: every mode, checked against the tokenizers library itself."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import zstandard
from tokenizers import Tokenizer

from llmkit.errors import DataError, GateFailed, MissingError, UsageError
from llmkit.tokens.config import TokenizeConfig
from llmkit.workflows.tokenize.tokenize import TokenizeReport, TokenizeSources, plan_tokenize, tokenize_files

RECORDS = (
    b'{"id": "a", "text": "the License grants", "source": "x", "metadata": {"lang": "en"}, "n": 1.50}\n'
    b'{"id": 2, "text": "die Lizenz, \xc3\xbcberall", "source": "y", "metadata": {"lang": "de"}}\n'
    b'{"messages": [{"role": "user", "content": "hi"}], "id": "c"}\n'
)
TEXT = "Grüße <|endoftext|>\n\n日本語 🙂 end\n"


class Bench:
    """A folder with inputs, and a way to run the workflow into a file of it."""

    def __init__(self, folder: Path, tokenizer: Path) -> None:
        self.folder = folder
        self.tokenizer = tokenizer
        self.backend = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
        self.plain = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
        self.plain.encode_special_tokens = True
        self.report: TokenizeReport | None = None
        (folder / "docs.jsonl").write_bytes(RECORDS)
        (folder / "text.txt").write_text(TEXT)
        (folder / "empty.jsonl").write_bytes(b"")

    def run(self, *names: str, sources: dict[str, Any] | None = None, **config: Any) -> bytes:
        out = self.folder / "out.bin"
        settings = {"out": out, "force": True, **(sources or {})}
        request = TokenizeSources(
            tokenizer=self.tokenizer, inputs=[self.folder / name for name in names], **settings
        )
        self.report = tokenize_files(request, TokenizeConfig(**config))
        return out.read_bytes()

    def lines(self, *names: str, **settings: Any) -> list[Any]:
        return [msgspec.json.decode(line) for line in self.run(*names, **settings).splitlines()]


@pytest.fixture
def bench(tmp_path: Path, byte_level_dir: Path) -> Bench:
    return Bench(tmp_path, byte_level_dir)


def test_counts_are_those_of_the_library_file_by_file_with_a_total(bench: Bench) -> None:
    rows = [line.split() for line in bench.run("text.txt", "docs.jsonl", "empty.jsonl").decode().splitlines()]
    text = len(bench.plain.encode(TEXT))
    texts = [len(bench.plain.encode(part)) for part in ("the License grants", "die Lizenz, überall")]
    chat = len(bench.backend.encode("<|im_start|>user\nhi<|im_end|>\n"))
    assert [int(row[0]) for row in rows] == [text, sum(texts) + chat, 0, text + sum(texts) + chat]
    assert int(rows[0][1]) == len(TEXT.encode())
    assert [Path(row[2]).name for row in rows] == ["text.txt", "docs.jsonl", "empty.jsonl", "total"]


def test_the_same_file_twice_has_two_rows(bench: Bench) -> None:
    assert len(bench.run("text.txt", "text.txt", row_format="tsv").splitlines()) == 2
    assert len(bench.run("docs.jsonl", "docs.jsonl", row_format="tsv").splitlines()) == 2


def test_json_has_a_schema_and_a_total(bench: Bench) -> None:
    report = msgspec.json.decode(bench.run("text.txt", "docs.jsonl", row_format="json", prices=(2.0,)))
    assert report["schema"] == "llmkit.tokenize/1"
    assert report["total"]["tokens"] == sum(row["tokens"] for row in report["rows"])
    assert report["total"]["cost"] == report["total"]["tokens"] * 2.0 / 1e6


def test_per_record_names_the_line(bench: Bench) -> None:
    rows = bench.lines("docs.jsonl", row_format="jsonl", per_record=True)
    assert [(row["id"], row["line"]) for row in rows] == [("a", 1), ("2", 2), ("c", 3)]


def test_the_gate_names_each_document_over_it_after_writing_all_rows(bench: Bench) -> None:
    with pytest.raises(GateFailed, match=r"1 of 4 documents are over 20 tokens: .*text.txt \("):
        bench.run("docs.jsonl", "text.txt", row_format="tsv", max_tokens=20)
    rows = [line.split(b"\t") for line in (bench.folder / "out.bin").read_bytes().splitlines()]
    over = len(bench.plain.encode(TEXT)) - 20
    assert [int(row[2]) for row in rows] == [0, over]


def test_ids_and_raw_are_the_librarys_ids(bench: Bench) -> None:
    ids = bench.plain.encode(TEXT).ids
    assert bench.run("text.txt", mode="ids") == " ".join(map(str, ids)).encode() + b"\n"
    assert np.frombuffer(bench.run("text.txt", mode="raw"), "<u2").tolist() == ids
    assert np.frombuffer(bench.run("text.txt", mode="raw", raw_type="u4"), "<u4").tolist() == ids
    assert bench.lines("text.txt", mode="ids", row_format="jsonl")[0]["tokens"] == ids


def test_pieces_are_the_librarys(bench: Bench) -> None:
    pieces = bench.plain.encode(TEXT).tokens
    assert bench.run("text.txt", mode="pieces").decode() == " ".join(pieces) + "\n"
    rows = [
        line.split("\t")
        for line in bench.run("text.txt", mode="pieces", row_format="tsv").decode().splitlines()
    ]
    assert [msgspec.json.decode(row[3]) for row in rows] == pieces


def test_offsets_point_into_the_text(bench: Bench) -> None:
    (record,) = bench.lines("text.txt", mode="offsets", row_format="jsonl", bos=True)
    content = TEXT.encode()
    assert b"".join(content[start:end] for start, end in record["byte_offsets"]) == content
    rows = [line.split("\t") for line in bench.run("text.txt", mode="offsets").decode().splitlines()]
    for _, _, _, start, end, text in rows:
        assert TEXT[int(start) : int(end)] == msgspec.json.decode(text)


def test_token_jsonl_passes_all_other_fields_through_byte_for_byte(bench: Bench) -> None:
    first, second, third = bench.run("docs.jsonl", mode="jsonl", eos=True).splitlines()
    eos = bench.backend.token_to_id("<|endoftext|>")
    ids = bench.plain.encode("the License grants").ids
    head = b'{"id":"a","source":"x","metadata":{"lang": "en"},"n":1.50,"tokens":'
    assert first == head + msgspec.json.encode([*ids, eos]) + b"}"
    assert b'"id":2,' in second
    assert msgspec.json.decode(third).keys() == {"id", "tokens"}


def test_keep_text_keeps_it(bench: Bench) -> None:
    records = bench.lines("docs.jsonl", "text.txt", mode="jsonl", keep_text=True)
    assert records[0]["text"] == "the License grants"
    assert records[2]["messages"] == [{"role": "user", "content": "hi"}]
    assert records[3]["text"] == TEXT


def test_decode_gives_back_the_exact_text(bench: Bench) -> None:
    for mode in ("ids", "jsonl"):
        encoded = bench.run("text.txt", mode=mode)
        (bench.folder / f"{mode}.jsonl").write_bytes(encoded)
    assert bench.run("ids.jsonl", mode="decode").decode() == TEXT
    assert bench.run("jsonl.jsonl", mode="decode", row_format="text").decode() == TEXT
    assert bench.lines("jsonl.jsonl", mode="decode")[0]["text"] == TEXT
    (bench.folder / "raw.bin").write_bytes(bench.run("text.txt", mode="raw"))
    assert bench.run("raw.bin", mode="decode", sources={"raw_input": True}).decode() == TEXT


def test_ids_that_end_inside_a_character_come_out_as_bytes_or_are_reported(bench: Bench) -> None:
    ids = [bench.backend.token_to_id(piece) for piece in ("A", "ð")]
    (bench.folder / "cut.txt").write_text(" ".join(map(str, ids)))
    assert bench.run("cut.txt", mode="decode") == b"A\xf0"
    with pytest.raises(DataError, match="stop inside a character"):
        bench.run("cut.txt", mode="decode", row_format="jsonl")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("1 x", "not ids"),
        ("99999", "no token 99999"),
        ('{"text": "a"}', 'no "tokens"'),
        ("[1, true]", "not ids"),
    ],
)
def test_lines_that_are_no_ids_are_named(bench: Bench, line: str, problem: str) -> None:
    (bench.folder / "bad.txt").write_text(f"1 2\n{line}\n")
    with pytest.raises(DataError, match=f"bad.txt:2: {problem}"):
        bench.run("bad.txt", mode="decode")


def test_truncated_documents_come_out_as_they_came_in(bench: Bench) -> None:
    assert TEXT.startswith(bench.run("text.txt", mode="truncate", limit=5).decode())
    records = bench.lines("docs.jsonl", mode="truncate", limit=3)
    assert records[0]["n"] == 1.5
    assert "the License grants".startswith(records[0]["text"])
    for record in records:
        assert len(bench.backend.encode(record["text"])) <= 3
    tail = bench.run("text.txt", mode="truncate", limit=6, keep="tail", bos=True).decode()
    assert TEXT.endswith(tail)
    assert 1 <= len(bench.plain.encode(tail)) <= 5


def test_chunks_name_their_parent_and_cover_it(bench: Bench) -> None:
    records = bench.lines("docs.jsonl", "text.txt", mode="chunk", limit=4)
    second = [record for record in records if record["parent"] == 2]
    assert [record["id"] for record in second] == [f"2#{number}" for number in range(len(second))]
    assert "".join(record["text"] for record in second) == "die Lizenz, überall"
    assert all(record["source"] == "y" for record in second)
    for record in records:
        assert len(bench.backend.encode(record["text"])) == record["num_tokens"] <= 4
    overlapping = bench.lines("text.txt", mode="chunk", limit=6, overlap=3)
    assert all(a["chars"][1] > b["chars"][0] for a, b in pairwise(overlapping))


def test_a_byte_level_tokenizer_passes_the_check(bench: Bench) -> None:
    assert bench.run("text.txt", "docs.jsonl", mode="check") == b""


def test_the_check_names_the_first_differing_byte(bench: Bench, shared_data: Path) -> None:
    bench.tokenizer = shared_data / "tokenizers" / "t5-small"
    (bench.folder / "spaces.txt").write_text("a  b")
    with pytest.raises(GateFailed, match=r"1 of 1 documents are not what decoding gives back: .*byte 2"):
        bench.run("spaces.txt", mode="check", row_format="jsonl")
    row = msgspec.json.decode((bench.folder / "out.bin").read_bytes())
    assert (row["byte"], row["expected"], row["found"]) == (2, " b", "b")


def test_compare_gives_each_groups_figures_for_each_tokenizer(bench: Bench, shared_data: Path) -> None:
    gpt2 = shared_data / "tokenizers" / "gpt2"
    rows = bench.lines(
        "docs.jsonl",
        mode="compare",
        by="metadata.lang",
        row_format="jsonl",
        prices=(1.0, 3.0),
        sources={"compare": [gpt2]},
    )
    assert [(row["group"], row["tokenizer"]) for row in rows[:4]] == [
        ("en", "tok"), ("en", "gpt2"), ("de", "tok"), ("de", "gpt2"),
    ]  # fmt: skip
    library = Tokenizer.from_file(str(gpt2 / "tokenizer.json"))
    german = rows[3]
    assert german["tokens"] == len(library.encode("die Lizenz, überall"))
    assert german["bytes_per_token"] == pytest.approx(20 / german["tokens"])
    assert german["tokens_per_word"] == pytest.approx(german["tokens"] / 3)
    assert german["cost"] == pytest.approx(german["tokens"] * 3.0 / 1e6)
    assert german["ratio"] == pytest.approx(german["tokens"] / rows[2]["tokens"])


def test_compare_shows_a_table_with_a_total(bench: Bench) -> None:
    table = bench.run("docs.jsonl", "text.txt", mode="compare", sources={"compare": [bench.tokenizer]})
    lines = table.decode().splitlines()
    assert lines[0].split()[:4] == ["group", "tokenizer", "tokens", "bytes"]
    assert len(lines) == 1 + 2 * 2 + 2
    assert lines[-1].startswith("total")


def test_a_wrong_number_of_prices_is_refused(bench: Bench) -> None:
    with pytest.raises(UsageError, match="3 prices for 2 tokenizers"):
        bench.run("text.txt", mode="compare", prices=(1, 2, 3), sources={"compare": [bench.tokenizer]})


def test_a_chat_with_the_opening_of_the_answer_is_longer(bench: Bench) -> None:
    (record,) = bench.lines("docs.jsonl", mode="ids", row_format="jsonl", generation_prompt=True)[2:]
    assert bench.backend.decode(record["tokens"], skip_special_tokens=False).endswith(
        "<|im_start|>assistant\n"
    )


def test_the_field_can_be_named(bench: Bench) -> None:
    (bench.folder / "body.jsonl").write_text('{"body": "hello", "text": 5}\n')
    assert bench.lines("body.jsonl", mode="jsonl", field="body")[0].keys() == {"id", "text", "tokens"}


def test_allow_special_makes_them_tokens(bench: Bench) -> None:
    special = bench.backend.token_to_id("<|endoftext|>")
    (safe,) = bench.lines("text.txt", mode="ids", row_format="jsonl")
    (open_,) = bench.lines("text.txt", mode="ids", row_format="jsonl", allow_special=True)
    assert special not in safe["tokens"]
    assert open_["tokens"] == bench.backend.encode(TEXT).ids


def test_compressed_and_listed_inputs_are_read(bench: Bench) -> None:
    (bench.folder / "c.txt.zst").write_bytes(zstandard.ZstdCompressor().compress(TEXT.encode()))
    listing = bench.folder / "list"
    listing.write_bytes(b"".join(bytes(bench.folder / name) + b"\0" for name in ("c.txt.zst", "text.txt")))
    rows = bench.run(row_format="tsv", sources={"files0_from": listing}).splitlines()
    assert rows[0].split(b"\t")[:2] == rows[1].split(b"\t")[:2]
    listing.write_bytes(bytes(bench.folder / "text.txt") + b"\n")
    assert len(bench.run(row_format="tsv", sources={"files_from": listing}).splitlines()) == 1
    listing.write_bytes(b"no-such-file\n")
    with pytest.raises(MissingError, match="no-such-file"):
        bench.run(sources={"files_from": listing})


def test_bad_lines_are_counted_and_kept(bench: Bench) -> None:
    (bench.folder / "bad.jsonl").write_bytes(b'{"text": "a"}\nnope\n{"n": 1}\n')
    (bench.folder / "latin1.txt").write_bytes(b"gr\xfc\xdfe")
    rejects = bench.folder / "rejects.jsonl"
    bench.run("bad.jsonl", "latin1.txt", sources={"rejects": rejects})
    assert bench.report is not None
    assert (bench.report.documents, bench.report.bad_lines) == (1, 3)
    assert len(rejects.read_bytes().splitlines()) == 3
    with pytest.raises(DataError, match=r"latin1.txt:1: not UTF-8"):
        bench.run("latin1.txt")


def test_the_view_marks_tokens_and_lets_no_escape_through(bench: Bench) -> None:
    (bench.folder / "esc.txt").write_text("a\x1b[31m b\n")
    shown = bench.run("esc.txt", mode="view").decode()
    assert "\x1b" not in shown
    assert shown.replace("│", "") == "a\\x1b[31m b↵\n"
    assert shown.count("│") == len(bench.plain.encode("a\x1b[31m b\n")) - 1


def test_a_plan_reads_sizes_and_writes_nothing(bench: Bench) -> None:
    sources = TokenizeSources(
        tokenizer=bench.tokenizer, inputs=[bench.folder / "text.txt"], out=bench.folder / "new"
    )
    plan = plan_tokenize(sources, TokenizeConfig())
    assert plan.input_bytes == len(TEXT.encode())
    assert not (bench.folder / "new").exists()


def test_the_check_says_where_a_text_ends_early(bench: Bench, shared_data: Path) -> None:
    bench.tokenizer = shared_data / "tokenizers" / "t5-small"
    (bench.folder / "end.txt").write_text("a b ")
    with pytest.raises(GateFailed):
        bench.run("end.txt", mode="check")
    shown = (bench.folder / "out.bin").read_text()
    assert shown.endswith('end.txt: byte 3 (line 1): expected " ", found the end\n')
