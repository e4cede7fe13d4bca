"""llmkit pack as it is typed: the report, the refusals, and every flag with an effect."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmkit.formats.jsonl import encode_line
from llmkit.formats.shards import ShardFolder


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    path = tmp_path / "docs.jsonl"
    words = "one two three four five six seven eight nine ten "
    path.write_bytes(
        b"".join(encode_line({"id": str(n), "text": words * n, "body": "b"}) for n in range(1, 30))
    )
    return path


@pytest.fixture
def pack(
    llmkit_run: Callable[..., Any], docs: Path, byte_level_dir: Path, tmp_path: Path
) -> Callable[..., Any]:
    """Pack docs.jsonl with the small tokenizer into `tmp_path/out`."""

    def call(*flags: object, out: str = "out", stdin: bytes | None = None) -> Any:
        source = [docs] if stdin is None else []
        return llmkit_run(
            "pack", *source, "-t", byte_level_dir, "-o", tmp_path / out, *flags, stdin=stdin or b""
        )

    return call


def test_the_report_is_text_for_people_and_json_for_programs(
    pack: Callable[..., Any], tmp_path: Path
) -> None:
    text = pack("--seq-len", 127)
    assert text.status == 0 and text.text.startswith("rows ") and text.err == ""
    report = json.loads(pack("--seq-len", 127, "--json", out="two").out)
    index = ShardFolder.open(tmp_path / "two").index
    assert report["schema"] == "llmkit.pack/1"
    assert (report["rows"], report["tokens"], report["seq_len"]) == (index.rows, index.tokens, 127)
    assert pack("-q", out="three").out == b"" and pack("-q", "--json", out="four").out


def test_a_dry_run_writes_nothing(pack: Callable[..., Any], tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    plan = json.loads(pack("--dry-run", "--json").out)
    assert plan["schema"] == "llmkit.pack-plan/1" and plan["about_tokens"] > 1000
    assert "about" in pack("-n").text and sorted(tmp_path.rglob("*")) == before


def test_stdin_is_packed_as_a_file_is(pack: Callable[..., Any], docs: Path, tmp_path: Path) -> None:
    pack("--seq-len", 63)
    assert pack("--seq-len", 63, out="piped", stdin=docs.read_bytes()).status == 0
    for name in ("index.json", "shard-00000.tok.zst", "documents.jsonl.zst"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "piped" / name).read_bytes()
    assert list(json.loads((tmp_path / "piped" / "llmkit.json").read_text())["inputs"]) == ["stdin"]


@pytest.mark.parametrize(
    ("flags", "check"),
    [
        (("--seq-len", "31"), lambda folder: folder.index.row_length == 32),
        (("--strategy", "concat"), lambda folder: folder.index.strategy == "concat"),
        (("--long", "drop", "--seq-len", "63"), lambda folder: folder.index.documents < 29),
        (
            ("--boundary", "none"),
            lambda folder: 0 not in folder.read(range(len(folder))).loss.nonzero()[0][:0],
        ),
        (("--shard-tokens", "2k"), lambda folder: len(folder.shards) > 1),
        (("--field", "body"), lambda folder: folder.index.tokens == 29 * 3),  # bos, b, eos
        (("--no-shuffle",), lambda folder: folder.index.seed is None),
    ],
)
def test_each_flag_does_what_it_says(
    pack: Callable[..., Any], tmp_path: Path, flags: tuple[str, ...], check: Callable[[ShardFolder], bool]
) -> None:
    done = pack(*flags)
    assert done.status == 0, done.err
    assert check(ShardFolder.open(tmp_path / "out"))


def test_gaps_are_cut_by_share_and_form(
    llmkit_run: Callable[..., Any], docs: Path, marked_dir: Path, tmp_path: Path
) -> None:
    def counts(name: str, *flags: object) -> tuple[int, int]:
        done = llmkit_run("pack", docs, "-t", marked_dir, "-o", tmp_path / name, "--json", *flags)
        report = json.loads(done.out)
        return report["fim_psm_documents"], report["fim_spm_documents"]

    assert counts("none") == (0, 0)
    assert counts("psm", "--fim", 1, "--fim-spm", 0) == (29, 0)
    assert counts("spm", "--fim-rate", 1, "--fim-spm-rate", 1) == (0, 29)
    assert 0 < sum(counts("some", "--fim", "0.5")) < 29


def test_gaps_need_marks(llmkit_run: Callable[..., Any], docs: Path, byte_level_dir: Path) -> None:
    bare = llmkit_run("pack", docs, "-o", docs.parent / "out", "--fim", "0.5")
    assert bare.status == 2 and "--fim needs a tokenizer" in bare.err
    done = llmkit_run("pack", docs, "-t", byte_level_dir, "-o", docs.parent / "out", "--fim", "0.5")
    assert done.status == 3 and "no tokens that mark a gap" in done.err


def test_another_seed_is_another_order_of_the_same_rows(pack: Callable[..., Any], tmp_path: Path) -> None:
    for seed in (0, 1):
        pack("--seq-len", 63, "--seed", seed, out=f"seed{seed}")
    first, second = (ShardFolder.open(tmp_path / f"seed{seed}") for seed in (0, 1))
    one, two = (folder.read(range(len(folder))).tokens.tolist() for folder in (first, second))
    assert one != two and sorted(one) == sorted(two)


def test_bad_lines_are_kept_with_their_reason(pack: Callable[..., Any], docs: Path, tmp_path: Path) -> None:
    docs.write_bytes(docs.read_bytes() + b'{"id": "x"}\n')
    assert pack().status == 3 and not (tmp_path / "out").exists()
    done = pack("--skip-bad", "--rejects", tmp_path / "rejects.jsonl", "--json")
    assert json.loads(done.out)["bad_lines"] == 1
    (reject,) = [json.loads(line) for line in (tmp_path / "rejects.jsonl").read_text().splitlines()]
    assert reject["id"] == "x" and reject["_reject"]["line"] == 30


@pytest.mark.parametrize(
    ("flags", "status", "says"),
    [
        (("--seq-len", "0"), 2, "--seq-len must be at least 1"),
        (("--boundary", "nonsense"), 2, "nonsense"),
        (("--resume",), 2, "stdin or a pipe cannot be read a second time"),
        (("--threads", "0"), 2, "--threads"),
        (("--seq-len", "1e30"), 2, "that a row can have"),
        (("--fim", "1.5"), 2, "--fim is a share from 0 to 1 (found 1.5)"),
        (("--fim", "nan"), 2, "--fim is a share from 0 to 1 (found nan)"),
        (("--fim-spm", "0.5"), 2, "--fim-spm does nothing without --fim"),
        (("--workers", "0"), 2, "--threads"),
    ],
)
def test_wrong_usage_is_two_lines(
    pack: Callable[..., Any], tmp_path: Path, flags: tuple[str, ...], status: int, says: str
) -> None:
    done = pack(*flags, stdin=b'{"tokens": [1]}\n')
    assert (done.status, done.out) == (status, b"") and len(done.err.splitlines()) == 2
    assert says in done.err and not (tmp_path / "out").exists()


def test_an_existing_folder_is_replaced_only_with_force(pack: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    assert pack().status == 2 and (tmp_path / "out" / "mine").exists()
    assert pack("--force").status == 2 and (tmp_path / "out" / "mine").exists()  # not ours
    (tmp_path / "out" / "index.json").touch()
    assert pack("--force").status == 0 and not (tmp_path / "out" / "mine").exists()


@pytest.mark.parametrize("flag", ["-MF", "--make-rule"])
def test_make_is_told_what_the_shards_were_made_of(
    pack: Callable[..., Any], docs: Path, byte_level_dir: Path, tmp_path: Path, flag: str
) -> None:
    assert pack(flag, tmp_path / "rule.mk").status == 0
    rule = (tmp_path / "rule.mk").read_text().replace(" \\\n", "").split("\n\n")[0]
    target, _, inputs = rule.partition(": ")
    assert target == str(tmp_path / "out" / "index.json").replace(" ", r"\ ")
    assert set(re.findall(r"(?:\\ |\S)+", inputs)) == {
        str(one).replace(" ", r"\ ") for one in (docs, *byte_level_dir.iterdir())
    }


def test_a_rule_is_no_input_and_its_folder_is_there_before_any_work(
    pack: Callable[..., Any], docs: Path, tmp_path: Path
) -> None:
    before = docs.read_bytes()
    assert pack("-MF", docs).status == 2 and docs.read_bytes() == before
    assert pack("-MF", tmp_path / "none" / "rule.mk").status == 4
    assert not (tmp_path / "out").exists()


def test_nothing_on_stdin_is_told_of_stdin(llmkit_run: Callable[..., Any], tmp_path: Path) -> None:
    done = llmkit_run("pack", "--boundary", "none", "-o", tmp_path / "shards", stdin=b"")
    assert done.status == 3 and done.err.startswith(
        "llmkit: error: stdin: no tokens to pack (found 0 documents)"
    )
