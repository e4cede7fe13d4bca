"""Answers of `llmkit kv-estimate` as text: the unknown, training, and formulas with their numbers."""

import textwrap
from typing import TYPE_CHECKING

from llmkit.commands.facts import plural, visible
from llmkit.commands.shared import align
from llmkit.commands.values import format_bytes

if TYPE_CHECKING:
    from llmkit.workflows.kv_estimate.explain import ExplainedLine, Explanation
    from llmkit.workflows.kv_estimate.solve import Solution
    from llmkit.workflows.kv_estimate.training import TrainingEstimate

NOT_COUNTED = "not counted: the CUDA context, fragmentation, buffers of communication, the program itself"


def solution_text(solution: "Solution", *, width: int) -> str:
    """The answer in a sentence, and for a format all that were tried."""
    lines = textwrap.wrap(visible(_answer(solution)), width)
    if solution.rungs:
        rows = [("format", "weights", "total", "fits")]
        rows += [
            (one.dtype, format_bytes(one.weights_bytes), format_bytes(one.total_bytes), _yes(one.fits))
            for one in solution.rungs
        ]
        lines += ["", align(rows, right=(1, 2), indent=2)]
    return "\n".join(lines)


def training_text(one: "TrainingEstimate", *, width: int) -> str:
    """What a device holds, part by part."""
    settings = one.settings
    how = [
        plural(one.parameters, "parameter"),
        *([f"{one.trained_parameters:,} trained"] if one.trained_parameters != one.parameters else []),
        f"{settings['optimizer']} in {settings['precision']}",
        f"{plural(settings['micro_batch'], 'row')} of {plural(settings['seq_len'], 'token')}",
        f"recompute {settings['recompute']}",
    ]
    split = [
        f"{word} {settings[name]}"
        for name, word, whole in (
            *(("data_parallel", "data parallel", 1), ("zero", "ZeRO", 0)),
            *(("tensor_parallel", "tensor parallel", 1), ("pipeline_parallel", "pipeline", 1)),
        )
        if settings[name] != whole
    ]
    split += [f"micro-batches {settings['micro_batches']}"] if settings["micro_batches"] else []
    split += ["sequence parallel"] if settings["sequence_parallel"] else []
    rows = [
        ("weights", one.weights_bytes),
        ("gradients", one.gradients_bytes),
        ("master weights", one.master_weights_bytes),
        ("optimiser", one.optimizer_bytes),
        ("gathered", one.gathered_bytes),
        ("activations", one.activations_bytes),
        ("a device", one.total_bytes),
    ]
    figures = [(name, format_bytes(size), f"{size:,}") for name, size in rows if size]
    lines = textwrap.wrap(visible(f"training {one.model or 'the model'}: {', '.join([*how, *split])}"), width)
    lines += ["", align(figures, right=(1, 2), indent=2), ""]
    if one.memory_bytes is not None:
        rest = one.memory_bytes - one.total_bytes
        verdict = f"fits {format_bytes(one.memory_bytes)} with {format_bytes(rest)} to spare"
        if rest < 0:
            verdict = f"{format_bytes(-rest)} more than {format_bytes(one.memory_bytes)}"
        lines.append(f"  {verdict}")
    estimate = "activations are an estimate; the rest is exact"
    return "\n".join([*lines, *textwrap.wrap(f"  {estimate}; {NOT_COUNTED}", width, subsequent_indent="  ")])


def explanation_text(one: "Explanation", *, width: int) -> str:
    """Each section's lines, and what they add up to."""
    lines = [visible(f"{one.model or 'the model'}, line by line")]
    for name, section in (
        ("parameters", one.parameters),
        ("weights", one.weights),
        ("KV cache", one.kv_cache),
    ):
        if section:
            lines += ["", *_section(name, section, width)]
    return "\n".join(lines)


def _section(name: str, section: "list[ExplainedLine]", width: int) -> list[str]:
    total, unit = sum(line.result for line in section), section[0].unit
    lines = [f"{name}: {total:,} {unit}"]
    for line in section:
        start = f"  {line.what}: "
        same = line.numbers.replace(",", "") == str(line.result)
        words = line.formula if same else f"{line.formula} = {line.numbers}"
        lines += textwrap.wrap(
            visible(f"{start}{words} = {line.result:,}"),
            width,
            subsequent_indent="      ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    sources = dict.fromkeys(line.source for line in section if line.source)
    lines += textwrap.wrap(
        f"  source: {'; '.join(sources)}", width, subsequent_indent="      ", break_on_hyphens=False
    )
    return lines


def _answer(one: "Solution") -> str:
    name, memory = one.model or "the model", format_bytes(one.memory_bytes)
    batch = plural(one.batch or 0, "sequence")
    at = f"{batch} of {plural(one.context or 0, 'token')}"
    if one.unbounded:
        return f"{name}: no {one.unknown} is too large for {memory}: its cache does not grow with it"
    if one.answer is None:
        return f"{name}: nothing fits {memory}"
    if one.unknown == "context":
        beyond = one.largest_positions is not None and (one.context or 0) > one.largest_positions
        limit = f"; the model has {one.largest_positions:,} positions" if beyond else ""
        return f"{name}: {batch} of up to {one.context:,} tokens in {memory}{limit}"
    if one.unknown == "batch":
        return f"{name}: {at} in {memory}"
    if one.unknown == "quant":
        return f"{name}: {one.dtype} is the widest format that fits {memory} with {at}"
    return (
        f"a model with the cache of {name}: up to {one.parameters:,} parameters "
        f"of {one.bits_per_weight:.2f} bits in {memory} with {at}"
    )


def _yes(fits: bool) -> str:
    return "yes" if fits else "no"
