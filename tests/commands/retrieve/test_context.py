"""llmkit retrieve context, from its flags to what it prints."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


@pytest.fixture
def index(llmkit_run: Run, tmp_path: Path) -> Path:
    texts = {"a": "late ant here. " * 40 + "The last ant.", "b": "A bee."}
    docs = "".join(json.dumps({"id": name, "text": text}) + "\n" for name, text in texts.items())
    path = tmp_path / "index"
    cut = ("--chunk", 32, "--overlap", 0)
    done = llmkit_run("retrieve", "index", *cut, "-o", path, stdin=docs.encode())
    assert done.status == 0
    return path


def test_every_flag_changes_the_prompt(
    llmkit_run: Run, index: Path, tmp_path: Path, byte_level_dir: Path
) -> None:
    template = tmp_path / "t.jinja"
    template.write_text("{{ passages | length }} {{ query }}")

    def made(*flags: object, stdin: bytes = b"") -> dict[str, Any]:
        done = llmkit_run("retrieve", "context", index, *flags, stdin=stdin)
        assert done.status == 0, done.err
        record: dict[str, Any] = json.loads(done.out)
        return record

    plain = made("ant late")
    assert len(made("ant late", "-k", 1)["prompt"]) < len(plain["prompt"])
    assert made("ant late", "--budget", 30)["context_tokens"] <= 30 < plain["context_tokens"]
    assert made("ant late", "-t", byte_level_dir)["context_tokens"] != plain["context_tokens"]
    assert made("ant bee", "--template", template)["prompt"].endswith(" ant bee")
    assert made("ant", "--messages")["messages"][0]["role"] == "user"
    by_score, in_order = (
        made("ant here last", *flag, "-k", 9)["citations"] for flag in ((), ("--in-order",))
    )
    assert [one["start"] for one in by_score] != [one["start"] for one in in_order]
    assert sorted(one["start"] for one in in_order) == [one["start"] for one in in_order]
    assert made("--field", "ask", stdin=b'{"ask": "ant", "n": 1}\n')["n"] == 1
    assert made("bee", "--b", 0, "--k1", 0)["citations"]


def test_a_budget_that_holds_no_passage_is_told_and_none_at_all_is_refused(
    llmkit_run: Run, index: Path
) -> None:
    done = llmkit_run("retrieve", "context", index, "ant", "--budget", 1)
    assert done.status == 0 and json.loads(done.out)["citations"] == []
    assert done.err == (
        "llmkit: warning: 1 prompt without passages: --budget 1 holds none of those that were found\n"
    )
    assert llmkit_run("retrieve", "context", index, "ant", "--budget", 30).err == ""
    done = llmkit_run("retrieve", "context", index, "ant", "--budget", 0)
    assert done.status == 2 and "--budget 0: no room" in done.err


def test_prompts_go_to_generate_and_nothing_found_is_1(llmkit_run: Run, index: Path, tmp_path: Path) -> None:
    out, rejects = tmp_path / "prompts.jsonl", tmp_path / "rejects.jsonl"
    lines = b'{"query": "ant"}\n{"x": 1}\n'
    flags = ("-o", out, "--skip-bad", "--rejects", rejects, "--unbuffered")
    assert llmkit_run("retrieve", "context", index, *flags, stdin=lines).status == 0
    assert "prompt" in json.loads(out.read_text())
    assert llmkit_run("retrieve", "context", index, "ant", "-o", out).status == 2
    assert llmkit_run("retrieve", "context", index, "ant", "-o", out, "--force").status == 0
    assert llmkit_run("retrieve", "context", index, "zebra").status == 1


def test_passages_are_found_by_meaning_and_ranked_again(
    llmkit_run: Run, index: Path, spelled_model: Callable[..., Path]
) -> None:
    model = spelled_model()
    assert llmkit_run("retrieve", "index", "--add", "--embed", model, "-o", index).status == 0
    flags = ("--by", "meaning", "--embed", model, "--rerank", model, "--candidates", 3, "--device", "cpu")
    done = llmkit_run("retrieve", "context", index, "zebra", "-k", 2, *flags)
    assert done.status == 0, done.err
    assert json.loads(done.out)["citations"]


def test_a_template_that_is_not_utf_8_is_bad_data_and_no_bug(
    llmkit_run: Run, index: Path, tmp_path: Path
) -> None:
    (tmp_path / "t.jinja").write_bytes(b"caf\xe9")
    done = llmkit_run("retrieve", "context", index, "ant", "--template", tmp_path / "t.jinja")
    assert done.status == 3 and "not UTF-8" in done.err
