"""Well-known models, written down tensor by tensor from their papers: no config.json is read."""

import pytest
from msgspec.structs import replace

from llmkit.estimate.architecture import Architecture, LayerCache, Part, TensorSpec


def _matrix(module: str, out: int, into: int, part: Part) -> TensorSpec:
    return TensorSpec(name=f"{module}.weight", shape=(out, into), part=part, module=module, linear=True)


def _dense(
    hidden: int, heads: int, kv_heads: int, mlp: int, layers: int, vocab: int, *, gated: bool
) -> Architecture:
    """A decoder of layers alike, heads of hidden / heads numbers, and a head of its own."""
    head_dim = hidden // heads
    up = ("gate_proj", "up_proj") if gated else ("up_proj",)
    norm = TensorSpec(name="norm.weight", shape=(hidden,), part="norms", module="norm")
    layer = [
        _matrix("q_proj", hidden, hidden, "attention"),
        _matrix("k_proj", kv_heads * head_dim, hidden, "attention"),
        _matrix("v_proj", kv_heads * head_dim, hidden, "attention"),
        _matrix("o_proj", hidden, hidden, "attention"),
        *[_matrix(module, mlp, hidden, "mlp") for module in up],
        _matrix("down_proj", hidden, mlp, "mlp"),
        *(norm, replace(norm, name="norm2.weight")),
    ]
    table = replace(_matrix("embed_tokens", vocab, hidden, "embeddings"), linear=False)
    cache = LayerCache(
        kind="full",
        kv_heads=kv_heads,
        key_dim=head_dim,
        value_dim=head_dim,
        query_heads=heads,
        score_dim=head_dim,
        mixed_dim=head_dim,
    )
    return Architecture(
        model_type="llama",
        hidden_size=hidden,
        vocab_size=vocab,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=head_dim,
        max_position_embeddings=8192,
        tied_head=False,
        dtype="bfloat16",
        tensors=(
            table,
            *[
                replace(t, layer=number, name=f"layers.{number}.{t.name}")
                for number in range(layers)
                for t in layer
            ],
            *(norm, _matrix("lm_head", vocab, hidden, "head")),
        ),
        caches=(cache,) * layers,
        mlp_width=mlp,
    )


@pytest.fixture(scope="session")
def llama_3_8b() -> Architecture:
    return _dense(4096, 32, 8, 14_336, 32, 128_256, gated=True)


@pytest.fixture(scope="session")
def llama_2_7b() -> Architecture:
    return _dense(4096, 32, 32, 11_008, 32, 32_000, gated=True)


@pytest.fixture(scope="session")
def gpt_3() -> Architecture:
    """Its matrices and two norms: no biases, no positions, so that shapes alone decide."""
    return _dense(12_288, 96, 96, 4 * 12_288, 96, 51_200, gated=False)
