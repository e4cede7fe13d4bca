"""How far back each layer looks: what `layer_types` says, or else the rule of the family's class.

A rule takes the keys and the number of layers, and gives the layers' kinds and the window in tokens.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Literal

from llmkit.model.keys import Keys

Kind = Literal["full", "sliding", "chunked", "state"]
Kinds = tuple[tuple[Kind, ...], int]
"""First layer to last; and the tokens of a window or chunk, 0 where there is none."""
KindsRule = Callable[[Keys, int], Kinds]
_NAMES: dict[str, Kind] = {
    "full_attention": "full",
    "sliding_attention": "sliding",
    "chunked_attention": "chunked",
    "linear_attention": "state",
    "conv": "state",
}
_MAMBA: dict[str, Kind] = {
    **{"mamba": "state", "attention": "full"},
    **{"linear_attention": "state", "full_attention": "full"},  # what transformers 5 calls them
}


def layers_of(kinds: Sequence[str], kind: str) -> tuple[int, ...]:
    """The layers that are of a kind."""
    return tuple(layer for layer, one in enumerate(kinds) if one == kind)


def layer_words(layers: int, some: Collection[int], word: str, others: str = "full_attention") -> list[str]:
    """`layer_types` of a model of so many layers: `word` for some, another one for the others."""
    return [word if layer in some else others for layer in range(layers)]


def no_window(keys: Keys, layers: int) -> Kinds:
    """Every layer sees everything: the class knows no window."""
    kinds: list[Kind] = ["full"] * layers
    return _given(keys, kinds, ("full",)), 0


def one_window(default: int | None, *, used: bool = True) -> KindsRule:
    """All layers slide where there is a sliding_window, and use_sliding_window (or else `used`) is true."""

    def rule(keys: Keys, layers: int) -> Kinds:
        window = _window(keys, default, used=used)
        kinds: list[Kind] = ["sliding" if window else "full"] * layers
        return _sliding(keys, kinds, window)

    return rule


def every(period: int, default_window: int, period_key: str | None = None) -> KindsRule:
    """The last of each `period` layers sees everything, the others a window."""

    def rule(keys: Keys, layers: int) -> Kinds:
        keys.known("use_sliding_window", "sliding_window_size")  # the window once more, in Gemma-2's files
        length = period if period_key is None else keys.whole(period_key, f"_{period_key}", default=period)
        kinds: list[Kind] = ["sliding" if (layer + 1) % length else "full" for layer in range(layers)]
        return _sliding(keys, kinds, keys.optional("sliding_window", default_window))

    return rule


def after_max_window_layers(keys: Keys, layers: int) -> Kinds:
    """Qwen2 and Qwen3: with use_sliding_window, layers from max_window_layers on slide."""
    window, full = _window(keys, 4096), keys.count("max_window_layers", 28)
    kinds: list[Kind] = ["sliding" if window and layer >= full else "full" for layer in range(layers)]
    return _sliding(keys, kinds, window)


def dots1(keys: Keys, layers: int) -> Kinds:
    """dots.llm1: layers from max_window_layers on slide where there is a sliding_window, without a switch."""
    keys.known("use_sliding_window")
    window, full = keys.optional("sliding_window", 4096), keys.count("max_window_layers", 62)
    kinds: list[Kind] = ["sliding" if window and layer >= full else "full" for layer in range(layers)]
    return _sliding(keys, kinds, window)


def odd_before_max_window_layers(keys: Keys, layers: int) -> Kinds:
    """Qwen2-MoE: with use_sliding_window, the first, third, ... layer below max_window_layers slides."""
    window, end = _window(keys, 4096), keys.count("max_window_layers", 28)
    kinds: list[Kind] = [
        "sliding" if window and layer % 2 == 0 and layer < end else "full" for layer in range(layers)
    ]
    return _sliding(keys, kinds, window)


def smollm3(keys: Keys, layers: int) -> Kinds:
    """With use_sliding_window, the layers without rotary positions slide."""
    window, rotary = _window(keys, None), rotary_layers(keys, layers)
    kinds: list[Kind] = ["sliding" if window and not rotates else "full" for rotates in rotary]
    return _sliding(keys, kinds, window)


def exaone4(keys: Keys, layers: int) -> Kinds:
    """The last of each few layers sees everything: sliding_window_pattern has their number, or LLLG."""
    pattern, window = keys.config.get("sliding_window_pattern"), keys.optional("sliding_window", 4096)
    if isinstance(pattern, str):
        keys.known("sliding_window_pattern")
        letters = pattern if window and pattern else "G"
        kinds: list[Kind] = ["sliding" if letters[n % len(letters)] == "L" else "full" for n in range(layers)]
        return _sliding(keys, kinds, window)
    length = keys.optional("sliding_window_pattern", 4) if window else None
    kinds = ["sliding" if length and (layer + 1) % length else "full" for layer in range(layers)]
    return _sliding(keys, kinds, window)


def llama4(keys: Keys, layers: int) -> Kinds:
    """The layers with rotary positions look back to the start of their chunk only."""
    chunk, rotary = keys.optional("attention_chunk_size", 8192), rotary_layers(keys, layers)
    kinds: list[Kind] = ["chunked" if chunk and rotates else "full" for rotates in rotary]
    kinds = list(_given(keys, kinds, ("full", "chunked")))
    if "chunked" in kinds and not chunk:
        keys.wrong("attention_chunk_size", "a number of tokens, which chunked_attention needs")
    return tuple(kinds), chunk or 0


def linear_but_every(keys: Keys, layers: int) -> Kinds:
    """Qwen3-Next: the last of each full_attention_interval layers is attention, the others keep a state."""
    period = keys.whole("full_attention_interval", default=4)
    kinds: list[Kind] = ["state" if (layer + 1) % period else "full" for layer in range(layers)]
    return _given(keys, kinds, ("full", "state")), 0


def conv_but_some(keys: Keys, layers: int) -> Kinds:
    """LFM2: the layers of full_attn_idxs are attention, all where there is none; the others a convolution."""
    attend = keys.numbers("full_attn_idxs")
    kinds: list[Kind] = ["full" if attend is None or layer in attend else "state" for layer in range(layers)]
    return _given(keys, kinds, ("full", "state")), 0


def mamba_but_some(keys: Keys, layers: int) -> Kinds:
    """Granite 4: every layer keeps a state, but those that layer_types calls attention."""
    words = keys.words("layer_types") or ("mamba",) * layers
    if len(words) != layers or not set(words) <= _MAMBA.keys():
        keys.wrong("layer_types", f"{layers} words out of {', '.join(_MAMBA)}")
    return tuple(_MAMBA[word] for word in words), 0


def mamba_but_indices(keys: Keys, layers: int) -> Kinds:
    """Bamba: every layer keeps a state, but those whose numbers attn_layer_indices has."""
    attend = keys.numbers("attn_layer_indices") or ()
    if not set(attend) <= set(range(layers)):
        keys.wrong("attn_layer_indices", f"numbers of layers, 0 to {layers - 1}")
    return tuple("full" if layer in attend else "state" for layer in range(layers)), 0


def _window(keys: Keys, default: int | None, *, used: bool = False) -> int | None:
    """sliding_window, or else `default`; None where use_sliding_window, or else `used`, is false."""
    window = keys.optional("sliding_window", default)
    return window if keys.flag("use_sliding_window", used) else None


def rotary_layers(keys: Keys, layers: int) -> Sequence[int]:
    """1 for a layer with rotary positions, 0 for one without."""
    period, given = keys.whole("no_rope_layer_interval", default=4), keys.numbers("no_rope_layers")
    if given and len(given) != layers:
        keys.wrong("no_rope_layers", f"{layers} numbers, one for each layer")
    return given or tuple(int((layer + 1) % period != 0) for layer in range(layers))


def _sliding(keys: Keys, kinds: Sequence[Kind], window: int | None) -> Kinds:
    kinds = _given(keys, kinds, ("full", "sliding"))
    if "sliding" in kinds and not window:
        keys.wrong("sliding_window", "a number of tokens in use, which sliding_attention needs")
    return kinds, window or 0


def _given(keys: Keys, rule: Sequence[Kind], allowed: Sequence[Kind]) -> tuple[Kind, ...]:
    """What layer_types says where it is there, else the rule's kinds."""
    words = keys.words("layer_types")
    if not words:
        return tuple(rule)
    kinds = tuple(_NAMES[word] for word in words if word in _NAMES)
    if len(words) != len(rule) or len(kinds) != len(rule) or not set(kinds) <= set(allowed):
        known = ", ".join(name for name, kind in _NAMES.items() if kind in allowed)
        keys.wrong("layer_types", f"{len(rule)} words out of {known}")
    return kinds
