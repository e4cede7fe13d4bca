"""Embeddings of each layer's own (Gemma 4): looked up and made of the stream at once, added layer by layer.

Shapes: B batch, T positions, D hidden_size, L layers, P numbers of a layer's own.
"""

import torch
from torch import Tensor, nn

from llmkit.model.config import ModelConfig
from llmkit.model.config_parts import OwnInputsConfig
from llmkit.model.fresh_embedding import fresh_embedding
from llmkit.model.mlp import ACTIVATION_FUNCTIONS
from llmkit.model.norm import norm_of_width


class OwnInputs(nn.Module):
    """What all layers are given of a token: half a row of a table, half a product of its embedding."""

    def __init__(self, config: ModelConfig, own: OwnInputsConfig) -> None:
        super().__init__()
        self.width, self.layers = own.width, config.num_hidden_layers
        self.table_scale, self.stream_scale = own.width**0.5, config.hidden_size**-0.5
        self.embed_tokens = fresh_embedding(own.vocab_size, self.layers * self.width)
        self.projection = nn.Linear(config.hidden_size, self.layers * self.width, bias=False)
        self.norm = norm_of_width(config, self.width)

    def forward(self, ids: Tensor, x: Tensor) -> Tensor:
        """ids: (B, T); x: (B, T, D), what the first layer reads. Returns (B, T, L, P)."""
        looked_up = self.embed_tokens(ids)
        # rounded to the dtype of the embeddings, as that of the stream
        looked_up = looked_up * torch.tensor(self.table_scale, dtype=looked_up.dtype, device=ids.device)
        made = self.norm((self.projection(x) * self.stream_scale).unflatten(-1, (self.layers, self.width)))
        return (made + looked_up.view_as(made)) * 2**-0.5


class OwnInput(nn.Module):
    """What a layer adds to the stream of its own embedding, which the stream itself gates."""

    def __init__(self, config: ModelConfig, own: OwnInputsConfig) -> None:
        super().__init__()
        self.gate = nn.Linear(config.hidden_size, own.width, bias=False)
        self.projection = nn.Linear(own.width, config.hidden_size, bias=False)
        self.norm = norm_of_width(config, config.hidden_size)
        self.act = ACTIVATION_FUNCTIONS[config.hidden_act]

    def forward(self, x: Tensor, own: Tensor) -> Tensor:
        """x: (B, T, D); own: (B, T, P). Returns (B, T, D)."""
        return x + self.norm(self.projection(self.act(self.gate(x)) * own))
