"""Rotary position embeddings (2104.09864): a head's pairs turned, all of them or its first ones.

A head's first and second halves are the two coordinates of each rotated pair, as in Hugging Face checkpoints;
in an interleaved head (DeepSeek, GLM) the coordinates stand side by side.
Shapes: B batch, T positions, H heads, E head_dim, R rotary_dim.
"""

import torch
from torch import Tensor

from llmkit.kernels.memory import Floats
from llmkit.model.config import ModelConfig
from llmkit.model.rope_tables import Arithmetic, Kind, RopeTables


def _power(base: float, exponents: Floats) -> Floats:
    of = torch.tensor(base, dtype=torch.float32, device="cpu")
    found: Floats = torch.pow(of, torch.from_numpy(exponents)).numpy()
    return found


def _cos_sin(angle: Floats) -> tuple[Floats, Floats]:
    tensor = torch.from_numpy(angle)
    return tensor.cos().numpy(), tensor.sin().numpy()


TORCH = Arithmetic(_power, _cos_sin)
"""With it frequencies are transformers' to the bit."""


class Rope:
    """`RopeTables` as tensors.

    Not a module: its tables are no parameters, follow the device of the ids, and stay float32 under
    `model.to(torch.bfloat16)`.
    """

    def __init__(self, config: ModelConfig) -> None:
        self._tables = RopeTables(config, TORCH)
        self._tensors: dict[Kind, tuple[Floats, Tensor, Tensor]] = {}  # with what they are of

    @property
    def depends_on_length(self) -> bool:
        """Whether a position's angle changes with the length of the text: each pass asks for its table."""
        return self._tables.depends_on_length

    def table(self, end: int, device: torch.device, *, sliding: bool = False) -> tuple[Tensor, Tensor]:
        """`RopeTables.table` on the device where it is needed."""
        cos, sin = self._tables.table(end, sliding=sliding)
        kind = self._tables.kind(end, sliding=sliding)
        held = self._tensors.get(kind)
        if held is None or held[0] is not cos or held[1].device != device:
            with torch.inference_mode(False):  # made while a text is written, it may serve training too
                held = cos, torch.from_numpy(cos).to(device), torch.from_numpy(sin).to(device)
            self._tensors[kind] = held
        return held[1:]

    def packed(self, positions: Tensor, lengths: Tensor, *, sliding: bool = False) -> tuple[Tensor, Tensor]:
        """cos and sin of tokens of several documents, as each has them alone, where angles depend on lengths.

        Args:
            positions: (B, T) in the document of each.
            lengths: (B, T) of it.
            sliding: see `RopeTables.table`.

        Returns:
            (B, 1, T, R / 2) each.
        """
        made: list[Tensor] = []
        for length in lengths.unique().tolist():
            here = lengths == length
            tables = self.table(length, positions.device, sliding=sliding)
            made = made or [table.new_empty(*positions.shape, table.shape[-1]) for table in tables]
            for angles, table in zip(made, tables, strict=True):
                angles[here] = table[positions[here]]
        cos, sin = made
        return cos.unsqueeze(1), sin.unsqueeze(1)


def rotate(x: Tensor, cos: Tensor, sin: Tensor, *, interleaved: bool = False) -> Tensor:
    """Rotate each pair among the first R numbers of a head by its position's angle, and keep the rest.

    Args:
        x: (B, H, T, E).
        cos: (T, R / 2) or (B, 1, T, R / 2).
        sin: the same.
        interleaved: pairs stand side by side in x. They come out in two halves all the same: queries and keys
            are reordered alike, so that scores do not change.
    """
    width = 2 * cos.shape[-1]
    head, rest = (x, ()) if width == x.shape[-1] else (x[..., :width], (x[..., width:],))
    first, second = (head[..., 0::2], head[..., 1::2]) if interleaved else head.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin, *rest), dim=-1)
