"""The report of eval ppl, for people."""

import msgspec

from llmkit.commands.eval.ppl_text import ppl_text
from llmkit.probe.evaluate.headline import Headline
from llmkit.probe.evaluate.intervals import Interval
from llmkit.workflows.eval.ppl import PplReport


def _report(bits: float | None) -> PplReport:
    return PplReport(
        model="m", like="llama.cpp", window=512, stride=512, records=2, tokens=1030, scored_tokens=510,
        bytes=2000, nll=1.0, nll_error=0.1, perplexity=2.71828, perplexity_error=0.27,
        interval=Interval(low=2.0, high=3.5, method="by hand"), nll_cluster_error=0.1, bits_per_byte=bits,
        bits_per_token=1.442695, work={},
        headline=Headline(name="perplexity", value=1, error=0, better="lower"),
        seconds=1.25, notes=(),
    )  # fmt: skip


def test_every_figure_is_there_with_its_unit() -> None:
    text = ppl_text(_report(0.5))
    for part in (
        *("m: perplexity", "2.7183 ± 0.2700", "2.0000 to 3.5000: by hand", "0.5000 per byte, 1.4427 per"),
        *("510 tokens of 1,030, 2 records, 2,000 bytes", "512 tokens, stride 512, as llama.cpp"),
    ):
        assert part in " ".join(text.split())


def test_tokens_that_stand_for_no_text_have_no_bits_per_byte() -> None:
    assert "no text, 1.4427 per token" in ppl_text(_report(None))


def test_one_token_has_no_interval_and_the_report_says_why() -> None:
    assert "not known of one token" in ppl_text(msgspec.structs.replace(_report(0.5), interval=None))
