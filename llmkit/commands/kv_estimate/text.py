"""Memory of models as text: one model with the arithmetic behind it, several as a table."""

import textwrap
from typing import TYPE_CHECKING

from llmkit.commands.facts import Facts, facts_lines, plural, visible
from llmkit.commands.shared import align
from llmkit.commands.values import format_bytes
from llmkit.estimate.dtypes import STORAGE, WITHOUT_SCALES

if TYPE_CHECKING:
    from llmkit.workflows.kv_estimate.report import KVEstimate

NARROWEST_NAME, LONGEST_NAME = 10, 32
NOT_COUNTED = ("workspace", "the program itself")


def estimates_text(estimates: "list[KVEstimate]", *, width: int) -> str:
    """One model line by line, or a row for each of several, and what the figures leave out."""
    lines = _one(estimates[0], width) if len(estimates) == 1 else _table(estimates, width)
    return "\n".join([*lines, "", *facts_lines(_remarks(estimates), width)])


def _one(one: "KVEstimate", width: int) -> list[str]:
    tokens = plural(one.context, "token")
    rows = [
        ("weights", one.weights_bytes, _weights(one)),
        ("KV cache", one.kv_bytes, f"{plural(one.batch, 'sequence')} of {tokens} in {one.kv_dtype}"),
        ("activations", one.activations_bytes, "an estimate"),
        ("total", one.total_bytes, _verdict(one)),
        ("sequence", one.kv_bytes_per_sequence, f"{tokens} in the KV cache"),
        ("token", one.kv_bytes_per_token, _token(one)),
    ]
    known = [
        (name, format_bytes(size), f"{size:,}", remark) for name, size, remark in rows if size is not None
    ]
    lines = [*textwrap.wrap(_title(one), width, break_long_words=False), ""]
    lines.append(align(known, right=(1, 2), indent=2, width=width))
    if one.speed is not None:
        from llmkit.commands.kv_estimate.speed_text import speed_lines

        lines += ["", *speed_lines(one, width)]
    return lines


def _title(one: "KVEstimate") -> str:
    heads = [plural(one.num_attention_heads, "head")] if one.num_attention_heads else []
    if one.num_key_value_heads != one.num_attention_heads:
        heads.append(plural(one.num_key_value_heads, "key/value head"))
    if heads:
        heads[-1] += f" of {one.head_dim}"
    kinds = [f"{count} {kind}" for kind, count in one.layers_by_cache.items()]
    layers = plural(one.num_hidden_layers, "layer") + (f" ({', '.join(kinds)})" if kinds[1:] else "")
    words = [one.model_type or "KV cache", layers, *heads]
    name = f"{one.model}: " if one.model else ""
    return visible(f"{name}{', '.join(words)}")


def _token(one: "KVEstimate") -> str:
    """The arithmetic of a token where it is one product; --explain has the others."""
    if set(one.layers_by_cache) != {"full"} or one.kv_dtype not in STORAGE or one.tensor_parallel > 1:
        return "in all layers, before a window is full" if "sliding" in one.layers_by_cache else ""
    layers, heads = plural(one.num_hidden_layers, "layer"), plural(one.num_key_value_heads, "head")
    each = STORAGE[one.kv_dtype].bytes_per_value
    return f"2 x {layers} x {heads} x {one.head_dim} x {each:g} bytes"


def _weights(one: "KVEstimate") -> str:
    if one.parameters is None:
        return ""
    stored = ", as stored" if one.weights_source == "files" else ""
    active = f", {one.active_parameters:,} active" if one.active_parameters != one.parameters else ""
    split = f", on each of {one.tensor_parallel} devices" if one.tensor_parallel > 1 else ""
    return f"{plural(one.parameters, 'parameter')}{active} in {one.dtype}{stored}{split}"


def _verdict(one: "KVEstimate") -> str:
    if one.memory_bytes is None or one.total_bytes is None:
        return ""
    rest = one.memory_bytes - one.total_bytes
    if rest < 0:
        return f"{format_bytes(-rest)} more than {format_bytes(one.memory_bytes)}"
    return f"fits {format_bytes(one.memory_bytes)} with {format_bytes(rest)} to spare"


def _table(estimates: "list[KVEstimate]", width: int) -> list[str]:
    """A row a model. What is the same for all stands above the table, not in it."""
    first = estimates[0]
    contexts = [f"{one.context:,}" for one in estimates]
    dtypes = [one.dtype if one.dtype == one.kv_dtype else f"{one.dtype}/{one.kv_dtype}" for one in estimates]
    shared, columns = [f"batch {first.batch:,}"], {}
    for name, values in (("context", contexts), ("dtype", dtypes)):
        if len(set(values)) == 1:
            shared.append(f"{name} {values[0]}")
        else:
            columns[name] = values
    columns["weights"] = [_size(one.weights_bytes) for one in estimates]
    columns["a token"] = [_size(one.kv_bytes_per_token) for one in estimates]
    columns["KV cache"] = [_size(one.kv_bytes) for one in estimates]
    columns["total"] = [_size(one.total_bytes) for one in estimates]
    if first.memory_bytes is not None:
        shared.append(f"memory {format_bytes(first.memory_bytes)}")
        columns["fits"] = ["yes" if one.fits else "no" for one in estimates]
    if first.speed is not None:
        shared.append(f"device {first.speed.device}")
        columns["tokens/s"] = [
            f"{one.speed.tokens_per_second:,.1f}" if one.speed else "" for one in estimates
        ]
    taken = sum(2 + max(map(len, (name, *values))) for name, values in columns.items())
    room = max(width - taken, NARROWEST_NAME)
    names = _ends([visible(one.model or one.model_type or "") for one in estimates], room)
    rows = [("model", *columns), *zip(names, *columns.values(), strict=True)]
    return [", ".join(shared), "", align(rows, right=tuple(range(1, len(columns) + 1)))]


def _remarks(estimates: "list[KVEstimate]") -> Facts:
    """What a reader should know before trusting the figures."""
    dtypes = {one.dtype for one in estimates} | {one.kv_dtype for one in estimates}
    bare = [f"scales of {dtype}" for dtype in WITHOUT_SCALES if dtype in dtypes]
    activations = ["activations"] if any(one.activations_bytes is None for one in estimates) else []
    facts: Facts = [("not counted", [*activations, *NOT_COUNTED, *bare])]
    if any(one.weights_bytes is None for one in estimates):
        needed = "--heads, --hidden-size, --intermediate-size and --vocab-size"
        facts.append(("weights", f"not known: give {needed} too"))
    beyond = [
        f"{one.max_position_embeddings:,} positions of {_end(one.model or 'the model', LONGEST_NAME)}"
        for one in estimates
        if one.max_position_embeddings is not None and one.context > one.max_position_embeddings
    ]
    if beyond:
        facts.append(("context", [f"beyond the {beyond[0]}", *beyond[1:]]))
    if len(estimates) == 1 and estimates[0].largest_batch and estimates[0].largest_context:
        room = f"batch {estimates[0].largest_batch:,}, or context {estimates[0].largest_context:,}"
        facts.append(("at most", room))
    return facts


def _size(size: int | None) -> str:
    return "" if size is None else format_bytes(size)


def _ends(names: list[str], room: int) -> list[str]:
    """Names, or their ends: longer than there is room for where two would look the same."""
    longest = max(map(len, names))
    for length in range(room, longest):
        ends = [_end(name, length) for name in names]
        if len(set(ends)) == len(set(names)):
            return ends
    return names


def _end(name: str, room: int) -> str:
    """A name, or the end of one that is too long."""
    return name if len(name) <= room else f"…{name[1 - room :]}"
