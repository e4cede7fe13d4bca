"""The reports of `llmkit eval`'s subcommands and their plan, for people; tokens and needle have their own."""

from typing import Any

from llmkit.commands.facts import Facts, facts_lines, kernels_of, plural, title_line
from llmkit.commands.shared import align
from llmkit.commands.terminal import text_width
from llmkit.commands.values import format_bytes, format_count, format_need


def ppl_text(report: Any) -> str:
    """A PplReport as facts."""
    facts: Facts = [
        ("perplexity", f"{report.perplexity:.4f} ± {report.perplexity_error:.4f}"),
        ("95 % interval", _interval(report, "token")),
        ("bits", f"{_bits(report)}, {report.bits_per_token:.4f} per token"),
        (
            "scored",
            f"{plural(report.scored_tokens, 'token')} of {report.tokens:,}, "
            f"{plural(report.records, 'record')}, {plural(report.bytes, 'byte')}",
        ),
        (
            "windows",
            f"{plural(report.window, 'token')}, stride {report.stride:,}, as {report.like} has them",
        ),
        ("took", f"{report.seconds:.1f} s"),
    ]
    return "\n".join([title_line(report.model, "perplexity"), *facts_lines(facts, text_width())])


def _interval(report: Any, one: str) -> str:
    """Where a figure lies; `one`: of what a single one tells nothing."""
    found = report.interval
    return (
        f"not known of one {one}" if found is None else f"{found.low:.4f} to {found.high:.4f}: {found.method}"
    )


def _bits(report: Any) -> str:
    return "no text" if report.bits_per_byte is None else f"{report.bits_per_byte:.4f} per byte"


def kl_text(report: Any) -> str:
    """A KlReport as facts, and a table of percentiles."""
    quality = report.quality
    facts: Facts = [
        ("KL divergence", f"{quality.kld:.6f} ± {quality.kld_error:.6f}, most {quality.kld_max:.4g}"),
        ("same best token", f"{quality.same_top:.3%} ± {quality.same_top_error:.3%}"),
        ("change of p", f"{quality.delta_p:+.3%}, root mean square {quality.delta_p_rms:.3%}"),
        (
            "perplexity",
            f"{quality.perplexity_base:.4f} to {quality.perplexity:.4f}, "
            f"times {quality.ratio:.6f} ± {quality.ratio_error:.6f}",
        ),
        (
            "compared",
            f"{plural(quality.positions, 'position')} in {plural(report.chunks, 'chunk')} "
            f"of {report.window:,} tokens",
        ),
        ("took", f"{report.seconds:.1f} s"),
    ]
    rows = [("percentile", "KL divergence", "change of p")]
    rows += [
        (f"{name} %", f"{kld:.6f}", f"{quality.delta_p_percentiles[name]:+.3%}")
        for name, kld in quality.kld_percentiles.items()
    ]
    title = title_line(report.model, f"beside {report.reference}")
    return "\n".join([title, *facts_lines(facts, text_width()), "", align(rows, right=(0, 1, 2))])


def mc_text(report: Any) -> str:
    """A McReport as facts, and a table of its groups."""
    shots = f", {plural(report.shots, 'example')} before each" if report.shots else ""
    facts: Facts = [("questions", f"{report.records:,} as {report.form} has them{shots}")]
    if report.perplexity is None:
        facts += [
            (name, f"{getattr(report, name):.4f} ± {getattr(report, f'{name}_error'):.4f}")
            for name in ("acc", "acc_norm", "acc_bytes")
        ]
    else:
        facts += [
            ("acc", f"{report.acc:.4f} ± {report.acc_error:.4f}"),
            ("perplexity", f"{report.perplexity:.4f} of the last word"),
        ]
    facts += [
        ("95 % interval", _interval(report, "question")),
        ("took", f"{report.seconds:.1f} s"),
    ]
    lines = [title_line(report.model, "multiple choice"), *facts_lines(facts, text_width())]
    if report.groups:
        rows = [("group", "questions", "acc", "±", "acc_norm", "acc_bytes")]
        rows += [
            (
                *(one.group, f"{one.records:,}", f"{one.acc:.4f}", f"{one.acc_error:.4f}"),
                *(f"{one.acc_norm:.4f}", f"{one.acc_bytes:.4f}"),
            )
            for one in report.groups
        ]
        lines += ["", align(rows, right=(1, 2, 3, 4, 5))]
    return "\n".join(lines)


