"""Every flag that says how the model runs reaches the scorer."""

from pathlib import Path
from typing import Any

import pytest

from llmkit.commands.eval.flags import Running, model_options, one_file, read_baseline
from llmkit.errors import MissingError, UsageError
from llmkit.workflows.eval.open import open_scorer
from llmkit.workflows.eval.scorer import ModelOptions

CHANGED: dict[str, Any] = {
    **{
        "tokenizer": Path("t"),
        "adapter": "a",
        "dtype": "bfloat16",
        "kv_dtype": "int8",
        "rope_scaling": "yarn:2",
    },
    **{"kernels": "torch", "weights": "int8", "device": "cpu", "threads": 1, "batch": 3},
}


def test_without_flags_a_model_is_opened_as_without_the_command_line() -> None:
    assert model_options(Path("m"), Running()) == ModelOptions(model=Path("m"))


@pytest.mark.parametrize("command", ["ppl", "kl", "tokens"])
def test_each_command_hands_on_what_it_is_given(
    llmkit_run, spelled_model, command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[ModelOptions] = []

    class StopHere(Exception):  # noqa: N818
        pass

    def opened(options: ModelOptions) -> None:
        asked.append(options)
        raise StopHere

    for module in ("open", command):
        monkeypatch.setattr(f"llmkit.workflows.eval.{module}.open_scorer", opened, raising=False)
    text = tmp_path / "t.txt"
    text.write_text("a")
    words = [f"--{name.replace('_', '-')}={value}" for name, value in CHANGED.items()]
    if command == "kl":
        words = [word for word in words if not word.startswith("--batch")]
    llmkit_run("eval", command, "m", text, *words, *(["-r", "m"] if command == "kl" else []))
    expected = {**CHANGED, "batch": None} if command == "kl" else CHANGED
    assert asked == [ModelOptions(model=Path("m"), **expected)]


def test_an_options_model_is_opened_as_it_says(spelled_model) -> None:
    scorer = open_scorer(
        model_options(spelled_model(), Running(dtype="bfloat16", rope_scaling="yarn:2"), batch=2)
    )
    assert scorer.job.config.dtype == "bfloat16" and scorer.job.config.batch == 2
    assert scorer.context == 128


def test_one_file_is_one_and_two_are_usage() -> None:
    assert one_file([Path("a")], "tasks") == Path("a")
    with pytest.raises(UsageError, match="2 files of tasks"):
        one_file([Path("a"), Path("b")], "tasks")


def test_a_baseline_is_read_before_any_work(tmp_path: Path) -> None:
    assert read_baseline(None, "llmkit.eval.ppl/1") is None
    with pytest.raises(MissingError, match="no such file"):
        read_baseline(tmp_path / "b.json", "llmkit.eval.ppl/1")
    with pytest.raises(UsageError, match="both stdin"):
        read_baseline(Path("-"), "llmkit.eval.ppl/1", [Path("a"), None, Path("-")])
