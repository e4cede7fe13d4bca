"""A model as an estimate sees it: its tensors, and what each layer keeps of a text. Whatever the family.

`read_architecture` makes one from a config.json; everything else here only adds up.
"""

import math
from typing import Literal

import msgspec

Part = Literal["embeddings", "positions", "attention", "mlp", "experts", "router", "norms", "head"]
PARTS: tuple[Part, ...] = (
    *("embeddings", "positions", "attention", "mlp", "experts", "router", "norms", "head"),
)


class TensorSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A tensor of the model's files, or several alike."""

    name: str
    """As Hugging Face files have it; `*` in place of the number where `copies` is above 1."""
    shape: tuple[int, ...]
    """As stored. A linear layer's weight is (out, in), or (experts, …) where experts share a tensor."""
    part: Part
    module: str
    """What it is, in one vocabulary for all families: embed_tokens, embed_positions, lm_head, q_proj, k_proj,
    v_proj, qkv_proj, o_proj, q_a_proj, q_b_proj, kv_a_proj, kv_b_proj, gate_proj, up_proj, down_proj,
    gate_up_proj, router, norm, bias, sinks, conv1d, in_proj, out_proj, other."""
    linear: bool = False
    """Whether it is the weight of a matrix product: quantisers take these, and FLOPs count them."""
    layer: int | None = None
    copies: int = 1
    """Tensors alike: one for each expert, as a rule."""
    active: float = 1.0
    """Part of these numbers that one token uses: k / E for experts, 1 for the rest."""
    learnt: bool = True
    """Whether it is a parameter: a stored table of sinusoids is none."""

    @property
    def numel(self) -> int:
        """Numbers in all copies."""
        return math.prod(self.shape) * self.copies

    @property
    def is_tied_head(self) -> bool:
        """Whether a tied head multiplies with it: no head does with embeddings of each layer's own."""
        return self.module == "embed_tokens" and not self.name.endswith("_per_layer.weight")


class LayerCache(msgspec.Struct, frozen=True, kw_only=True):
    """What one layer keeps of a text, and how much of the text it reads for a token.

    full: keys and values of every token. sliding: of the last `window`. chunked: of the current chunk of
    `window`. latent: one vector of `latent` numbers a token (MLA). state: numbers that do not grow with the
    text. cross: keys and values of `window` encoder tokens. shared: reads another layer's cache.
    """

    kind: Literal["full", "sliding", "chunked", "latent", "state", "cross", "shared"]
    kv_heads: int = 0
    key_dim: int = 0
    value_dim: int = 0
    """Of one head."""
    window: int = 0
    """Tokens; 0 where the kind has no bound."""
    latent: int = 0
    recurrent: int = 0
    """Numbers of a state, often kept in float32."""
    conv: int = 0
    """Numbers of a convolution's last inputs."""
    query_heads: int = 0
    """Heads that read the cache; 0 for a state."""
    score_dim: int = 0
    """Numbers of a query that meet a key, per head: for FLOPs. With MLA decoded over the latent: latent."""
    mixed_dim: int = 0
    """Numbers of a value that are mixed, per head: for FLOPs."""


class Architecture(msgspec.Struct, frozen=True, kw_only=True):
    """A decoder-only language model."""

    model_type: str
    hidden_size: int
    vocab_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    max_position_embeddings: int | None
    tied_head: bool
    """The head is the embedding matrix: no tensor of its own."""
    dtype: str
    """How a config says its weights are stored."""
    tensors: tuple[TensorSpec, ...]
    caches: tuple[LayerCache, ...]
    """First layer to last; none for a layer without attention or state, two for one with cross-attention."""
    mlp_width: int
    """The widest intermediate activation that a token has: intermediate_size, or k experts'."""

    @property
    def parameters(self) -> int:
        """All of them, each stored once."""
        return sum(tensor.numel for tensor in self.tensors if tensor.learnt)

    @property
    def active_parameters(self) -> int:
        """Those that one token uses, embeddings included."""
        return round(sum(tensor.numel * tensor.active for tensor in self.tensors if tensor.learnt))

    @property
    def by_part(self) -> dict[Part, int]:
        """Parameters by part; parts that the model does not have are left out."""
        sums = {part: sum(t.numel for t in self.tensors if t.part == part and t.learnt) for part in PARTS}
        return {part: total for part, total in sums.items() if total}

    @property
    def matmul_parameters(self) -> int:
        """Numbers that one token is multiplied with: linear weights it uses, and the head even where tied."""
        linear = sum(tensor.numel * tensor.active for tensor in self.tensors if tensor.linear)
        return round(linear) + (self.vocab_size * self.hidden_size if self.tied_head else 0)
