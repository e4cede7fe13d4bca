"""How a cache's bytes come about: for each sort of layer the formula, its numbers, and where it is from."""

import msgspec

from llmkit.estimate.architecture import Architecture, LayerCache
from llmkit.estimate.cache_dtypes import CacheFormat, cache_format, float_bytes
from llmkit.estimate.cache_layers import HeldLayers, held_layers, is_windowed
from llmkit.estimate.cache_settings import CacheSettings
from llmkit.formats.amount_text import plural

SOURCES = {
    "full": "Pope et al. 2022, arXiv:2211.05102; grouped heads: arXiv:2305.13245",
    "sliding": "Mistral 7B, arXiv:2310.06825",
    "chunked": "Llama 4, transformers models/llama4",
    "latent": "DeepSeek-V2, arXiv:2405.04434",
    "state": "Mamba, arXiv:2312.00752; Gated DeltaNet, arXiv:2412.06464",
    "cross": "Vaswani et al. 2017, arXiv:1706.03762",
    "shared": "Brandon et al. 2024, arXiv:2405.12981",
}
_RESERVED = "vLLM, v1/kv_cache_interface.py"
_PAGED = "PagedAttention, arXiv:2309.06180"
_NAMES = {
    "full": "of full attention",
    "sliding": "of sliding attention",
    "chunked": "of chunked attention",
    "latent": "with a latent (MLA)",
    "state": "with a state",
    "cross": "of cross-attention",
    "shared": "without a cache: another layer's is read",
}


