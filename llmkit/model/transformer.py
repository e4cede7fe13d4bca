"""The whole model: embeddings, layers, a last norm, and the head that scores the next token.

Shapes: B batch, T new positions, S all positions (cached and new, or of a row in parts), D hidden_size,
V vocab_size.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor, nn

from llmkit.errors import UsageError
from llmkit.model.block import Block
from llmkit.model.config import ModelConfig
from llmkit.model.fresh_embedding import fresh_embedding
from llmkit.model.held import Cache
from llmkit.model.layer_sizes import check_alone
from llmkit.model.layout import Layout, RowParts, Span, Stretch, first_seen, layout_mask, row_stretches
from llmkit.model.norm import norm_of_width
from llmkit.model.own_inputs import OwnInputs
from llmkit.model.position_tables import check_room
from llmkit.model.positions import SinusoidalPositions, in_spans, query_scale, span_positions
from llmkit.model.rope import Rope
from llmkit.model.routing import RoutingTape
from llmkit.model.segments import document_lengths
from llmkit.model.shared_keys import SharedKeys
from llmkit.model.tied_head import TiedHead


class Decoder(nn.Module):
    """Ids to the hidden states that the head reads."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = fresh_embedding(config.vocab_size, config.hidden_size)
        self.embed_positions: nn.Module | None = None
        if config.position == "learned":
            self.embed_positions = fresh_embedding(config.max_position_embeddings, config.hidden_size)
        elif config.position == "sinusoidal":
            self.embed_positions = SinusoidalPositions(config)
        self.own_inputs = None if config.own_inputs is None else OwnInputs(config, config.own_inputs)
        self.layers = nn.ModuleList([Block(config, layer) for layer in range(config.num_hidden_layers)])
        self.norm = norm_of_width(config, config.hidden_size)
        self.rope = Rope(config) if config.position == "rope" else None
        self.row_parts: RowParts | None = None
        """Where this process has some positions of each row; segments are then (B, S), of whole rows."""
        self._kinds = [
            (layer in config.sliding_layers, layer not in config.no_rope_layers)
            for layer in range(config.num_hidden_layers)
        ]

    def forward(
        self,
        ids: Tensor,
        cache: Cache | None = None,
        segments: Tensor | None = None,
        routing: RoutingTape | None = None,
        starts: Tensor | None = None,
    ) -> Tensor:
        """ids: (B, T). Returns (B, T, D)."""
        T = ids.shape[1]
        parts = self.row_parts if cache is None else None
        spans = self.spans(T) if cache is None else cache.spans(T)
        positions = span_positions(spans, ids.device, segments)
        x = self.embed(ids, positions, max(span.end for span in spans))
        layouts = self._layouts(positions, spans, segments, None if parts is not None else starts, parts)
        if self.own_inputs is not None:
            own = self.own_inputs(ids, x).unbind(2)
            layouts = [replace(one, own=part) for one, part in zip(layouts, own, strict=True)]
        for index, layer in enumerate(self.layers):
            held = None if cache is None else cache.layers[index]
            x = layer(x, layouts[index], held, routing)
        if cache is not None:
            cache.advance(T)
        return self.norm(x)

    def spans(self, count: int) -> Sequence[Span]:
        """Where so many positions of a row stand in it, without a cache."""
        return [Span(0, count)] if self.row_parts is None else self.row_parts.spans(count)

    def embed(self, ids: Tensor, positions: Tensor, most: int) -> Tensor:
        """What the first layer reads.

        Args:
            ids: (B, T).
            positions: (T,) or (B, T), of each.
            most: positions in all, for families that have a row for each.
        """
        x = self.embed_tokens(ids)
        if self.config.embedding_scale != 1.0:  # rounded to the dtype of the embeddings, as in Gemma
            x = x * torch.tensor(self.config.embedding_scale, dtype=x.dtype, device=x.device)
        if self.embed_positions is not None:
            check_room(self.config, most)
            x = x + self.embed_positions(positions).to(x.dtype)
        kind = x.device.type
        if kind != "cpu" and torch.is_autocast_enabled(kind):  # so is what layers add to it
            x = x.to(torch.get_autocast_dtype(kind))  # on a CPU norms are quicker in float32
        return x

    def through(
        self,
        x: Tensor,
        layers: range,
        positions: Tensor,
        spans: Sequence[Span],
        segments: Tensor | None,
        routing: RoutingTape | None = None,
    ) -> Tensor:
        """Some layers alone, without a cache: a stage of a pipeline.

        Args:
            x: (B, T, D), what the first of them reads; fewer positions where they have their part of it.
            layers: in their order.
            positions: (T,) or (B, T), of all.
            spans: where they stand.
            segments: see `Transformer.forward`.
            routing: likewise.

        Returns:
            (B, T, D), what the next layer reads.
        """
        layouts = self._layouts(positions, spans, segments, parts=self.row_parts)
        for index in layers:
            x = self.layers[index](x, layouts[index], routing=routing)
        return x

    def make_tables(self, count: int) -> None:
        """Have the tables that the first pass over rows of so many positions would make."""
        positions = torch.arange(count, device=self.embed_tokens.weight.device)
        self._layouts(positions, [Span(0, count)], None)

    def layout_of(self, layer: int, count: int) -> Layout:
        """What a layer needs to know of rows of `count` positions from the first on.

        Raises:
            ConfigError: layers read more than what the one before leaves.
        """
        check_alone(self.config)
        positions = torch.arange(count, device=self.embed_tokens.weight.device)
        return self._layout(positions, [Span(0, count)], *self._kinds[layer], None)

    def _layouts(
        self,
        positions: Tensor,
        spans: Sequence[Span],
        segments: Tensor | None,
        starts: Tensor | None = None,
        parts: RowParts | None = None,
    ) -> list[Layout]:
        """What each layer needs to know; those of one kind share it."""
        layouts = {
            kind: self._layout(positions, spans, *kind, segments, starts, parts)
            for kind in dict.fromkeys(self._kinds)
        }
        return [layouts[kind] for kind in self._kinds]

    def _layout(
        self,
        positions: Tensor,
        spans: Sequence[Span],
        sliding: bool,
        rotates: bool,
        segments: Tensor | None,
        starts: Tensor | None = None,
        parts: RowParts | None = None,
    ) -> Layout:
        """What layers that slide, or not, and that rotate, or not, need to know."""
        window = self.config.window(sliding)
        first, device = spans[0], positions.device
        mask = cos = sin = None  # of several texts each has its own mask, which the cache knows
        stretches: tuple[Stretch, ...] = ()
        if parts is not None:
            stretches = row_stretches(spans, device, window=window, segments=segments)
        elif len(spans) == 1:
            mask = layout_mask(first.start, first.count, device, window=window, segments=segments)
        if self.rope is not None and rotates and segments is not None and self.rope.depends_on_length:
            lengths = in_spans(document_lengths(segments), spans)
            cos, sin = self.rope.packed(positions, lengths, sliding=sliding)
        elif self.rope is not None and rotates:
            tables = [self.rope.table(max(span.end, span.reach), device, sliding=sliding) for span in spans]
            if segments is not None:
                cos, sin = (table[positions].unsqueeze(1) for table in tables[0])
            else:
                pairs = zip(tables, spans, strict=True)
                halves = [[table[span.start : span.end] for table in both] for both, span in pairs]
                cos, sin = halves[0] if len(halves) == 1 else map(torch.cat, zip(*halves, strict=True))
        is_whole = mask is not None and first.start == 0 and device.type == "cpu"
        seen = first_seen(positions, window) if is_whole else None
        scale = query_scale(self.config, positions, rotates=rotates)
        starts = None if window.chunked else starts  # their kernel knows windows that go along
        shared = SharedKeys() if self.config.shared_kv_layers else None
        return Layout(
            *(cos, sin, mask, window, starts, parts, stretches, seen, segments, scale), shared=shared
        )


