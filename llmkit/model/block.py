"""One layer: attention and MLP, each normalised before and added to the residual stream after."""

from torch import Tensor, nn

from llmkit.model.attention import Attention, Layout
from llmkit.model.cache import LayerCache
from llmkit.model.config import ModelConfig
from llmkit.model.mlp import build_mlp
from llmkit.model.norm import build_norm


class Block(nn.Module):
    """A pre-norm transformer layer; attribute names are the tensor names of the llama family."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.input_layernorm = build_norm(config)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = build_norm(config)
        self.mlp = build_mlp(config)

    def forward(self, x: Tensor, layout: Layout, cache: LayerCache | None = None) -> Tensor:
        """x: (B, T, D). Returns (B, T, D)."""
        x = x + self.self_attn(self.input_layernorm(x), layout, cache)
        return x + self.mlp(self.post_attention_layernorm(x))
