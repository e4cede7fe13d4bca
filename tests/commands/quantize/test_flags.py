"""What the flags of quantize come to: one question or a model, and words that are read."""

from pathlib import Path

import pytest

from llmkit.commands.quantize.flags import Calibration, Mixing, Questions, parse_bits, parse_override
from llmkit.errors import UsageError
from llmkit.workflows.quantize.options import QuantizeConfig


def test_nothing_given_is_the_default_of_every_setting() -> None:
    assert QuantizeConfig(**Calibration().settings(), **Mixing().settings()) == QuantizeConfig()


@pytest.mark.parametrize(
    ("questions", "flag"),
    [
        (Questions(), None),
        (Questions(sensitivity=True), "--sensitivity"),
        (Questions(kv_report=True), "--kv-report"),
        (Questions(sweep="8"), "--sweep"),
        (Questions(sweep=""), "--sweep"),
        (Questions(save_imatrix=Path("a.gguf")), "--save-imatrix"),
    ],
)
def test_a_question_has_its_flags_name_and_no_place_for_a_model(
    questions: Questions, flag: str | None
) -> None:
    assert questions.asked(None) == flag
    if flag is None:
        assert questions.asked(Path("out")) is None
    else:
        with pytest.raises(UsageError, match=f"{flag} writes no model"):
            questions.asked(Path("out"))


def test_of_two_questions_both_are_named() -> None:
    with pytest.raises(UsageError, match="--sensitivity and --sweep are two questions"):
        Questions(sensitivity=True, sweep="8").asked(None)


def test_bits_and_types_by_name_are_read_as_they_are_written() -> None:
    assert parse_bits("8,6,4") == [8, 6, 4]
    assert parse_override("a=b=Q4_K") == ("a=b", "Q4_K")
    for wrong in ("=Q4_K", "x=", "x"):
        with pytest.raises(UsageError):
            parse_override(wrong)
