"""llmkit eval mc on the command line."""

import json
from collections.abc import Callable
from pathlib import Path

ROWS = b'{"prompt": "1 +", "choices": ["a", "bb"], "answer": 0, "k": "x"}\n' * 3


def test_every_flag_reaches_its_config(
    llmkit_run, spelled_model: Callable[..., Path], tmp_path: Path
) -> None:
    model, records = spelled_model(), tmp_path / "r.jsonl"
    dev = tmp_path / "dev.jsonl"
    dev.write_bytes(ROWS.replace(b"1 +", b"+ 1"))
    words = (
        "eval",
        "mc",
        model,
        "--form",
        "plain",
        "--shots",
        "1",
        "--dev",
        dev,
        "--by",
        "k",
        "--limit",
        "2",
    )
    done = llmkit_run(*words, "--metric", "acc_norm", "--per-record", records, "--json", stdin=ROWS)
    report = json.loads(done.out)
    assert (report["schema"], report["shots"], report["records"]) == ("llmkit.eval.mc/1", 1, 2)
    assert report["headline"]["name"] == "acc_norm" and report["groups"][0]["group"] == "x"
    assert len(records.read_text().splitlines()) == 2


def test_gates_exit_1_behind_a_whole_report(llmkit_run, spelled_model: Callable[..., Path]) -> None:
    model, path = spelled_model(), spelled_model("other") / "q.jsonl"
    path.write_bytes(ROWS + ROWS.replace(b'"answer": 0', b'"answer": 1'))
    done = llmkit_run("eval", "mc", model, path, "--min-accuracy", "0.9")
    assert done.status == 1 and "acc" in done.text and "--min-accuracy 0.9" in done.err
    assert llmkit_run("eval", "mc", model, path, path).status == 2
