"""A takedown: one document followed from the raw file to the rows that it was packed into."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


def test_a_document_is_followed_through_every_stage_to_its_rows(
    llmkit_run: Run, byte_level_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    texts = {f"d{n}": " ".join(f"d{n}word{m}" for m in range(60)) for n in range(6)}
    texts |= {"mail": "Write to jane.roe@example.org. " * 9, "longer": texts["d1"] + " mirrored"}
    rows = [{"id": name, "text": text, "metadata": {"license": "mit"}} for name, text in texts.items()]
    Path("raw.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Path("other.jsonl").write_text(json.dumps({"id": "o", "text": "x " * 900}) + "\n")

    for line in (
        "clean raw.jsonl --pii mask --license-allow MIT -o clean",
        "dedup clean -o unique --rejects dups.jsonl",
        "mix --source web=unique:1:2 --source other=other.jsonl:1 --on-exhaust drop -o mixed",
        f"tokenize -t {byte_level_dir} --jsonl mixed -o tokens.jsonl.zst",
        f"pack tokens.jsonl.zst -t {byte_level_dir} --seq-len 128 -o shards",
        f"pack mixed -t {byte_level_dir} --seq-len 128 -o direct",
    ):
        done = llmkit_run(*line.split())
        assert done.status == 0, done.err

    way = ("raw.jsonl", "clean", "unique", "dups.jsonl", "mixed", "tokens.jsonl.zst", "shards", "direct")
    found = [
        json.loads(line) for line in llmkit_run("show", *way, "--trace", "mail", "--json").out.splitlines()
    ]
    assert [one["path"] for one in found] == [
        *("raw.jsonl", "clean", "unique", "mixed", "mixed", "tokens.jsonl.zst", "tokens.jsonl.zst"),
        *("shards", "shards", "direct", "direct"),
    ]
    stages = [[entry["stage"] for entry in one.get("history", [])] for one in found[:7]]
    assert stages == [[], ["clean"], ["clean"], *[["clean", "mix"]] * 4]
    digests = [one.get("text_sha256") for one in found[:5]]
    assert digests[0] != digests[1] and len(set(digests[1:])) == 1  # the address was masked
    assert [one["epoch"] for one in found if one.get("epoch")] == [2, 2, 2, 2]
    assert {one["source"] for one in found[3:]} == {"web"} and {one["license"] for one in found} == {"mit"}
    place = found[-1]["places"][0]
    row = json.loads(llmkit_run("show", "direct", "--row", place["row"], "--json").out)
    named = {(one["id"], one["source"], one.get("license")) for one in row["segments"]}
    assert ("mail", "web", "mit") in named  # a row names its sources

    mirrored = llmkit_run("show", *way, "--trace", "longer").text
    assert "dropped for it: 'd1' at dups.jsonl:1: " in mirrored and "rejected by dedup: rule near" in mirrored
    assert "dedup: rule near, duplicates 1" in mirrored
    nowhere = llmkit_run("show", *way, "--trace", "nobody")
    assert nowhere.status == 1 and nowhere.out == b"" and "no document with id 'nobody'" in nowhere.err
    corpus = llmkit_run("show", "mixed")
    assert corpus.status == 0 and "made by" in corpus.text and "llmkit mix" in corpus.text
    assert llmkit_run("doctor", "mixed").status == 0
