"""llmkit eval tokens on the command line: texts, files, pipes; views and calibrations."""

import json
import os
import re
import threading
from pathlib import Path
from typing import Any

import pytest

ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def folder(spelled_model: Any) -> Path:
    return spelled_model()


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    rows = [{"prompt": "You must", "completion": f" {word}", "correct": n % 3 > 0}
            for n, word in enumerate(("give", "any", "other", "of", "the", "Work"))]  # fmt: skip
    path = tmp_path / "labelled.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_text_a_file_of_that_name_and_stdin_are_the_same(llmkit_run, folder: Path, tmp_path: Path) -> None:
    words = ("eval", "tokens", folder)
    given = llmkit_run(*words, "You must give", "--json")
    (tmp_path / "f.txt").write_text("You must give\n")
    named = llmkit_run(*words, tmp_path / "f.txt", "--json")
    piped = llmkit_run(*words, "-", "--json", stdin=b"You must give\n")
    bare = llmkit_run(*words, "--json", stdin=b"You must give")
    assert given.status == 0 and given.out == named.out == piped.out == bare.out
    report = json.loads(given.out)
    assert report["schema"] == "llmkit.eval.tokens/1" and report["records"][0]["text"] == "You must give"


def test_what_is_written_like_a_file_and_is_none_is_missing_and_not_a_text(llmkit_run, folder: Path) -> None:
    for words in (("nowhere.jsonl",), ("must give", "--context", "nowhere.txt")):
        done = llmkit_run("eval", "tokens", folder, *words)
        assert done.status == 4 and "nowhere" in done.err and not done.out


def test_rows_come_out_as_lines_with_their_own_fields(llmkit_run, folder: Path) -> None:
    rows = b'{"id": 1, "text": "You must", "x": 1.50}\n{"prompt": "You", "completion": " must"}\n'
    done = llmkit_run("eval", "tokens", folder, "--jsonl", "--top", "2", stdin=rows)
    first, second = (json.loads(line) for line in done.text.splitlines())
    assert b'"x":1.50' in done.out and "logprobs" not in first
    assert len(first["prompt_logprobs"][-1]["top"]) == 2
    assert "".join(one["text"] for one in second["logprobs"]) == " must"


@pytest.mark.parametrize("place", ["text", "passage"])
def test_a_pipe_with_a_name_is_a_file_and_not_a_text(
    llmkit_run, folder: Path, tmp_path: Path, place: str
) -> None:
    pipe = tmp_path / "f.txt"
    os.mkfifo(pipe)
    threading.Thread(target=pipe.write_text, args=("You must give",), daemon=True).start()
    words = [pipe] if place == "text" else ["You must give", "--context", pipe]
    plain = ["You must give"] if place == "text" else ["You must give", "--context", "You must give"]
    assert (
        llmkit_run("eval", "tokens", folder, *words, "--json").out
        == llmkit_run("eval", "tokens", folder, *plain, "--json").out
    )


@pytest.mark.parametrize("more", [[], ["--generate", "1"], ["--context", "a"], ["--dry-run"]])
def test_a_record_that_is_too_long_is_named_by_its_line(llmkit_run, folder: Path, more: list[str]) -> None:
    rows = b"".join(b'{"text": "%s"}\n' % text for text in (b"You must", b"You must give " * 40, b"You"))
    done = llmkit_run("eval", "tokens", folder, "--jsonl", *more, stdin=rows)
    assert done.status == 3 and "stdin:2: the prompt has " in done.err and "context of 64" in done.err
    words = llmkit_run("eval", "tokens", folder, "You must give " * 40)
    assert words.status == 2 and "the prompt has" in words.err


def test_tokens_are_written_and_a_chat_is_put_into_its_template(llmkit_run, folder: Path) -> None:
    line = llmkit_run("eval", "tokens", folder, "You", "--generate", "3", "--chat", "--jsonl").out
    record = json.loads(line)
    assert 1 <= len(record["logprobs"]) <= 3 and "completion" in record
    assert "".join(one["text"] for one in record["prompt_logprobs"]).startswith("<|im_start|>user\nYou")


def test_a_passage_may_be_a_file(llmkit_run, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("You must give")
    words = ("eval", "tokens", folder, "must give", "--json", "--context")
    named = llmkit_run(*words, tmp_path / "p.txt")
    assert named.out == llmkit_run(*words, "You must give").out
    assert json.loads(named.out)["gain_bits_per_token"] is not None
    (tmp_path / "p.txt").write_bytes("café".encode("latin1"))
    done = llmkit_run(*words, tmp_path / "p.txt")
    assert done.status == 3 and "p.txt: not UTF-8" in done.err


def test_colour_or_brackets_or_a_table(llmkit_run, folder: Path) -> None:
    words = ("eval", "tokens", folder, "You must give", "--threshold", "1")
    plain = llmkit_run(*words)
    assert "\x1b" not in plain.text and plain.text.splitlines()[0].split()[:3] == ["id", "token", "p"]
    colored = llmkit_run(*words, "--color", "always")
    assert "\x1b[48;5;" in colored.text and ESCAPE.sub("", colored.text).startswith("You must give\n")
    bracketed = llmkit_run(*words, "--view", "text")
    assert bracketed.text.startswith("You[[ must give]]\n")
    assert llmkit_run(*words, "--view", "table", "--color", "always").text.splitlines()[0].split()[0] == "id"


def test_a_calibration_is_a_report_and_marks_later_texts(
    llmkit_run, folder: Path, labelled: Path, tmp_path: Path
) -> None:
    words = ("eval", "tokens", folder, "--calibrate", labelled, "--keep-accuracy", "0.5")
    done = llmkit_run(*words, "--bins", "4", "--confidence", "min", "--json")
    report = json.loads(done.out)
    assert (report["schema"], report["records"]) == ("llmkit.eval.calibration/1", 6)
    assert len(report["calibration"]["bins"]) == 4 and report["confidence"] == "min"
    path = tmp_path / "c.json"
    path.write_bytes(done.out)
    marked = json.loads(llmkit_run("eval", "tokens", folder, "You must", "--calibration", path, "--json").out)
    assert marked["calibrated"] and marked["threshold"] == report["calibration"]["threshold"]
    assert "labelled" in llmkit_run(*words).text
    assert llmkit_run(*words, "--fail-above", "0").status == 1
    words = (*words, "--baseline", path, "--confidence", "min", "--bins", "4")
    assert llmkit_run(*words).status == 0
    report["headline"]["value"] /= 2
    path.write_text(json.dumps(report))
    done = llmkit_run(*words)
    assert report["headline"]["error"] is None
    assert done.status == 0 and "noise is not known" in done.err


@pytest.mark.parametrize(
    "words",
    [
        ("a", "--json", "--jsonl"), ("a", "--calibrate", "x"), ("--calibrate", "x", "--generate", "2"),
        ("--calibrate", "x", "--context", "y"), ("a", "--fail-above", "1"), ("a", "--threshold", "3"),
        ("a", "--baseline", "b"),
    ],
)  # fmt: skip
def test_flags_that_do_not_go_together_are_usage(llmkit_run, folder: Path, words: tuple[str, ...]) -> None:
    assert llmkit_run("eval", "tokens", folder, *words).status == 2
