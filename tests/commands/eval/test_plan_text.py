"""The plan of an evaluation, for people."""

from llmkit.commands.eval.plan_text import eval_plan_text
from llmkit.workflows.eval.plan import EvalPlan

PLAN = EvalPlan(
    model="m", reference=None, parameters=1000, dtype="float32", device="cpu", kernels="native", threads=2,
    context=64, texts=3, prompt_tokens=90, longest_tokens=40, written_tokens=0, texts_at_once=16,
    weight_bytes=4000, kv_bytes=2048, memory_bytes=1 << 20, memory_available_bytes=1 << 30, notes=("look",),
)  # fmt: skip


def test_what_is_read_written_and_needed_is_there() -> None:
    text = eval_plan_text(PLAN)
    assert "3 texts, 16 texts at once" in text and "90 tokens read\n" in text and "40 tokens of 64" in text
    assert "1.0 MiB of 1.0 GiB available" in text and text.endswith("note     look")


def test_another_model_and_tokens_that_are_written_are_told() -> None:
    from msgspec.structs import replace

    text = eval_plan_text(replace(PLAN, reference="r", written_tokens=12, notes=()))
    assert "m  (1.00k parameters), beside r" in text or ", beside r" in text
    assert "90 tokens read, 12 tokens written at most" in text and "note" not in text