class LogitParts(Protocol):
    """Logits of which this process has those of some ids, and others have the rest."""

    def terms(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """What a loss asks of all logits.

        Args:
            logits: (N, V of this process) float32.
            targets: (N,) ids, or any number that is none.

        Returns:
            (N,) log of the sum of exp(logit) over all ids, and (N,) the target's logit, 0 where it is none.
        """


class Transformer(nn.Module):
    """A decoder-only language model.

    `state_dict()` has the names of the llama family's files, and experts in stacks; files of families with
    other names and layouts are translated as they are read and written (`names.py`).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Decoder(config)
        self.lm_head: TiedHead | nn.Linear = (
            TiedHead(self.model.embed_tokens, config)
            if config.tie_word_embeddings
            else nn.Linear(config.hidden_size, config.vocab_size, bias=config.head_bias)
        )
        self.logit_parts: LogitParts | None = None
        """Where `logits` gives those of this process's ids alone."""

    def forward(
        self,
        ids: Tensor,
        *,
        cache: Cache | None = None,
        segments: Tensor | None = None,
        routing: RoutingTape | None = None,
        starts: Tensor | None = None,
    ) -> Tensor:
        """Scores of the next token at every position.

        Args:
            ids: (B, T) int64.
            cache: positions already seen; the new ones are added to it. With several texts in it (their new
                positions end to end), B is 1.
            segments: (B, T) which document of the row each token belongs to. A token sees its own document
                only and counts positions from that document's start, as if it stood alone.
            routing: told, of each layer with experts, which were chosen.
            starts: where the documents of the segments begin, for a device with a kernel that is told so
                (`document_starts`).

        Returns:
            (B, T, V) logits.

        Raises:
            UsageError: more positions than the model or the cache has, or both cache and segments.
        """
        hidden = self.hidden(ids, cache=cache, segments=segments, routing=routing, starts=starts)
        return self.logits(hidden)

    def hidden(
        self,
        ids: Tensor,
        *,
        cache: Cache | None = None,
        segments: Tensor | None = None,
        routing: RoutingTape | None = None,
        starts: Tensor | None = None,
    ) -> Tensor:
        """What the head reads: (B, T, D), after the last norm. Arguments as for `forward`."""
        if cache is not None and segments is not None:
            raise UsageError("a cache and segments exclude each other", hint="decode one document a row")
        return self.model(ids, cache, segments, routing, starts)

    def logits(self, hidden: Tensor) -> Tensor:
        """hidden: (..., D), after the last norm. Returns (..., V); see `logit_parts`."""
        scores = self.lm_head(hidden)
        if self.config.logit_scale != 1.0:
            scores = scores * self.config.logit_scale
        cap = self.config.final_logit_softcapping
        return scores if cap is None else torch.tanh(scores / cap) * cap
