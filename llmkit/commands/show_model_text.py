"""A model as text: what `llmkit show` says about a folder, a safetensors file or a config.json."""

from typing import Any

from llmkit.commands.facts import Facts, facts_lines, indented, plural, title_line
from llmkit.commands.shared import align
from llmkit.commands.values import format_bytes
from llmkit.workflows.show_model import ModelReport, Tensor, Weights


def model_text(report: ModelReport, *, width: int) -> str:
    """A model folder, a safetensors file or a config.json."""
    weights, shape = report.weights, report.shape
    facts: Facts = []
    if weights is not None:
        dtypes = " + ".join(_share_of(name, count, weights) for name, count in weights.dtypes.items())
        files = weights.files[0] if len(weights.files) == 1 else f"{len(weights.files)} files"
        where = f" in {files}" if weights.files else ""
        size = format_bytes(weights.size_bytes)
        facts.append(("weights", f"{weights.parameters:,} parameters, {dtypes}, {size}{where}"))
    facts += [
        (
            "shape",
            shape_words(shape) or (plural(weights.layers, "layer") if weights and weights.layers else None),
        ),
        ("context", context_words(shape)),
        ("vocabulary", _vocabulary(report)),
        ("tokenizer", _tokenizer(report)),
        ("template", None if report.chat_template is None else "yes" if report.chat_template else "none"),
        ("runs here", None if report.supported is not False else f"no: {report.why_not}"),
        ("metadata", ", ".join(f"{key} {value}" for key, value in report.metadata.items()) or None),
        ("made by", report.made_by),
    ]
    title = title_line(report.path, report.kind, report.model_type)
    parts = [] if weights is None else ["", *indented(_parts_table(weights))]
    return "\n".join([title, *facts_lines(facts, width), *parts])


def tensors_text(tensors: list[Tensor]) -> str:
    """Every tensor, one a line."""
    rows = [
        (
            tensor.name,
            tensor.dtype,
            " x ".join(map(str, tensor.shape)) or "scalar",
            format_bytes(tensor.size_bytes),
        )
        for tensor in tensors
    ]
    return align([("tensor", "dtype", "shape", "size"), *rows], right=(3,))


def _share_of(name: str, count: int, weights: Weights) -> str:
    return name if count == weights.parameters else f"{name} ({count / weights.parameters:.1%})"


def shape_words(shape: dict[str, Any]) -> str | None:
    if "num_hidden_layers" not in shape:
        return None
    heads, groups = shape.get("num_attention_heads"), shape.get("num_key_value_heads")
    words = [plural(shape["num_hidden_layers"], "layer"), f"hidden {shape.get('hidden_size')}"]
    if "intermediate_size" in shape:
        words.append(f"mlp {shape['intermediate_size']} {shape.get('hidden_act', '')}".rstrip())
    each = f" of {shape['head_dim']}" if "head_dim" in shape else ""
    few = f", {plural(groups, 'key/value head')}" if groups is not None and groups != heads else ""
    return ", ".join([*words, f"{plural(heads, 'head')}{few}{each}"])


def context_words(shape: dict[str, Any]) -> str | None:
    if "max_position_embeddings" not in shape:
        return None
    rope = f", rope_theta {shape['rope_theta']:,.0f}" if "rope_theta" in shape else ""
    scaling = shape.get("rope_scaling")
    scaled = f", {scaling.get('rope_type', scaling.get('type'))} scaling" if isinstance(scaling, dict) else ""
    return f"{shape['max_position_embeddings']:,} tokens{rope}{scaled}"


def _vocabulary(report: ModelReport) -> str | None:
    size = report.shape.get("vocab_size")
    tied = {True: "embedding and head are one", False: "head of its own", None: None}[report.tied]
    return ", ".join(word for word in (None if size is None else f"{size:,}", tied) if word) or None


def _tokenizer(report: ModelReport) -> str | None:
    found = report.tokenizer
    if found is None:
        return "none" if report.kind in ("model", "checkpoint") else None
    agrees = "" if found.fits else ": more than the embedding has rows"
    return f"{found.vocab_size:,} tokens{agrees}, sha256 {found.sha256[:12]}"


def _parts_table(weights: Weights) -> str:
    whole = weights.parameters or 1
    rows = [
        (part.name, f"{part.tensors:,}", f"{part.parameters:,}", f"{part.parameters / whole:.1%}",
         format_bytes(part.size_bytes))
        for part in weights.parts
    ]  # fmt: skip
    total = ("total", f"{sum(p.tensors for p in weights.parts):,}", f"{weights.parameters:,}", "100.0%",
             format_bytes(weights.size_bytes))  # fmt: skip
    head = ("part", "tensors", "parameters", "share", "size")
    return align([head, *rows, total], right=(1, 2, 3, 4))
