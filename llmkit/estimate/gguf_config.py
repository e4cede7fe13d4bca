"""The config.json that a GGUF file's metadata stands for, as far as sizes go.

Names of keys: ggml's docs/gguf.md; of architectures: llama.cpp's.
"""

from typing import Any

from llmkit.errors import ConfigError, nearest
from llmkit.formats.gguf_header import GgufHeader, SkippedArray

_FAMILIES = {
    **{"llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "gemma": "gemma", "gemma2": "gemma2"},
    **{"qwen3moe": "qwen3_moe", "phi3": "phi3", "gpt2": "gpt2"},
}
"""general.architecture, and the model_type of the same shape. `llama` with experts is Mixtral."""
_KEYS = {
    "block_count": "num_hidden_layers",
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "attention.sliding_window": "sliding_window",
    "expert_used_count": "num_experts_per_tok",
    "expert_feed_forward_length": "moe_intermediate_size",
}
_GPT2_KEYS = {
    "num_hidden_layers": "n_layer",
    "max_position_embeddings": "n_positions",
    "hidden_size": "n_embd",
    "intermediate_size": "n_inner",
    "num_attention_heads": "n_head",
}


def gguf_config(header: GgufHeader, source: str) -> dict[str, Any]:
    """A config.json for `read_architecture`.

    Args:
        header: the file's.
        source: its name, for messages.

    Raises:
        ConfigError: an architecture, or a shape in it, that is not covered: it is named.
    """
    name = header.metadata.get("general.architecture")
    family = _FAMILIES.get(str(name))
    if family is None:
        close = nearest(str(name), _FAMILIES)
        raise ConfigError(
            f"{source}: general.architecture {name!r} is not covered (covered: {', '.join(_FAMILIES)})",
            hint=f"did you mean {close}?" if close else "give the config.json that it was converted from",
        )
    config: dict[str, Any] = {"model_type": family, "dtype": "float16"}  # what llama.cpp keeps its cache in
    for key, word in _KEYS.items():
        value = header.metadata.get(f"{name}.{key}")
        if value is not None:
            config[word] = _whole(value, f"{name}.{key}", source)
    tensors = {tensor.name: tensor for tensor in header.tensors}
    if "token_embd.weight" not in tensors:
        raise ConfigError(
            f"{source}: no tensor token_embd.weight (found {len(tensors)} tensors)",
            hint="name the first file of a split model",
        )
    config["vocab_size"] = tensors["token_embd.weight"].dims[-1]
    config["tie_word_embeddings"] = "output.weight" not in tensors
    config["attention_bias"] = "blk.0.attn_q.bias" in tensors
    experts = header.metadata.get(f"{name}.expert_count")
    if experts:
        config["num_local_experts" if family == "llama" else "num_experts"] = _whole(
            experts, f"{name}.expert_count", source
        )
        config["model_type"] = "mixtral" if family == "llama" else family
    if family == "gpt2":
        config = {_GPT2_KEYS.get(word, word): value for word, value in config.items()}
        del config["attention_bias"]
        config.pop("num_key_value_heads", None)  # as many as heads
    elif family in ("qwen2", "gemma", "gemma2") or config["model_type"] == "mixtral":
        del config["attention_bias"]  # these classes decide it themselves
    return config


def _whole(value: object, key: str, source: str) -> int:
    """A number of layers or heads; a list with one for each layer where all are the same."""
    if isinstance(value, list) and value and all(one == value[0] for one in value):
        value = value[0]
    if isinstance(value, bool) or not isinstance(value, int):
        found = f"a list of {value.length}" if isinstance(value, SkippedArray) else repr(value)
        raise ConfigError(
            f"{source}: {key} is not one whole number (found {found})",
            hint="give the config.json that it was converted from",
        )
    return value
