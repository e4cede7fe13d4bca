"""The report of eval gen, for people."""

from llmkit.commands.eval.gen_text import gen_text
from llmkit.probe.evaluate.headline import Headline
from llmkit.workflows.eval.gen import GenReport, PassAt


def test_every_k_and_what_went_wrong_is_there() -> None:
    report = GenReport(
        model="run", form="gsm8k", judged_by="gsm8k", shots=0, tasks=20, samples=4, score=0.5,
        score_error=0.1,
        pass_at=[PassAt(k=1, value=0.5, error=0.1), PassAt(k=4, value=0.75, error=0.2)], nothing_found=3,
        cut_off=1, completion_tokens=1234, seconds=2.0, notes=(),
        work={},
        headline=Headline(name="pass@1", value=0.5, error=0.1, better="higher"),
    )  # fmt: skip
    text = gen_text(report)
    assert "20 as gsm8k has them, 4 samples each" in text
    assert "pass@4         0.7500 ± 0.2000" in text
    assert "in 3 texts" in text and "1 text by --max-tokens" in text
