"""llmkit eval gen on the command line."""

import json
from collections.abc import Callable
from pathlib import Path

ROWS = b'{"prompt": "1 +", "answer": "e"}\n' * 3


def test_every_flag_reaches_its_config(
    llmkit_run, spelled_model: Callable[..., Path], tmp_path: Path
) -> None:
    model, records, dev = spelled_model(), tmp_path / "r.jsonl", tmp_path / "dev.jsonl"
    dev.write_bytes(ROWS.replace(b"1 +", b"+ 1"))
    words = ("eval", "gen", model, "--form", "plain", "--shots", "1", "--dev", dev, "--limit", "2")
    drawn = ("--temperature", "1.5", "--top-k", "50", "--top-p", "0.9", "--min-p", "0.001", "--seed", "3")
    judged = ("-m", "contains", "--extract", "(?s).+", "--samples", "2", "--pass-at", "1,2")
    rest = ("--max-tokens", "3", "--stop", "QQ", "--per-record", records, "--json")
    report = json.loads(llmkit_run(*words, *drawn, *judged, *rest, stdin=ROWS).out)
    assert (report["tasks"], report["samples"], report["shots"]) == (2, 2, 1)
    assert [one["k"] for one in report["pass_at"]] == [1, 2]
    assert report["completion_tokens"] == 12 and report["judged_by"] == "contains"
    assert len(records.read_text().splitlines()) == 4


def test_a_command_judges_and_a_gate_fails(llmkit_run, spelled_model: Callable[..., Path]) -> None:
    words = (
        "eval",
        "gen",
        spelled_model(),
        "--max-tokens",
        "2",
        "--verify-timeout",
        "9s",
        "--verify-jobs",
        "2",
    )
    assert "judged by command" in llmkit_run(*words, "--verify", "true", stdin=ROWS).text
    done = llmkit_run(*words, "--verify", "false", "--min-accuracy", "0.5", stdin=ROWS)
    assert done.status == 1 and "pass@1 0" in done.err
