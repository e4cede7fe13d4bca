"""What differs in the tensors of two artefacts, as text: a table, the largest difference first."""

from llmkit.commands.facts import Facts, facts_lines, plural, visible
from llmkit.commands.shared import align
from llmkit.workflows.diff.tensors import TensorDiff, TensorForm, TensorsDiff

_SHOWN = 20
_NAMES_SHOWN = 6


def tensors_lines(report: TensorsDiff, width: int) -> list[str]:
    """A headline, the tensors that differ, and what is in one only."""
    found = [f"{len(report.changed):,} of {report.in_both:,} differ"] if report.changed else []
    found += [f"{len(report.only_a):,} only in A"] if report.only_a else []
    found += [f"{len(report.only_b):,} only in B"] if report.only_b else []
    found += ["names differ by a prefix"] if report.prefix else []
    said = "same" if report.same else ", ".join(found)
    lines = [f"tensors: {said}{_how(report)}"]
    if report.changed:
        ranked = sorted(report.changed, key=_rank)
        rows = [("tensor", "A", "B", "max", "mean", "rel. rms", "values"), *map(_row, ranked[:_SHOWN])]
        lines += align(rows, right=(3, 4, 5, 6), indent=2).split("\n")
        lines += [f"  and {len(ranked) - _SHOWN:,} more (--json has them)"] * (len(ranked) > _SHOWN)
    return [*lines, *facts_lines(_facts(report), width)]


def _how(report: TensorsDiff) -> str:
    """What was looked at."""
    tensors = plural(report.in_both, "tensor")
    return (
        f" ({tensors}, headers only)" if report.values is None else f" ({tensors}, {report.values:,} values)"
    )


def _facts(report: TensorsDiff) -> Facts:
    facts: Facts = []
    if report.max_tensor is not None and report.max_abs is not None:
        facts.append(("largest", f"{report.max_abs:.3g} in {report.max_tensor}"))
    if report.prefix is not None:
        a, b = (one or "nothing" for one in (report.prefix.a, report.prefix.b))
        tensors = plural(report.prefix.tensors, "tensor")
        facts.append(("prefix", f"{tensors} begin with {a} in A and with {b} in B; compared all the same"))
    for tie in report.tied:
        why = "the same values" if tie.checked else "the other config.json ties them"
        facts.append(
            ("tied", f"{tie.name} is stored in {tie.only.upper()} only and is {tie.embedding} there: {why}")
        )
    facts += [("only in A", _names(report.only_a)), ("only in B", _names(report.only_b))]
    for one in report.changed:
        values = one.values
        if values is not None and (values.nan_a, values.infinite_a) != (values.nan_b, values.infinite_b):
            nan, infinite = (
                f"{count_a:,} and {count_b:,} {word}"
                for word, count_a, count_b in (
                    ("NaN", values.nan_a, values.nan_b),
                    ("infinite", values.infinite_a, values.infinite_b),
                )
            )
            facts.append(("not finite", f"{one.a.name}: {nan}, {infinite} in A and B"))
    return facts


def _names(tensors: list[TensorForm]) -> list[str]:
    shown = [f"{visible(one.name)} {_form(one)}" for one in tensors[:_NAMES_SHOWN]]
    return shown + ([f"and {len(tensors) - _NAMES_SHOWN:,} more"] if len(tensors) > _NAMES_SHOWN else [])


def _rank(one: TensorDiff) -> float:
    """Other shapes first, then by the largest difference."""
    if one.values is None or one.values.max_abs is None:
        return -float("inf")
    return -one.values.max_abs


def _row(one: TensorDiff) -> tuple[str, ...]:
    same_form = (one.a.dtype, one.a.shape) == (one.b.dtype, one.b.shape)
    forms = (_form(one.a), "=" if same_form else _form(one.b))
    values = one.values
    if values is None:
        return (visible(one.a.name), *forms, "-", "-", "-", "-")
    share = "as bytes" if values.differing is None else f"{values.differing / max(1, values.values):.1%}"
    figures = (values.max_abs, values.mean_abs, values.relative_rms)
    return (visible(one.a.name), *forms, *("-" if one is None else f"{one:.2g}" for one in figures), share)


def _form(one: TensorForm) -> str:
    return f"{one.dtype} {'x'.join(map(str, one.shape)) or 'scalar'}"
