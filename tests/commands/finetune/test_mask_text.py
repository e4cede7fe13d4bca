"""--show-mask in colour and without."""

from llmkit.commands.finetune.mask_text import CLOSE, LEARNT, OPEN, RESET, mask_text
from llmkit.workflows.finetune.samples import Sample

SAMPLE = Sample(
    "a:3", "chosen", [("user\nHi\n", False), ("Yo\x1b[0m\nend", True), ("\n", False)], 9, 4, ["text.lost"]
)


def test_without_colour_not_one_escape_is_written() -> None:
    text = mask_text(SAMPLE, color=False)
    assert text == (
        f"a:3 (chosen): 4 of 9 tokens learnt; text.lost\nuser↵\nHi↵\n{OPEN}Yo\\x1b[0m↵\nend{CLOSE}↵\n"
    )


def test_with_colour_each_line_ends_its_own() -> None:
    text = mask_text(SAMPLE, color=True)
    assert f"\n{LEARNT}Yo\\x1b[0m↵{RESET}\n{LEARNT}end{RESET}↵\n" in text
    assert OPEN not in text


def test_a_single_answer_has_no_name() -> None:
    assert (
        mask_text(Sample("a:1", "", [("x", True)], 1, 1, []), color=False)
        == "a:1: 1 of 1 token learnt\n⟦x⟧\n"
    )
