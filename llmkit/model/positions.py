"""Where a token stands: fixed sinusoids, what positions count from, and how much queries grow with them."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from llmkit.model.config import ModelConfig
from llmkit.model.layout import Span
from llmkit.model.position_tables import sinusoids
from llmkit.model.segments import segment_positions


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


def query_scale(config: ModelConfig, positions: Tensor, *, rotates: bool) -> Tensor | None:
    """What queries are multiplied with at these positions, as `query_scales`; None where they do not grow.

    Args:
        config: of the model.
        positions: (T,), or (B, T) of several rows.
        rotates: whether the layer's queries are rotated.

    Returns:
        (T, 1) or (B, 1, T, 1), to be multiplied with (B, H, T, E).
    """
    if not config.query_growth or (rotates and config.query_growth_unrotated):
        return None
    steps = 1 + (positions + config.query_growth_unrotated) // config.query_growth_positions
    scale = 1.0 + config.query_growth * torch.log(steps.float())
    return scale[:, None] if scale.dim() == 1 else scale[:, None, :, None]


def in_spans(rows: Tensor, spans: Sequence[Span]) -> Tensor:
    """Of whole rows, (B, S), what stands at the positions here: (B, T)."""
    parts = [rows[:, span.start : span.end] for span in spans]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
