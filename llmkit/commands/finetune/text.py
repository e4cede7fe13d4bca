"""A fine-tuning run and its plan, for people."""

from typing import Any

from llmkit.commands.facts import plural
from llmkit.commands.plan_text import end_rows, epochs, evaluation_rows, how_rows, need_rows, run_rows
from llmkit.commands.shared import align
from llmkit.commands.values import format_count

_FIGURES = ("reward_accuracy", "reward_margin", "reward", "kl")


def describe_plan(plan: Any) -> str:
    """A FinetunePlan as a table."""
    trained = f"{format_count(plan.trained_parameters)} of them trained"
    if plan.kind.endswith("lora"):
        trained = f"and {format_count(plan.trained_parameters)} in adapters, which are trained"
    answers = f" with {plan.answers_per_row} answers each" if plan.answers_per_row > 1 else ""
    rows: list[tuple[str, ...]] = [
        ("model", f"{format_count(plan.parameters)} parameters, {trained}"),
        ("method", f"{plan.method}, {plan.kind.replace('_', ' ')}"),
        *_audit(plan.audit),
        ("rows", f"{plan.rows:,} of at most {plural(plan.seq_len, 'token')}; validation {plan.valid_rows:,}"),
        ("run", f"{plural(plan.steps, 'step')} of {plural(plan.batch_rows, 'row')}{answers}, {epochs(plan)}"),
        *how_rows(plan),
        *need_rows(plan),
        *evaluation_rows(plan),
        *end_rows(plan),
    ]
    return align(rows)


def describe_report(report: Any) -> str:
    """A FinetuneReport as a table, and what the model wrote before and after."""
    early = f" of {report.planned_steps:,}, ended early" if report.steps < report.planned_steps else ""
    rows: list[tuple[str, ...]] = [
        (report.kind, f"{report.out}  ({format_count(report.trained_parameters)} parameters trained)"),
        ("steps", f"{report.steps:,}{early}  ({format_count(report.tokens)} tokens learnt)"),
        *_audit(report.audit),
    ]
    if report.loss is not None:
        rows.append(("loss", f"{report.loss:.4f}"))
    if report.valid_loss is not None:
        base = "" if report.valid_loss_base is None else f"{report.valid_loss_base:.4f} before, "
        rows.append(("validation", f"{base}{report.valid_loss:.4f} at step {report.best_step:,}"))
    for name in _FIGURES:
        if name in report.valid:
            rows.append((name.replace("_", " "), f"{report.valid[name]:.4g}{_interval(report, name)}"))
    if report.kl_to_base is not None:
        rows.append(("KL to base", f"{report.kl_to_base:.4g} nats a token"))
    return "\n".join([align([*rows, *run_rows(report)]), *map(_sample, report.samples)])


def _audit(audit: Any) -> list[tuple[str, ...]]:
    learnt, tokens = audit.learnt_tokens, audit.tokens
    share = f"{format_count(learnt)} of {format_count(tokens)} tokens learnt ({learnt / max(1, tokens):.0%})"
    rows: list[tuple[str, ...]] = [
        ("examples", f"{audit.examples:,} of {plural(audit.records, 'record')}; {share}")
    ]
    for rule, count in audit.faults.items():
        rows.append(("fault", f"{rule}: {count:,} ({audit.first[rule]})"))
    return rows


def _interval(report: Any, name: str) -> str:
    if name != "reward_accuracy" or report.reward_accuracy_interval is None:
        return ""
    low, high = report.reward_accuracy_interval
    return f"  (95 %: {low:.4g} to {high:.4g})"


def _sample(sample: Any) -> str:
    before = "" if sample.before is None else f"\n  before: {sample.before}"
    return f"\n> {sample.prompt}{before}\n  after:  {sample.after}"
