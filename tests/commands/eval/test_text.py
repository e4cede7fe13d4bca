"""The reports of eval's subcommands and their plan, for people."""

from typing import Any

import torch
from msgspec.structs import replace

from llmkit.commands.eval.text import (
    diff_text,
    eval_plan_text,
    gen_text,
    kl_text,
    mc_text,
    ppl_text,
    score_text,
)
from llmkit.probe.evaluate.headline import Headline
from llmkit.probe.evaluate.intervals import Interval
from llmkit.quant.divergence import Divergence
from llmkit.workflows.eval.diff import ChangedRecord, ChangeTable, DiffReport
from llmkit.workflows.eval.gen import GenReport, PassAt
from llmkit.workflows.eval.kl import KlReport
from llmkit.workflows.eval.mc_report import GroupAccuracy, McReport
from llmkit.workflows.eval.plan import EvalPlan
from llmkit.workflows.eval.ppl import PplReport
from llmkit.workflows.eval.score import GroupScore, ScoreReport


def _ppl_report(bits: float | None) -> PplReport:
    return PplReport(
        model="m", like="llama.cpp", window=512, stride=512, records=2, tokens=1030, scored_tokens=510,
        bytes=2000, nll=1.0, nll_error=0.1, perplexity=2.71828, perplexity_error=0.27,
        interval=Interval(low=2.0, high=3.5, method="by hand"), nll_cluster_error=0.1, bits_per_byte=bits,
        bits_per_token=1.442695, work={},
        headline=Headline(name="perplexity", value=1, error=0, better="lower"),
        seconds=1.25, notes=(),
    )  # fmt: skip


def test_perplexity_has_every_figure_with_its_unit() -> None:
    text = ppl_text(_ppl_report(0.5))
    for part in (
        *("m: perplexity", "2.7183 ± 0.2700", "2.0000 to 3.5000: by hand", "0.5000 per byte, 1.4427 per"),
        *("510 tokens of 1,030, 2 records, 2,000 bytes", "512 tokens, stride 512, as llama.cpp"),
    ):
        assert part in " ".join(text.split())


def test_tokens_that_stand_for_no_text_have_no_bits_per_byte() -> None:
    assert "no text, 1.4427 per token" in ppl_text(_ppl_report(None))


def test_one_token_has_no_interval_and_the_report_says_why() -> None:
    assert "not known of one token" in ppl_text(replace(_ppl_report(0.5), interval=None))


def test_divergences_have_figures_and_percentiles() -> None:
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


def _mc_report(**given: Any) -> McReport:
    report = McReport(
        model="run", form="mmlu", shots=5, records=1000, acc=0.25, acc_error=0.01, acc_norm=0.5,
        acc_norm_error=0.02, acc_bytes=0.75, acc_bytes_error=0.03, perplexity=None, truncated=0, seconds=1.0,
        interval=Interval(low=0.2, high=0.3, method="by hand"), notes=(),
        groups=[GroupAccuracy(group="law", records=10, acc=0.1, acc_error=0.2, acc_norm=0.3, acc_bytes=0.4)],
        work={},
        headline=Headline(name="acc", value=0.25, error=0.01, better="higher"),
    )  # fmt: skip
    return replace(report, **given)


def test_choices_have_figures_and_groups() -> None:
    text = mc_text(_mc_report())
    assert "1,000 as mmlu has them, 5 examples before each" in text
    assert "acc_norm       0.5000 ± 0.0200" in text
    assert "law           10  0.1000  0.2000    0.3000     0.4000" in text


def test_a_last_word_has_a_perplexity_and_no_lengths() -> None:
    text = mc_text(_mc_report(form="lambada", perplexity=12.5, groups=[]))
    assert "12.5000 of the last word" in text and "acc_norm" not in text


def test_written_answers_have_every_k_and_what_went_wrong() -> None:
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


def test_scores_have_the_share_its_interval_and_groups() -> None:
    report = ScoreReport(
        **{"outputs": "o.jsonl", "match": "gsm8k", "records": 1000, "correct": 250, "score": 0.25},
        **{"nothing_found": 3, "without_output": 7},
        interval=Interval(low=0.22, high=0.28, method="by hand"),
        groups=[GroupScore(group="algebra", records=500, score=0.5)],
        work={},
        headline=Headline(name="accuracy", value=0.25, error=0.01, better="higher"),
    )  # fmt: skip
    lines = score_text(report).splitlines()
    assert lines[0] == "o.jsonl: matched by gsm8k"
    assert lines[1].split("  ")[-1].strip() == "0.2500 (250 of 1,000 right)"
    assert "0.2200 to 0.2800: by hand" in lines[2] and "3 outputs" in lines[3]
    assert "for 7 answers, counted as wrong" in lines[4]
    assert lines[-1].split() == ["algebra", "500", "0.5000"]
    assert "95 % interval  not known of one record" in score_text(replace(report, interval=None))


def test_the_difference_its_test_and_the_records_that_lost_are_there() -> None:
    report = DiffReport(
        a="old", b="new", metric="correct", better="higher", records=20, only_a=1, only_b=0, value_a=0.6,
        value_b=0.25, difference=-0.35, interval=Interval(low=-0.6, high=-0.1, method="by hand"),
        p_value=0.0390625, test="McNemar's, exact",
        table=ChangeTable(both_right=4, lost=8, won=1, both_wrong=7),
        worst=[ChangedRecord(id="q7", before=1, after=0)], verdict="worse",
        headline=Headline(name="difference", value=-0.35, error=0.1, better="higher"), notes=["one thing"],
    )  # fmt: skip
    text = diff_text(report)
    assert text.startswith("A old\nB new\n")
    for part in (
        *("0.6 to 0.25; higher is better", "-0.35", "-0.6 to -0.1: by hand", "0.03906: McNemar's, exact"),
        *("1 record only in A", "1 won, 8 lost; 4 right in both, 7", "worse", "one thing"),
    ):
        assert part in text
    assert text.splitlines()[-1].split() == ["q7", "1", "0"]
    text = diff_text(replace(report, records=1, interval=None))
    assert "95 % interval  not known of one record" in text


PLAN = EvalPlan(
    model="m", reference=None, parameters=1000, dtype="float32", device="cpu", kernels="native", threads=2,
    context=64, texts=3, prompt_tokens=90, longest_tokens=40, written_tokens=0, texts_at_once=16,
    weight_bytes=4000, kv_bytes=2048, memory_bytes=1 << 20, memory_available_bytes=1 << 30, notes=("look",),
)  # fmt: skip


def test_a_plan_has_what_is_read_written_and_needed() -> None:
    text = eval_plan_text(PLAN)
    assert "3 texts, 16 texts at once" in text and "90 tokens read\n" in text and "40 tokens of 64" in text
    assert "1.0 MiB of 1.0 GiB available" in text and text.endswith("note     look")


def test_another_model_and_tokens_that_are_written_are_told() -> None:
    text = eval_plan_text(replace(PLAN, reference="r", written_tokens=12, notes=()))
    assert "m  (1.00k parameters), beside r" in text or ", beside r" in text
    assert "90 tokens read, 12 tokens written at most" in text and "note" not in text
