"""The report of eval kl, for people."""

import torch

from llmkit.commands.eval.kl_text import kl_text
from llmkit.probe.evaluate.headline import Headline
from llmkit.quant.divergence import Divergence
from llmkit.workflows.eval.kl import KlReport


def test_figures_and_percentiles_are_there() -> None:
    found = Divergence()
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(20, 8, generator=generator)
    found.add(
        logits, logits + 0.1 * torch.randn(20, 8, generator=generator), torch.zeros(20, dtype=torch.int64)
    )
    quality = found.report()
    report = KlReport(
        model="m", reference="r", window=64, chunks=3, quality=quality, seconds=0.5, notes=(),
        size_bytes=1, kl=quality.kld, top1_agree=quality.same_top, ppl=quality.perplexity, bpb=1.0,
        work={},
        headline=Headline(name="kl_divergence", value=0, error=0, better="lower"),
    )  # fmt: skip
    lines = kl_text(report).splitlines()
    assert lines[0] == "m: beside r" and f"{quality.kld:.6f}" in lines[1]
    assert "20 positions in 3 chunks of 64 tokens" in kl_text(report)
    assert [line.split()[0] for line in lines[-9:]] == ["99.9", "99", "95", "90", "50", "10", "5", "1", "0.1"]
