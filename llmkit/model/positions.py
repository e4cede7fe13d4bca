"""Where a token stands: fixed sinusoids, and positions that start again with every document of a row."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from llmkit.model.config import ModelConfig
from llmkit.model.layout import Span
from llmkit.model.position_tables import sinusoids


def sinusoid_table(length: int, width: int) -> Tensor:
    """`sinusoids` as a tensor: (length, width) float32."""
    return torch.from_numpy(sinusoids(length, width))


class SinusoidalPositions(nn.Module):
    """The sinusoid table looked up like an embedding; nothing in it is learnt or saved.

    It is written to disk all the same, as GPT-2's wpe.weight, so that other programs need not know.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.table = sinusoid_table(config.max_position_embeddings, config.hidden_size)

    def forward(self, positions: Tensor) -> Tensor:
        """positions: any shape. Returns that shape with (D,) added, float32."""
        self.table = self.table.to(positions.device)  # a plain attribute: model.to(bfloat16) leaves it exact
        return self.table[positions]


def span_positions(spans: Sequence[Span], device: torch.device, segments: Tensor | None) -> Tensor:
    """What tokens of a row count as their positions.

    Args:
        spans: where they stand.
        device: of the result.
        segments: (B, S) documents of whole rows, each of which counts from its own beginning; None: one.

    Returns:
        (T,), or (B, T) with segments: int64.
    """
    if segments is not None:
        return in_spans(segment_positions(segments), spans)
    return torch.cat([torch.arange(span.start, span.end, device=device) for span in spans])


def query_scale(config: ModelConfig, positions: Tensor) -> Tensor | None:
    """What queries are multiplied with at these positions, as `query_scales`; None where they do not grow.

    Args:
        config: of the model.
        positions: (T,), or (B, T) of several rows.

    Returns:
        (T, 1) or (B, 1, T, 1), to be multiplied with (B, H, T, E).
    """
    if not config.query_growth:
        return None
    steps = 1 + positions // config.query_growth_positions
    scale = 1.0 + config.query_growth * torch.log(steps.float())
    return scale[:, None] if scale.dim() == 1 else scale[:, None, :, None]


def in_spans(rows: Tensor, spans: Sequence[Span]) -> Tensor:
    """Of whole rows, (B, S), what stands at the positions here: (B, T)."""
    parts = [rows[:, span.start : span.end] for span in spans]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def document_lengths(segments: Tensor) -> Tensor:
    """How many tokens of its row the document of each has.

    Args:
        segments: (B, T) document numbers; a document's tokens stand together.

    Returns:
        (B, T) int64.
    """
    return segment_positions(segments) + segment_positions(segments.flip(1)).flip(1) + 1


def segment_positions(segments: Tensor) -> Tensor:
    """Positions that restart where the segment changes, as each document would have them alone.

    Args:
        segments: (B, T) document numbers; a document's tokens stand together.

    Returns:
        (B, T) int64.
    """
    T = segments.shape[1]
    index = torch.arange(T, device=segments.device).expand_as(segments)
    changed = torch.zeros_like(index)
    changed[:, 1:] = torch.where(segments[:, 1:] != segments[:, :-1], index[:, 1:], 0)
    return index - changed.cummax(dim=1).values
