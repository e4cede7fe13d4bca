"""llmkit doctor: findings as text or JSON, and an exit status that scripts can use."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def test_healthy_artefacts_exit_0_with_an_empty_list(
    llmkit_run: Callable[..., Any], shared_data: Path
) -> None:
    ended = llmkit_run("doctor", shared_data / "models" / "stories260K", "--json")
    report = json.loads(ended.out)
    assert ended.status == 0 and ended.err == ""
    assert (report["schema"], report["findings"]) == ("llmkit.doctor/1", [])
    text = llmkit_run("doctor", shared_data / "models" / "stories260K").text
    assert text.endswith("(model): nothing found\n")


def test_errors_and_warnings_exit_1_and_remarks_do_not(
    llmkit_run: Callable[..., Any], tiny_model: Callable[..., Path]
) -> None:
    folder = tiny_model()
    remark = llmkit_run("doctor", folder, "--json")
    assert remark.status == 0
    assert [one["level"] for one in json.loads(remark.out)["findings"]] == ["info"]
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    broken = llmkit_run("doctor", folder, "--json")
    findings = json.loads(broken.out)["findings"]
    assert broken.status == 1
    assert set(findings[0]) == {"level", "check", "where", "what", "hint"}
    assert "error" in {one["level"] for one in findings}
    first, second = broken.err.splitlines()
    assert first == "llmkit: error: doctor: 1 error, 1 remark" and second.startswith("  hint: ")


def test_text_tells_the_gravest_first_with_a_hint(
    llmkit_run: Callable[..., Any], tiny_model: Callable[..., Path]
) -> None:
    folder = tiny_model()
    (folder / "config.json").write_text("{")
    lines = llmkit_run("doctor", folder).text.splitlines()
    assert lines[0].startswith("error: ")
    assert any(line.startswith("info: ") for line in lines)
    assert sum(line.startswith("  hint: ") for line in lines) == 2


def test_the_machine_is_checked_when_no_path_is_given(llmkit_run: Callable[..., Any]) -> None:
    report = json.loads(llmkit_run("doctor", "--json").out)
    assert report["machine"]["cores"] >= 1 and report["machine"]["packages"]["torch"]
    assert "Python" in llmkit_run("doctor").text


def test_a_path_that_is_not_there_exits_4(llmkit_run: Callable[..., Any], tmp_path: Path) -> None:
    ended = llmkit_run("doctor", tmp_path / "nothing")
    assert ended.status == 4 and len(ended.err.splitlines()) == 2
