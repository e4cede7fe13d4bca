"""llama2.c's model files: seven sizes, then float32 weights one after the other. No pickle.

    dim, hidden_dim, layers, heads, kv_heads, vocab (negative: a head of its own), positions      int32
    embedding, attention norms, q, k, v, o, MLP norms, w1, w2, w3 (each for all layers), last norm     float32
    cos and sin of every position, which are computed here; the head, if there is one

Source: karpathy/llama2.c export.py, version 0. Rows of q and k are in turns, as in llama.cpp's files.
"""

import struct
from pathlib import Path

import torch
from torch import Tensor

from llmkit.errors import DataError
from llmkit.model.config import ModelConfig
from llmkit.model.transformer import Transformer

_HEADER = struct.Struct("<7i")
_MOST = 1 << 20


def is_llama2c(path: Path) -> bool:
    """Whether a file begins with sizes that its length fits."""
    if not path.is_file() or path.suffix != ".bin":
        return False
    with path.open("rb") as stream:
        head = stream.read(_HEADER.size)
    return len(head) == _HEADER.size and _fits(_HEADER.unpack(head), path.stat().st_size)


def llama2c_config(path: Path) -> ModelConfig:
    """The shape of a file.

    Raises:
        DataError: it is no such file.
    """
    if not is_llama2c(path):
        raise DataError(
            f"{path}: not a model of llama2.c (its length is not what its first numbers say)",
            hint="give a .bin of llama2.c's first format, such as stories15M.bin",
        )
    with path.open("rb") as stream:
        dim, inner, layers, heads, kv_heads, vocab, positions = _HEADER.unpack(stream.read(_HEADER.size))
    return ModelConfig(
        vocab_size=abs(vocab),
        hidden_size=dim,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=positions,
        tie_word_embeddings=vocab > 0,
        bos_token_id=1,
        eos_token_id=2,
    )


def load_llama2c(path: Path) -> Transformer:
    """The model of a file, float32, mapped where its layout is ours.

    Raises:
        DataError: it is no such file.
    """
    config = llama2c_config(path)
    with torch.device("meta"):
        model = Transformer(config)
    empty = model.state_dict()
    rest = torch.from_file(str(path), shared=False, size=path.stat().st_size // 4, dtype=torch.float32)
    rest = rest[_HEADER.size // 4 :]
    tensors: dict[str, Tensor] = {}
    for module in _ORDER:
        names = [name for name in empty if _module(name) == module]
        for name in names:
            shape = empty[name].shape
            part, rest = rest[: shape.numel()].view(shape), rest[shape.numel() :]
            tensors[name] = _halves(part, config.head_dim) if module in _IN_TURNS else part
        if module == "norm":
            rest = rest[config.max_position_embeddings * config.head_dim :]  # cosines and sines
    model.load_state_dict(tensors, assign=True)
    return model.eval()


_IN_TURNS = ("self_attn.q_proj", "self_attn.k_proj")
_ORDER = (
    *("embed_tokens", "input_layernorm", *_IN_TURNS, "self_attn.v_proj", "self_attn.o_proj"),
    *("post_attention_layernorm", "mlp.gate_proj", "mlp.down_proj", "mlp.up_proj", "norm", "lm_head"),
)


def _module(name: str) -> str:
    """`model.layers.3.mlp.up_proj.weight` is mlp.up_proj."""
    parts = name.removeprefix("model.").removesuffix(".weight").split(".")
    return ".".join(parts[2:] if parts[0] == "layers" else parts)


def _halves(rows: Tensor, head_dim: int) -> Tensor:
    """Rows in turns to the two halves of each head."""
    return rows.unflatten(0, (-1, head_dim // 2, 2)).transpose(1, 2).flatten(0, 2)


def _fits(sizes: tuple[int, ...], nbytes: int) -> bool:
    dim, inner, layers, heads, kv_heads, vocab, positions = sizes
    if not all(0 < size < _MOST for size in (dim, inner, layers, heads, kv_heads, abs(vocab), positions)):
        return False
    if dim % heads or heads % kv_heads:
        return False
    kv, head = dim // heads * kv_heads, dim // heads
    layer = 2 * dim + 2 * dim * dim + 2 * dim * kv + 3 * dim * inner
    rows = abs(vocab) * (1 if vocab > 0 else 2)
    return nbytes == _HEADER.size + 4 * (rows * dim + layers * layer + dim + positions * head // 2 * 2)
