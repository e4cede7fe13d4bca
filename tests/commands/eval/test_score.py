"""llmkit eval score on the command line."""

import json
from pathlib import Path

ROWS = (
    b'{"id": 1, "completion": "A 7", "answer": 7, "k": "x"}\n'
    b'{"id": 2, "completion": "8", "answer": "9", "k": "y"}\n'
)


def test_stdin_is_scored_without_a_model(llmkit_run) -> None:
    done = llmkit_run("eval", "score", "--match", "number", "--json", "--by", "k", stdin=ROWS)
    report = json.loads(done.out)
    assert (report["score"], report["records"], report["schema"]) == (0.5, 2, "llmkit.eval.score/1")
    assert [one["group"] for one in report["groups"]] == ["x", "y"]
    assert "0.5000 (1 of 2 right)" in llmkit_run("eval", "score", "-m", "number", stdin=ROWS).text


def test_flags_say_what_is_judged(llmkit_run, tmp_path: Path) -> None:
    path = tmp_path / "o.jsonl"
    path.write_text('{"id": 1, "out": "X: Yes X: no", "gold": "NO"}\n')
    words = (
        "eval",
        "score",
        path,
        "--output-field",
        "out",
        "--answer-field",
        "gold",
        "--extract",
        r"X: (\w+)",
    )
    assert json.loads(llmkit_run(*words, "--which", "last", "-i", "--json").out)["correct"] == 1
    assert json.loads(llmkit_run(*words, "--which", "last", "--json").out)["correct"] == 0
    answers = tmp_path / "a.jsonl"
    answers.write_text('{"id": 1, "gold": "Yes"}\n')
    records = tmp_path / "r.jsonl"
    done = llmkit_run(*words, "--answers", answers, "--per-record", records, "--json")
    assert json.loads(done.out)["correct"] == 1 and json.loads(records.read_text())["found"] == "Yes"


def test_gates_exit_1_behind_a_whole_report(llmkit_run, tmp_path: Path) -> None:
    words = ("eval", "score", "-m", "number", "--json")
    done = llmkit_run(*words, "--min-accuracy", "0.6", stdin=ROWS)
    assert done.status == 1 and "less than --min-score 0.6" in done.err and json.loads(done.out)
    assert llmkit_run(*words, "--min-score", "0.5", stdin=ROWS).status == 0
    assert llmkit_run(*words, "--min-score", "50", stdin=ROWS).status == 2
    many = b'{"completion": "1", "answer": 2}\n' * 50
    old = json.loads(llmkit_run(*words, stdin=many).out)
    old["headline"] |= {"value": 0.99, "error": 0.001}
    (tmp_path / "old.json").write_text(json.dumps(old))
    done = llmkit_run(*words, "--baseline", tmp_path / "old.json", stdin=many)
    assert done.status == 1 and "worse by 0.99" in done.err
    others = llmkit_run(*words, "--baseline", tmp_path / "old.json", stdin=ROWS)
    assert others.status == 3 and "of other inputs than this run" in others.err
    same = many.replace(b'"1"', b'"3"')  # other outputs, held against the same answers
    assert llmkit_run(*words, "--baseline", tmp_path / "old.json", stdin=same).status == 1
