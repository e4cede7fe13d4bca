"""Matrices in NF4, bit for bit as bitsandbytes has them: a code of four bits a number, a step for 64 of them.

The codes are quantiles of a normal distribution, so that weights use all of them (QLoRA, 2305.14314). Blocks
run on over the ends of rows; the first of two numbers is in the high half of its byte.
Shapes: R rows, C columns.
"""

import torch
from torch import Tensor

from llmkit.formats.quantised.bnb_4bit import NF4

BLOCK = 64
_TABLE = torch.from_numpy(NF4.copy())
_BETWEEN = (_TABLE[1:] + _TABLE[:-1]) / 2
_PAIRS = torch.stack((_TABLE.repeat_interleave(16), _TABLE.repeat(16)), dim=1)  # (256, 2): of each byte
_LEAST = 1e-38  # a block of zeros


class Nf4:
    """A matrix's codes and steps."""

    def __init__(self, codes: Tensor, steps: Tensor, shape: tuple[int, int]) -> None:
        """
        Args:
            codes: (R C / 2) uint8, two codes in each.
            steps: (R C / 64) float32: the largest number of each block, without its sign.
            shape: (R, C).
        """
        self.shape = shape
        self.tensors = {"codes": codes, "steps": steps}

    def dense(self, tensors: dict[str, Tensor], dtype: torch.dtype) -> Tensor:
        """See `Codes`: (R, C)."""
        codes, steps = tensors["codes"], tensors["steps"]
        values = _PAIRS.to(codes.device)[codes.int()].view(-1)[: self.shape[0] * self.shape[1]]
        whole = len(values) // BLOCK
        values[: whole * BLOCK].view(whole, BLOCK).mul_(steps[:whole, None])
        values[whole * BLOCK :].mul_(steps[-1])
        return values.view(self.shape).to(dtype)


def nf4(weight: Tensor) -> Nf4:
    """Round a matrix: each number to the nearest code of its block.

    Args:
        weight: (R, C), of any float dtype.
    """
    flat = weight.detach().reshape(-1).float()
    whole = len(flat) // BLOCK * BLOCK
    blocks = flat[:whole].view(-1, BLOCK)
    steps = blocks.abs().amax(dim=1)
    scaled = (blocks * (1.0 / steps.clamp(min=_LEAST)).unsqueeze(1)).view(-1)
    if whole < len(flat):
        rest = flat[whole:]
        last = rest.abs().amax().clamp(min=_LEAST)
        steps, scaled = torch.cat((steps, last.view(1))), torch.cat((scaled, rest / last))
    chosen = torch.bucketize(scaled.clamp(-1, 1), _BETWEEN.to(flat.device), out_int32=True).to(torch.uint8)
    if len(chosen) % 2:
        chosen = torch.cat((chosen, chosen.new_full((1,), 7)))  # the code of 0
    rows, columns = weight.shape
    return Nf4((chosen[0::2] << 4) | chosen[1::2], steps, (rows, columns))