class ExplainLine(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the cache. The parts of a model add up to `cache_bytes(...).total`."""

    what: str
    formula: str
    """In names: `layers x 2 x kv_heads x head_dim x bytes x min(context, window)`."""
    numbers: str
    """The same with numbers, which stay arithmetic when their units are left out."""
    nbytes: int
    source: str


def layers_formula(
    architecture: Architecture, settings: CacheSettings, context: int, batch: int
) -> list[ExplainLine]:
    """A line for each sort of layer, in the order in which the model has them first.

    States have a line for each of their two parts. Layers that keep a shared prefix once have a line for it.

    Raises:
        ConfigError: as `cache_bytes`.
    """
    lines: list[ExplainLine] = []
    for held in held_layers(architecture, settings, context):
        if held.cache.kind == "state":
            lines += _state_lines(held, settings, batch)
        elif held.cache.kind == "shared":
            lines.append(_line(held, "", "0", {}, 0, SOURCES["shared"]))
        else:
            lines += _token_lines(held, settings, context, batch)
    return lines


def _token_lines(held: HeldLayers, settings: CacheSettings, context: int, batch: int) -> list[ExplainLine]:
    """What grows with tokens: of all sequences, or of the shared prefix and then of the rest."""
    cache, stored_as = held.cache, cache_format(settings.kv_dtype)
    per_token = f"{{layers}} x {_token_template(cache, stored_as, settings)}"
    tokens, source = _tokens_template(cache, settings)
    terms = _terms(held, settings, context, batch)
    if stored_as.source and stored_as.source not in source:
        source = f"{source}; {stored_as.source}"
    sequences = "{tokens}" + (" x {batch}" if batch > 1 else "")
    if not held.shared or batch == 1:
        total = held.layers * held.token_bytes * held.stored * batch
        return [_line(held, "", f"{per_token} x {tokens}{sequences}", terms, total, source)]
    once = held.layers * held.token_bytes * held.shared
    rest = held.layers * held.token_bytes * (held.stored - held.shared) * batch
    return [
        _line(held, ": the shared prefix, once", f"{per_token} x {{shared}}{{tokens}}", terms, once, source),
        _line(
            held,
            ": the rest of each sequence",
            f"{per_token} x ({tokens} - {{shared}}){sequences}",
            terms,
            rest,
            source,
        ),
    ]


def _state_lines(held: HeldLayers, settings: CacheSettings, batch: int) -> list[ExplainLine]:
    sequences = " x {batch}" if batch > 1 else ""
    parts = (
        ("recurrent", held.cache.recurrent, held.recurrent_bytes, settings.state_dtype),
        ("conv", held.cache.conv, held.conv_bytes, settings.conv_dtype),
    )
    lines = []
    for name, count, nbytes, dtype in parts:
        if not count:
            continue
        terms = _terms(held, settings, 1, batch)
        terms["count"] = (name, f"{count:,}")
        each = float_bytes(dtype, key=name)
        template = f"{{layers}} x {_split('count', settings)} x {each} B{sequences}"
        total = held.layers * nbytes * batch
        lines.append(_line(held, f": {name}, {dtype}", template, terms, total, SOURCES["state"]))
    return lines


def _token_template(cache: LayerCache, stored_as: CacheFormat, settings: CacheSettings) -> str:
    """Bytes of one token in one layer; `{…}` names are those of `_terms`."""
    if cache.kind == "latent":
        return stored_as.describe("{latent}")
    heads = _split("heads", settings)
    if cache.key_dim == cache.value_dim:
        return f"2 x {heads} x {stored_as.describe('{key_dim}')}"
    return f"{heads} x ({stored_as.describe('{key_dim}')} + {stored_as.describe('{value_dim}')})"


def _tokens_template(cache: LayerCache, settings: CacheSettings) -> tuple[str, str]:
    """Tokens of one sequence, and the source of that rule."""
    source, paged = SOURCES[cache.kind], settings.block_size is not None
    if cache.kind == "cross":
        tokens = "{encoder}"
    elif not is_windowed(cache, settings):
        tokens = "{context}"
    elif settings.max_batched_tokens is None:
        tokens = "min({context}, {window})"
    elif cache.kind == "chunked":
        tokens, source = "min({window} + {batched}, {context})", f"{source}; {_RESERVED}"
    else:
        tokens = "(ceil(min({window} - 1 + {batched}, {context}) / {block}) + 1) x {block}"
        return tokens, f"{source}; {_RESERVED}"
    if paged:
        return f"ceil({tokens} / {{block}}) x {{block}}", f"{source}; {_PAGED}"
    return tokens, source


def _split(name: str, settings: CacheSettings) -> str:
    return f"{{{name}}}" if settings.tensor_parallel == 1 else f"ceil({{{name}}} / {{ranks}})"


def _terms(held: HeldLayers, settings: CacheSettings, context: int, batch: int) -> dict[str, tuple[str, str]]:
    """What stands in templates: its name in a formula, and its number."""
    cache = held.cache
    key_name = "head_dim" if cache.key_dim == cache.value_dim else "key_dim"
    return {
        "layers": ("layers", plural(held.layers, "layer")),
        "heads": ("kv_heads", plural(cache.kv_heads, "head")),
        "key_dim": (key_name, f"{cache.key_dim:,}"),
        "value_dim": ("value_dim", f"{cache.value_dim:,}"),
        "latent": ("latent", f"{cache.latent:,}"),
        "ranks": ("ranks", plural(settings.tensor_parallel, "rank")),
        "context": ("context", f"{context:,}"),
        "window": ("window", f"{cache.window:,}"),
        "encoder": ("encoder_tokens", f"{settings.encoder_tokens or cache.window:,}"),
        "batched": ("max_batched_tokens", f"{settings.max_batched_tokens or 0:,}"),
        "block": ("block_size", f"{settings.block_size or 1:,}"),
        "shared": ("shared", f"{held.shared:,}"),
        "tokens": ("", " tokens"),
        "batch": ("batch", plural(batch, "sequence")),
    }


def _line(
    held: HeldLayers, which: str, template: str, terms: dict[str, tuple[str, str]], nbytes: int, source: str
) -> ExplainLine:
    names = {key: name for key, (name, _) in terms.items()}
    numbers = {key: number for key, (_, number) in terms.items()}
    return ExplainLine(
        what=f"{plural(held.layers, 'layer')} {_NAMES[held.cache.kind]}{which}",
        formula=template.format_map(names),
        numbers=template.format_map(numbers),
        nbytes=nbytes,
        source=source,
    )
