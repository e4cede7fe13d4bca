"""A model as text: what `llmkit show` says about a folder, a safetensors file or a config.json."""

from collections.abc import Iterable
from typing import Any

from llmkit.commands.facts import Facts, facts_lines, plural, title_line, visible
from llmkit.commands.shared import align
from llmkit.commands.terminal import columns_of
from llmkit.commands.values import format_bytes
from llmkit.workflows.show.metadata import Entry
from llmkit.workflows.show.model import ModelReport, Tensor, Weights

_LEAST_OF_A_VALUE, _VALUES_SHOWN = 20, 5


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
    parts = [] if weights is None else ["", _parts_table(weights)]
    return "\n".join([title, *facts_lines(facts, width), *parts])


def tensors_text(tensors: list[Tensor]) -> str:
    """Every tensor, one a line."""
    rows = [
        (
            visible(tensor.name),
            tensor.dtype,
            " x ".join(map(str, tensor.shape)) or "scalar",
            format_bytes(tensor.size_bytes),
        )
        for tensor in tensors
    ]
    return align([("tensor", "dtype", "shape", "size"), *rows], right=(3,))


def metadata_text(entries: Iterable[Entry], *, width: int) -> str:
    """Keys, types and values, one a line; what is too long for it is cut, which --json leaves whole."""
    rows = [(one.key, one.type, _listed(one.value)) for one in entries]
    names = sum(max((columns_of(row[column]) for row in rows), default=0) + 2 for column in (0, 1))
    room = max(width - names, _LEAST_OF_A_VALUE)
    cut = [
        (key, kind, text if len(text) <= room else f"{text[: room - 1]}…")
        for key, kind, text in ((key, kind, visible(text)) for key, kind, text in rows)
    ]
    return align([("key", "type", "value"), *cut])


def _listed(value: Any) -> str:
    """A value in a row: of an array its length and the first few."""
    if not isinstance(value, list):
        return str(value)
    more = ", …" if len(value) > _VALUES_SHOWN else ""
    return f"{len(value):,}: {', '.join(map(repr, value[:_VALUES_SHOWN]))}{more}"


def _share_of(name: str, count: int, weights: Weights) -> str:
    return name if count == weights.parameters else f"{name} ({count / weights.parameters:.1%})"


def shape_words(shape: dict[str, Any]) -> str | None:
    """`4 layers, hidden 128, mlp 352 silu, 4 heads, 2 key/value heads of 32`, as far as config.json tells."""
    layers, heads, groups = (
        shape.get(f"num_{name}") for name in ("hidden_layers", "attention_heads", "key_value_heads")
    )
    if not isinstance(layers, int):
        return None
    words = [plural(layers, "layer")]
    if "hidden_size" in shape:
        words.append(f"hidden {shape['hidden_size']}")
    if "intermediate_size" in shape:
        words.append(f"mlp {shape['intermediate_size']} {shape.get('hidden_act', '')}".rstrip())
    if isinstance(heads, int):  # a model without attention has none
        few = f", {plural(groups, 'key/value head')}" if isinstance(groups, int) and groups != heads else ""
        each = f" of {shape['head_dim']}" if "head_dim" in shape else ""
        words.append(f"{plural(heads, 'head')}{few}{each}")
    return ", ".join(words)


def context_words(shape: dict[str, Any]) -> str | None:
    """`2,048 tokens, rope_theta 10,000, linear scaling`, as far as config.json tells."""
    if "max_position_embeddings" not in shape:
        return None
    rope = f", rope_theta {_figure(shape['rope_theta'])}" if "rope_theta" in shape else ""
    scaling = shape.get("rope_scaling")
    scaled = f", {scaling.get('rope_type', scaling.get('type'))} scaling" if isinstance(scaling, dict) else ""
    return f"{_figure(shape['max_position_embeddings'])} tokens{rope}{scaled}"


def _figure(value: Any) -> str:
    """A number with its thousands apart; what else a foreign config.json may hold there, as it is."""
    return f"{value:,.0f}" if isinstance(value, int | float) else str(value)


def _vocabulary(report: ModelReport) -> str | None:
    size = report.shape.get("vocab_size")
    tied = {True: "embedding and head are one", False: "head of its own", None: None}[report.tied]
    return ", ".join(word for word in (None if size is None else _figure(size), tied) if word) or None


def _tokenizer(report: ModelReport) -> str | None:
    found = report.tokenizer
    if found is None:
        return "none" if report.kind in ("model", "checkpoint", "gguf") else None
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
    return align([head, *rows, total], right=(1, 2, 3, 4), indent=2)
