"""A conversion and its plan, for people."""

import math
from typing import Any

from llmkit.commands.facts import Facts, facts_lines, plural, title_line
from llmkit.commands.values import format_count, format_size

_FORMS = {"gguf": "GGUF file", "safetensors": "model folder"}


def convert_text(report: Any, *, width: int) -> str:
    """A ConvertReport as facts."""
    if report.base is not None:
        return _adapter_text(report, width=width)
    facts: Facts = [
        ("from", report.source),
        ("model", f"{report.model_type}, {format_count(report.parameters)} parameters"),
        ("head", "the embedding" if report.tied else "its own"),
        ("weights", f"{report.dtype}, {plural(report.tensors, 'tensor')} in {plural(report.files, 'file')}"),
        ("size", format_size(report.size_bytes)),
        ("tokenizer", _tokenizer(report)),
        ("check", check_text(report.check) if report.check is not None else None),
        *(("note", note) for note in report.notes),
    ]
    return "\n".join([title_line(report.out, _FORMS[report.form]), *facts_lines(facts, width)])


def _adapter_text(report: Any, *, width: int) -> str:
    facts: Facts = [
        ("from", report.source),
        ("of", f"{report.base} ({report.model_type})"),
        ("numbers", f"{format_count(report.parameters)}, {report.dtype}"),
        ("size", format_size(report.size_bytes)),
    ]
    title = title_line(report.out, "adapter", "GGUF file" if report.form == "gguf" else "PEFT folder")
    return "\n".join([title, *facts_lines(facts, width)])


def check_text(check: Any) -> str:
    """`logits differ by up to 2.1e-06 (allowed 1.4e-05), same best token at 100 % of 256 positions`."""
    if not math.isfinite(check.largest_difference):
        return f"logits of what was made are not finite at some of {check.tokens} positions"
    return (
        f"logits differ by up to {check.largest_difference:.2g} (allowed {check.tolerance:.2g}), "
        f"same best token at {check.same_best_share:.1%} of {check.tokens} positions"
    )


def _tokenizer(report: Any) -> str:
    if report.tokenizer_sha256 is None:
        return "none"
    template = "with a chat template" if report.chat_template else "no chat template"
    return f"{report.tokenizer_sha256[:12]}, {template}"
