"""llmkit eval needle on the command line."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from llmkit.commands.eval.needle import parse_depths
from llmkit.errors import UsageError
from llmkit.workflows.eval.scorer import Scorer

WORDS = (
    *("--tasks", "needle", "--needle", " {key} {value}.", "--question", " {key}", "--answer", "{value}"),
    *("--words", "8", "--max-tokens", "2", "--lengths", "32,64", "--depths", "0,100", "--samples", "1"),
)


def test_a_run_leaves_a_report_a_picture_and_records(
    llmkit_run, spelled_model: Callable[..., Path], tmp_path: Path
) -> None:
    model, svg, records = spelled_model(), tmp_path / "n.svg", tmp_path / "r.jsonl"
    words = ("eval", "needle", model, *WORDS, "--values", "numbers", "--threshold", "0", "--seed", "4")
    done = llmkit_run(*words, "--svg", svg, "--per-record", records, "--json")
    report = json.loads(done.out)
    assert (report["schema"], report["effective_length"], report["seed"]) == ("llmkit.eval.needle/1", 64, 4)
    assert len(report["tasks"][0]["cells"]) == 4
    assert ElementTree.parse(svg).getroot().tag.endswith("svg")
    answers = [json.loads(line)["answers"][0] for line in records.read_text().splitlines()]
    assert all(one.isdigit() and len(one) == 7 for one in answers)
    assert llmkit_run(*words, "--svg", svg).status == 2  # it is there already


def test_a_picture_of_a_model_whose_name_is_no_utf_8_spells_it_out(
    llmkit_run, spelled_model: Callable[..., Path], tmp_path: Path
) -> None:
    model = spelled_model().rename(tmp_path / os.fsdecode(b"m\xff"))
    done = llmkit_run("eval", "needle", model, *WORDS, "--svg", tmp_path / "n.svg", "--json")
    assert done.status == 0 and r"m\xff" in (tmp_path / "n.svg").read_text()


def test_a_length_that_is_not_used_fails_the_gate(llmkit_run, spelled_model: Callable[..., Path]) -> None:
    done = llmkit_run("eval", "needle", spelled_model(), *WORDS, "--threshold", "100%", "--min-length", "64")
    assert done.status == 1 and "less than --min-length 64" in done.err and "needle" in done.text


@pytest.mark.parametrize(
    ("words", "percent"), [((), 85.6), (("--threshold", "29%"), 29.0), (("--threshold", "0.29"), 29.0)]
)
def test_the_threshold_is_a_share_and_reported_in_percent_as_the_scores_are(
    llmkit_run, spelled_model: Callable[..., Path], words: tuple[str, ...], percent: float
) -> None:
    done = llmkit_run("eval", "needle", spelled_model(), *WORDS, *words, "--json")
    assert json.loads(done.out)["threshold"] == percent


def test_a_threshold_in_percent_without_its_sign_is_refused(
    llmkit_run, spelled_model: Callable[..., Path]
) -> None:
    done = llmkit_run("eval", "needle", spelled_model(), *WORDS, "--threshold", "85")
    assert done.status == 2 and "'85' is not between 0 and 100%" in done.err


def test_the_map_of_scores_has_colours_where_they_are_asked_for(
    llmkit_run, spelled_model: Callable[..., Path]
) -> None:
    words = ("eval", "needle", spelled_model(), *WORDS)
    shown = [llmkit_run(*words, "--color", when).text for when in ("always", "never")]
    assert ["\x1b[38;2;" in one for one in shown] == [True, False]


def test_prompts_are_written_from_a_text(
    llmkit_run, spelled_model: Callable[..., Path], tmp_path: Path
) -> None:
    hay = tmp_path / "hay.txt"
    hay.write_text("Old men row. " * 20)
    done = llmkit_run("eval", "needle", spelled_model(), *WORDS, "--haystack", hay, "--prompts", "-")
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert len(rows) == 4 and all("Old men row." in row["prompt"] for row in rows)


@pytest.mark.parametrize("flag", ["--svg", "--prompts"])
@pytest.mark.parametrize("place", ["hay.txt", "before.json", "{model}/model.safetensors"])
def test_an_output_never_takes_the_place_of_what_is_read(
    llmkit_run, spelled_model: Callable[..., Path], tmp_path: Path, flag: str, place: str
) -> None:
    model, hay, before = spelled_model(), tmp_path / "hay.txt", tmp_path / "before.json"
    hay.write_text("Old men row. " * 20)
    line = ("eval", "needle", model, *WORDS, "--haystack", hay)
    before.write_bytes(llmkit_run(*line, "--json").out)
    path = tmp_path / place.format(model=model)
    kept = path.read_bytes()
    done = llmkit_run(*line, "--baseline", before, flag, path, "--force")
    assert done.status == 2 and "input" in done.err and path.read_bytes() == kept


def test_the_picture_and_the_records_are_two_files(
    llmkit_run, spelled_model: Callable[..., Path], tmp_path: Path
) -> None:
    path = tmp_path / "p.x"
    done = llmkit_run(
        "eval", "needle", spelled_model(), *WORDS, "--svg", path, "--per-record", path, "--force"
    )
    assert done.status == 2 and "--svg and --per-record are both" in done.err and not path.exists()


@pytest.mark.parametrize(
    ("flag", "text"), [("--answer", "{foo}"), ("--answer", "{"), ("--needle", "{key.foo}")]
)
def test_braces_of_no_use_are_refused_before_any_weight_is_read(
    llmkit_run, spelled_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, flag: str, text: str
) -> None:
    monkeypatch.setattr(Scorer, "engine", property(lambda _: pytest.fail("the weights are read")))
    words = [text if before == flag else word for before, word in zip(("", *WORDS), WORDS, strict=False)]
    done = llmkit_run("eval", "needle", spelled_model(), *words)
    assert done.status == 2 and f"{flag}: has other braces" in done.err and repr(text) in done.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--tasks", "needle", "--needle", "The code is 7."), "--needle without --answer"),
        (("--needle", "The code is 7.", "--answer", "7"), "--needle: not read by niah_single_1"),
        (("--haystack", "{hay}"), "--haystack: not read by niah_single_1"),
    ],
)
def test_flags_that_no_task_reads_and_a_needle_without_answers_are_refused(
    llmkit_run, spelled_model: Callable[..., Path], tmp_path: Path, words: tuple[str, ...], says: str
) -> None:
    hay = tmp_path / "hay.txt"
    hay.write_text("Old men row. " * 20)
    line = ("eval", "needle", spelled_model(), *(word.format(hay=hay) for word in words), "--lengths", "64")
    for more in ((), ("--prompts", "-")):
        done = llmkit_run(*line, *more)
        assert done.status == 2 and says in done.err


def test_depths_are_percents() -> None:
    assert parse_depths("0,12.5,100,0") == (0.0, 12.5, 100.0)
    with pytest.raises(UsageError, match="--depths deep"):
        parse_depths("deep")


@pytest.mark.parametrize("written", ["[0, 100]", '"0,100"', '["0", 1e2]'])
def test_depths_of_a_settings_file_are_a_list_as_lengths_are(
    llmkit_run, spelled_model: Callable[..., Path], tmp_path: Path, written: str
) -> None:
    (tmp_path / "s.toml").write_text(f"depths = {written}\nlengths = [32]\n")
    words = (*WORDS[:12], "--samples", "1", "--config", tmp_path / "s.toml", "--prompts", "-")
    done = llmkit_run("eval", "needle", spelled_model(), *words)
    assert [json.loads(line)["depth"] for line in done.out.splitlines()] == [0, 100]