def gen_text(report: Any) -> str:
    """A GenReport as facts."""
    shots = f", {plural(report.shots, 'example')} before each" if report.shots else ""
    facts: Facts = [
        (
            "tasks",
            f"{report.tasks:,} as {report.form} has them, {plural(report.samples, 'sample')} each{shots}",
        ),
        *((f"pass@{one.k}", f"{one.value:.4f} ± {one.error:.4f}") for one in report.pass_at),
        ("score", f"{report.score:.4f} ± {report.score_error:.4f}, judged by {report.judged_by}"),
        ("nothing found", f"in {plural(report.nothing_found, 'text')}" if report.nothing_found else None),
        ("cut off", f"{plural(report.cut_off, 'text')} by --max-tokens" if report.cut_off else None),
        ("took", f"{report.seconds:.1f} s, {plural(report.completion_tokens, 'token')} written"),
    ]
    return "\n".join([title_line(report.model, "written answers"), *facts_lines(facts, text_width())])


def score_text(report: Any) -> str:
    """A ScoreReport as facts, and a table of its groups."""
    missing = report.without_output
    facts: Facts = [
        (report.headline.name, f"{report.score:.4f} ({report.correct:,} of {report.records:,} right)"),
        ("95 % interval", _interval(report, "record")),
        ("nothing found", plural(report.nothing_found, "output") if report.nothing_found else None),
        ("no output", f"for {plural(missing, 'answer')}, counted as wrong" if missing else None),
    ]
    lines = [title_line(report.outputs, f"matched by {report.match}"), *facts_lines(facts, text_width())]
    if report.groups:
        rows = [("group", "records", "score")]
        rows += [(one.group, f"{one.records:,}", f"{one.score:.4f}") for one in report.groups]
        lines += ["", align(rows, right=(1, 2))]
    return "\n".join(lines)


def diff_text(report: Any) -> str:
    """A DiffReport as facts, and the records that lost most."""
    interval, table = report.interval, report.table
    told = "not known of one record" if report.records == 1 else None
    if interval is not None:
        told = f"{interval.low:+.6g} to {interval.high:+.6g}: {interval.method}"
    alone = [
        f"{plural(count, 'record')} only in {name}"
        for count, name in ((report.only_a, "A"), (report.only_b, "B"))
        if count
    ]
    facts: Facts = [
        (report.metric, f"{report.value_a:.6g} to {report.value_b:.6g}; {report.better} is better"),
        ("difference", f"{report.difference:+.6g}"),
        ("95 % interval", told),
        ("p-value", f"{report.p_value:.4g}: {report.test}" if report.p_value is not None else None),
        ("records", plural(report.records, "pair") if report.records is not None else None),
        ("left out", alone),
        (
            "changed",
            f"{table.won:,} won, {table.lost:,} lost; {table.both_right:,} right in both, "
            f"{table.both_wrong:,} wrong in both"
            if table is not None
            else None,
        ),
        ("verdict", report.verdict),
        *(
            (one.metric, f"{one.before:.6g} to {one.after:.6g}: {one.increase:+.2%} of {one.most * 100:+g}%")
            for one in report.increases
        ),
        *(("note", note) for note in report.notes),
    ]
    lines = [f"A {report.a}", f"B {report.b}", *facts_lines(facts, text_width())]
    if report.worst:
        rows = [("lost most", "A", "B")]
        rows += [(one.id, f"{one.before:.6g}", f"{one.after:.6g}") for one in report.worst]
        lines += ["", align(rows, right=(1, 2))]
    return "\n".join(lines)


def eval_plan_text(plan: Any) -> str:
    """An EvalPlan as a table."""
    both = "" if plan.reference is None else f", beside {plan.reference}"
    written = f", {plural(plan.written_tokens, 'token')} written at most" if plan.written_tokens else ""
    rows = [
        ("model", f"{plan.model}  ({format_count(plan.parameters)} parameters){both}"),
        ("runs on", f"{plan.device}, {plan.dtype}, {plural(plan.threads, 'thread')}, {kernels_of(plan)}"),
        ("texts", f"{plural(plan.texts, 'text')}, {plural(plan.texts_at_once, 'text')} at once"),
        ("tokens", f"{plural(plan.prompt_tokens, 'token')} read{written}"),
        ("longest", f"{plural(plan.longest_tokens, 'token')} of {plan.context:,}"),
        ("weights", format_bytes(plan.weight_bytes)),
        ("cache", format_bytes(plan.kv_bytes)),
        ("memory", format_need(plan.memory_bytes, plan.memory_available_bytes, "available")),
        *(("note", note) for note in plan.notes),
    ]
    return align(rows)
