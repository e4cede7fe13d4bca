"""llmkit inspect-attention: every flag changes something that is seen."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from worded_models import VOCAB, with_words

WORDS = "the Licence and the Licence of the Work"


@pytest.fixture
def inspect(
    llmkit_run: Callable[..., Any], tiny_model: Callable[..., Path], byte_level_dir: Path
) -> Callable[..., Any]:
    folder = with_words(tiny_model(vocab_size=VOCAB, max_position_embeddings=64), byte_level_dir)

    def call(*args: object, stdin: bytes = b"") -> Any:
        return llmkit_run("inspect-attention", folder, *args, stdin=stdin)

    call.folder = folder  # type: ignore[attr-defined]
    return call


def report(done: Any) -> dict[str, Any]:
    assert (done.status, done.err) == (0, ""), done.err
    return dict(json.loads(done.out))


def test_a_text_comes_as_words_from_stdin_as_ids_from_a_file_or_a_probe(
    inspect: Callable[..., Any], tmp_path: Path
) -> None:
    words = report(inspect(WORDS, "--json"))
    assert words["schema"] == "llmkit.inspect-attention/1" and len(words["heads"]) == 4
    piped = report(inspect("--json", stdin=WORDS.encode()))
    assert piped["tokens"] == words["tokens"] and piped["source"] == "stdin"
    ids = ",".join(str(one["id"]) for one in words["tokens"])
    assert report(inspect("--tokens", ids, "--json"))["heads"] == words["heads"]
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"body": "no"}) + "\n" + json.dumps({"id": "x", "body": WORDS}) + "\n")
    for record in ("2", "x"):
        found = report(inspect(file, "--record", record, "--field", "body", "--json"))
        assert found["tokens"] == words["tokens"] and found["source"] == f"{file}:2"
    assert len(report(inspect(WORDS, "--max-tokens", 3, "--json"))["tokens"]) == 3
    probe = report(inspect("--probe", "induction", "--probe-tokens", 5, "--json"))
    assert len(probe["tokens"]) == 11 and probe["heads"][0]["induction_stripe"] is not None
    other = report(inspect("--probe", "induction", "--probe-tokens", 5, "--seed", 1, "--json"))
    assert other["tokens"] != probe["tokens"]


def test_views_are_text_for_people(inspect: Callable[..., Any]) -> None:
    table = inspect(WORDS).text
    assert "13 tokens, 2 layers of 2 heads" in table and table.count("\n 1.") == 2
    assert inspect(WORDS, "--layers", 1).text.count("\n 0.") == 0
    drawn = inspect(WORDS, "--map", "--heads", "1.0", "--rows", "3:6", "--cols", ":6").text
    lines = drawn.split("layer 1 head 0\n")[1].splitlines()
    assert [line.split()[1] for line in lines[:3]] == ["3", "4", "5"] and "weight, by its root" in drawn
    assert "score before the softmax" in inspect(WORDS, "--map", "--heads", "1.0", "--before-softmax").text
    assert "looks at, head 0.1" in inspect(WORDS, "--query", "Work", "--heads", "0.1").text
    worked = inspect(WORDS, "--worked", "--heads", "0.1", "--query", 3).text
    assert "layer 0 head 1, token 3" in worked and "through o_proj" in worked
    lens = inspect(WORDS, "--lens", "--answer", "id:7", "--query", 2).text
    assert "after token 2" in lens and "on top first after" in lens
    zero = inspect(WORDS, "--ablate", "1.0").text
    assert "put to zero" in zero and zero.count("  1.0") == 1
    mean = inspect(WORDS, "--ablate", "all", "--ablate-by", "mean").text
    assert "put to mean" in mean and mean.count("\n  1.") == 2
    assert "embedding" in inspect(WORDS, "--attribute").text
    assert "what moved most" in inspect(WORDS, "--diff", inspect.folder).text  # type: ignore[attr-defined]


def test_colour_is_24_bit_where_it_is_on_and_not_one_escape_where_it_is_off(
    inspect: Callable[..., Any],
) -> None:
    line = (WORDS, "--map", "--heads", "1.0", "--color")
    assert "\x1b[38;2;" in inspect(*line, "always").text and "\x1b" not in inspect(*line, "never").text


def test_expect_is_1_where_no_head_qualifies_and_the_report_is_there_all_the_same(
    inspect: Callable[..., Any],
) -> None:
    met = inspect(WORDS, "--expect", "sink:0")
    assert met.status == 0 and "sink from 0 on: 0.0, 0.1, 1.0, 1.1" in met.text
    missed = inspect(WORDS, "--expect", "sink:0", "--expect", "duplicate:1", "--json")
    assert missed.status == 1 and "no head is duplicate from 1 on (best 0." in missed.err
    assert json.loads(missed.out)["expected"][1]["heads"] == []


def test_a_real_induction_head_is_found_by_the_probe(
    llmkit_run: Callable[..., Any], shared_data: Path
) -> None:
    model = shared_data / "models" / "induction-2l1h"
    done = llmkit_run("inspect-attention", model, "--probe", "induction", "--expect", "induction:0.5")
    assert done.status == 0 and "induction from 0.5 on: 1.0" in done.text
    none = llmkit_run(
        "inspect-attention", model, "--probe", "induction", "--expect", "induction:0.5", "--layers", 0
    )
    assert none.status == 1 and "no head is induction" in none.err


def test_files_are_written_once_unless_forced_and_edges_stream(
    inspect: Callable[..., Any], tmp_path: Path
) -> None:
    streamed = inspect(WORDS, "--edges", "-", "--top-k", 2, "--heads", "1.1")
    edges = [json.loads(line) for line in streamed.out.splitlines()]
    assert len(edges) == 25 and edges[0]["weight"] == pytest.approx(1.0)  # the first query sees one key
    flags = [x for name in ("save", "html", "svg", "png") for x in (f"--{name}", tmp_path / name)]
    assert inspect(WORDS, *flags).status == 0
    assert (tmp_path / "png").read_bytes().startswith(b"\x89PNG") and "<svg" in (tmp_path / "svg").read_text()
    assert (tmp_path / "html").read_text().startswith("<!doctype html>")
    again = inspect(WORDS, "-o", tmp_path / "save")
    assert again.status == 2 and "already exists" in again.err
    assert inspect(WORDS, "-o", tmp_path / "save", "--force").status == 0


def test_the_model_is_opened_as_asked(
    inspect: Callable[..., Any], tiny_adapter: Callable[..., Path], shared_data: Path
) -> None:
    plain = report(inspect(WORDS, "--json"))
    assert plain["dtype"] == "float32"
    rounded = report(inspect(WORDS, "--dtype", "bfloat16", "--threads", 1, "--device", "cpu", "--json"))
    assert rounded["dtype"] == "bfloat16" and rounded["heads"] != plain["heads"]
    adapted = report(inspect(WORDS, "--adapter", tiny_adapter(), "--json"))
    assert adapted["adapter"].endswith("adapter") and adapted["heads"] == plain["heads"]  # B is zero
    other = report(inspect("Once", "-t", shared_data / "models" / "stories260K", "--json"))
    assert [one["text"] for one in other["tokens"]] == ["<s>", " Once"]
    marked = report(inspect("<|im_end|>", "--allow-special", "--json"))
    assert len(marked["tokens"]) == 1 < len(report(inspect("<|im_end|>", "--json"))["tokens"])
    longer = inspect(*("--tokens", "5 " * 100), "--rope-scaling", "yarn:2", "--json")
    assert len(report(longer)["tokens"]) == 100
    assert inspect("--tokens", "5 " * 100).status == 2
    for wrong in (["--device", "abacus"], ["--threads", 0]):
        assert inspect(WORDS, *wrong).status == 2


def test_progress_is_told_between_lines(inspect: Callable[..., Any]) -> None:
    assert "inspecting" in inspect(WORDS, "--log-every", 0).err
    assert inspect(WORDS, "--log-every", 0, "-q").err == ""


def test_jsonl_has_a_line_for_each_name_of_a_head_as_the_report_has_them(
    inspect: Callable[..., Any], llmkit_run: Callable[..., Any]
) -> None:
    heads = report(inspect(WORDS, "--json"))["heads"]
    asked = ("inspect-attention", "-m", inspect.folder, "-p", WORDS, "--heads", "--jsonl")  # type: ignore[attr-defined]
    lines = [json.loads(line) for line in llmkit_run(*asked).out.splitlines()]
    named = [(one["layer"], one["head"], name) for one in heads for name in one["classes"] or [None]]
    assert [(one["layer"], one["head"], one["class"]) for one in lines] == named and len(heads) == 4
    assert all(one["entropy_nats"] == heads[2 * one["layer"] + one["head"]]["entropy_nats"] for one in lines)
    only = llmkit_run(*asked[:-2], "--heads", "1.0", "--jsonl").out.splitlines()
    assert {(json.loads(line)["layer"], json.loads(line)["head"]) for line in only} == {(1, 0)}
    assert llmkit_run(*asked, "--json").status == 2


def test_a_prompt_is_a_text_where_a_file_has_its_name(
    inspect: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Work").write_text("the Licence")
    assert report(inspect("Work", "--json"))["source"] != "text"
    assert report(inspect("-p", "Work", "--json"))["source"] == "text"
