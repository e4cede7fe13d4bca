"""A conversion as facts for people."""

import msgspec

from llmkit.commands.convert.text import check_text, convert_text
from llmkit.workflows.convert.check import CheckReport
from llmkit.workflows.convert.plan import ConvertReport

CHECK = CheckReport(
    prompts=4, tokens=256, largest_difference=0.012, tolerance=0.25, same_best_share=0.9961, passed=True
)
REPORT = ConvertReport(
    **{"source": "run", "out": "run.gguf", "model_type": "qwen3", "form": "gguf", "dtype": "q8_0"},
    **{"parameters": 777_088, "tensors": 46, "size_bytes": 838_816, "files": 1, "tied": True},
    **{"tokenizer_sha256": "ab" * 32, "chat_template": True, "notes": ["one", "two"], "written": True},
    check=CHECK,
)


def test_every_fact_is_there_once() -> None:
    lines = convert_text(REPORT, width=100).splitlines()
    assert lines[0] == "run.gguf: GGUF file"
    text = "\n".join(lines)
    for part in ("from       run", "qwen3, 777k parameters", "q8_0, 46 tensors in 1 file", "838,816 bytes"):
        assert part in text
    assert "abababababab, with a chat template" in text and "note       two" in text


def test_a_check_says_how_far_and_how_often() -> None:
    assert check_text(CHECK) == (
        "logits differ by up to 0.012 (allowed 0.25), same best token at 99.6% of 256 positions"
    )


def test_a_check_does_not_count_best_tokens_among_what_is_no_number() -> None:
    nan = msgspec.structs.replace(CHECK, largest_difference=float("nan"), same_best_share=1.0, passed=False)
    assert check_text(nan) == "logits of what was made are not finite at some of 256 positions"
