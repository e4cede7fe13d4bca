"""The whole model: embeddings, layers, a last norm, and the head that scores the next token.

Shapes: B batch, T new positions, S all positions (cached and new), D hidden_size, V vocab_size.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmkit.errors import UsageError
from llmkit.model.attention import Layout, chunk_mask, document_mask
from llmkit.model.block import Block
from llmkit.model.cache import KVCache
from llmkit.model.config import ModelConfig
from llmkit.model.gpt2_names import use_gpt2_names
from llmkit.model.norm import build_norm
from llmkit.model.positions import SinusoidalPositions, check_room, segment_positions
from llmkit.model.rope import Rope


class Decoder(nn.Module):
    """Ids to the hidden states that the head reads."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = _embedding(config.vocab_size, config.hidden_size)
        self.embed_positions: nn.Module | None = None
        if config.position == "learned":
            self.embed_positions = _embedding(config.max_position_embeddings, config.hidden_size)
        elif config.position == "sinusoidal":
            self.embed_positions = SinusoidalPositions(config)
        self.layers = nn.ModuleList([Block(config) for _ in range(config.num_hidden_layers)])
        self.norm = build_norm(config)
        self.rope = Rope(config) if config.position == "rope" else None

    def forward(self, ids: Tensor, cache: KVCache | None = None, segments: Tensor | None = None) -> Tensor:
        """ids: (B, T). Returns (B, T, D)."""
        start = 0 if cache is None else cache.length
        T = ids.shape[1]
        positions = torch.arange(start, start + T, device=ids.device)  # (T,)
        mask = chunk_mask(start, T, ids.device) if start > 0 and T > 1 else None
        if segments is not None:
            positions, mask = segment_positions(segments), document_mask(segments)  # (B, T), (B, 1, T, T)

        x = self.embed_tokens(ids)
        if self.embed_positions is not None:
            check_room(self.config, start + T)
            x = x + self.embed_positions(positions).to(x.dtype)
        layout = self._layout(positions, start + T, mask)
        for index, layer in enumerate(self.layers):
            x = layer(x, layout, None if cache is None else cache.layers[index])
        if cache is not None:
            cache.advance(T)
        return self.norm(x)

    def _layout(self, positions: Tensor, end: int, mask: Tensor | None) -> Layout:
        if self.rope is None:
            return Layout(mask=mask)
        cos, sin = self.rope.table(end, positions.device)
        if positions.dim() == 1:
            start = end - len(positions)
            return Layout(cos[start:end], sin[start:end], mask)
        return Layout(cos[positions].unsqueeze(1), sin[positions].unsqueeze(1), mask)


class TiedHead(nn.Module):
    """A head that is the embedding matrix itself: no parameter of its own, no tensor on disk."""

    def __init__(self, embedding: nn.Embedding) -> None:
        super().__init__()
        self._embedding = (embedding,)  # in a tuple, so that its weight is registered once

    @property
    def weight(self) -> Tensor:
        """(V, D)."""
        return self._embedding[0].weight

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., D). Returns (..., V)."""
        return F.linear(x, self.weight)


class Transformer(nn.Module):
    """A decoder-only language model.

    `state_dict()` has the names and layouts of Hugging Face's files for the model_type. For the llama family
    they are the attribute names; for GPT-2 they are translated as they go in and out (`gpt2_names.py`).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Decoder(config)
        self.lm_head: TiedHead | nn.Linear = (
            TiedHead(self.model.embed_tokens)
            if config.tie_word_embeddings
            else nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        )
        if config.model_type == "gpt2":
            use_gpt2_names(self, config)

    def forward(self, ids: Tensor, *, cache: KVCache | None = None, segments: Tensor | None = None) -> Tensor:
        """Scores of the next token at every position.

        Args:
            ids: (B, T) int64.
            cache: positions already seen; the new ones are appended to it.
            segments: (B, T) which document of the row each token belongs to. A token sees its own document
                only and counts positions from that document's start, as if it stood alone.

        Returns:
            (B, T, V) logits.

        Raises:
            UsageError: more positions than the model or the cache has, or both cache and segments.
        """
        return self.lm_head(self.hidden(ids, cache=cache, segments=segments))

    def hidden(self, ids: Tensor, *, cache: KVCache | None = None, segments: Tensor | None = None) -> Tensor:
        """What the head reads: (B, T, D), after the last norm. Arguments as for `forward`."""
        if cache is not None and segments is not None:
            raise UsageError("a cache and segments exclude each other", hint="decode one document a row")
        return self.model(ids, cache, segments)


def _embedding(rows: int, width: int) -> nn.Embedding:
    """nn.Embedding that draws nothing on the meta device: `normal_` there imports torch._dynamo (1 s)."""
    weight = torch.empty(rows, width)
    if not weight.is_meta:
        nn.init.normal_(weight)
    return nn.Embedding(rows, width, _weight=weight)
