"""What a model's files hold, under the names that its family's class writes. No torch.

Old releases stored tables that are no weights, left out a prefix, or put the language model inside another;
models made for vectors are saved without a head and that prefix.
"""

import re
from collections.abc import Mapping
from typing import TypeVar

from llmkit.model.config import ModelConfig

_T = TypeVar("_T")
SINUSOIDS = "transformer.wpe.weight"
"""Where files keep the table of a model with fixed sinusoids."""
HEADS = ("lm_head.weight", "embed_out.weight")
"""What families call the head."""
_TABLES = re.compile(r"\.rotary_emb\.inv_freq$|\.attn\.(bias|masked_bias)$|\.attention\.(bias|masked_bias)$")
_INSIDE = re.compile(r"^(model\.)?language_model\.(model\.)?")
_OTHER_SENSES = re.compile(
    r"^(model\.)?(vision_tower|vision_model|visual|multi_modal_projector|audio_tower|embed_(vision|audio))\."
)
_FURTHER = re.compile(r"^(model\.)?mtp\.")
"""Layers of Qwen3-Next and Qwen3.5 that predict further tokens."""
_BARE = re.compile(
    r"^((layers|h)\.\d+|embed_tokens|embed_in|wte|wpe|norm|ln_f|final_layernorm|final_layer_norm)\."
)
"""The first names within a model without its head, as sentence-transformers saves one."""
_WITHIN = {"gpt2": "transformer", "gpt_neox": "gpt_neox"}
"""What families call the model within one that has a head; all others: model."""
_OF_KEYS = re.compile(r"^model\.layers\.(\d+)\.self_attn\.[kv]_(proj|norm)\.")
_LAYER = re.compile(r"^model\.layers\.(\d+)\.")


def stored_weights(stored: Mapping[str, _T], config: ModelConfig) -> dict[str, _T]:
    """The weights among what a model's files hold, by the names of its family.

    Left out are tables, the parts of a model for images and sound, layers that predict further tokens
    (DeepSeek's after the last, and Qwen's own), and keys and values of layers that read others'.
    """
    within = _WITHIN.get(config.model_type, "model")
    named: dict[str, _T] = {}
    for name, one in stored.items():
        if any(one.search(name) for one in (_TABLES, _OTHER_SENSES, _FURTHER)) or _is_beyond(name, config):
            continue
        inside = _INSIDE.match(name)
        if inside:
            rest = name[inside.end() :]
            name = rest if rest.startswith("lm_head.") else f"model.{rest}"
        if _BARE.match(name):
            name = f"{within}.{name}"
        if not _is_shared(name, config):
            named[name] = one
    return named


def _is_shared(name: str, config: ModelConfig) -> bool:
    """Gemma 4's files have keys and values that no layer reads."""
    match = _OF_KEYS.match(name) if config.shared_kv_layers else None
    return match is not None and int(match[1]) >= config.num_kv_owners


def _is_beyond(name: str, config: ModelConfig) -> bool:
    predicts = config.experts is not None and config.experts.selection_bias
    layer = _LAYER.match(name) if predicts else None
    return layer is not None and int(layer[1]) >= config.num_hidden_layers
