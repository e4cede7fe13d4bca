"""Whether a converted model computes what the one it came from does: logits of the same ids, side by side.

Shapes: B prompts, T positions, V vocab_size.
"""

from typing import Any

import msgspec
import torch
from torch import Tensor

from llmkit.errors import DataError
from llmkit.model.transformer import Transformer

PROMPTS, TOKENS = 4, 64
UNITS = {"float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8, "q8_0": 2.0**-8}
"""Largest error of one rounding, relative to the number; q8_0's to the largest of 32: its 127th, halved."""
_BLOCK = 32
_SAFETY = 4.0


class CheckReport(msgspec.Struct, frozen=True, kw_only=True):
    """Logits before and after."""

    prompts: int
    tokens: int
    largest_difference: float
    tolerance: float
    same_best_share: float
    """Positions where both have the same best id."""
    passed: bool


class NotAlikeError(Exception):
    """Raised inside an atomic write, so that nothing is left of it.

    Attributes:
        report: what was found.
    """

    def __init__(self, report: Any) -> None:
        super().__init__()
        self.report = report


def compare_logits(
    before: Transformer, after: Transformer, *, dtype: str, tolerance: float | None
) -> CheckReport:
    """Run both on the same ids, in float32.

    The default tolerance is measured: four times what errors of the size of the rounding, drawn at random, do
    to the logits of the model itself. So it is wide where the model is sensitive, and no wider. A router that
    chooses another expert at a near tie may go beyond it all the same: `tolerance` is for that.

    Args:
        before: float32; where the tolerance is None, its weights are not what they were afterwards.
        after: float32, its weights as they were stored.
        dtype: what the weights were rounded to.
        tolerance: of the largest difference.

    Raises:
        DataError: logits of the model before are not finite: there is nothing to compare.
    """
    ids = check_ids(before.config.vocab_size, min(TOKENS, before.config.max_position_embeddings))
    with torch.inference_mode():
        first, second = before(ids), after(ids)
        if not first.isfinite().all():
            raise DataError(
                "--check: logits of the model itself are not finite numbers",
                hint="llmkit doctor MODEL names the tensors",
            )
        gap = (first - second).abs().max().item()
        if tolerance is None:
            disturb(before, dtype)
            tolerance = _SAFETY * (before(ids) - first).abs().max().item()
    return CheckReport(
        prompts=len(ids),
        tokens=ids.numel(),
        largest_difference=gap,
        tolerance=tolerance,
        same_best_share=(first.argmax(-1) == second.argmax(-1)).float().mean().item(),
        passed=gap <= tolerance,  # false for a NaN
    )


def check_ids(vocab_size: int, length: int) -> Tensor:
    """(B, T): the same ids for every model of a vocabulary."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(vocab_size, (PROMPTS, length), generator=generator)


def disturb(model: Transformer, dtype: str) -> None:
    """Change every weight by as much as rounding may, up or down, the same way every time."""
    generator = torch.Generator().manual_seed(0)
    for tensor in model.state_dict().values():
        size = tensor.abs()
        if dtype == "q8_0" and tensor.dim() > 1 and tensor.shape[-1] % _BLOCK == 0:
            size = size.unflatten(-1, (-1, _BLOCK)).amax(-1).repeat_interleave(_BLOCK, -1)
        noise = torch.empty_like(tensor).uniform_(-1, 1, generator=generator)
        tensor.add_(size * noise, alpha=UNITS[dtype])


def rounding(stored: str, written: str) -> str:
    """The dtype whose rounding may show: float32's, which is none, where weights are written as they were."""
    return "float32" if written == stored else written
