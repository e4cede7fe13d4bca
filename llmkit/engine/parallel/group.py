"""The collective operations of torch.distributed, by which processes add up the parts of a pass.

Shapes: R scored rows, V vocab_size, P processes.
"""

from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F

from llmkit.model.part import Part

PATIENCE = {"cpu": timedelta(days=30), "cuda": timedelta(seconds=120)}
"""On a CPU without an end: clocks run on while Ctrl-Z holds the first process, and whoever started the others
sees which of them has ended or is stopped. On GPUs more than they are ever behind, who do the same."""


class GroupRanks:
    """The processes of torch.distributed's group: gloo on a CPU, NCCL on GPUs."""

    def __init__(
        self, part: Part, store: Path, device: torch.device, patience: timedelta | None = None
    ) -> None:
        """Wait for the others.

        Args:
            part: of this process.
            store: a file that all of them name, through which they find each other.
            device: of this process.
            patience: how long it waits for the others, now and in a pass, before it takes them for lost;
                None: as PATIENCE has it.
        """
        self.part = part
        if device.type == "cuda":
            torch.cuda.set_device(device)
        dist.init_process_group(
            "nccl" if device.type == "cuda" else "gloo",
            init_method=f"file://{store}",
            rank=part.index,
            world_size=part.count,
            timeout=patience or PATIENCE[device.type],
            device_id=device if device.type == "cuda" else None,
        )

    def sum(self, branch: Tensor) -> Tensor:
        """See `Ranks.sum`."""
        branch = branch.contiguous()
        dist.all_reduce(branch)
        return branch

    def gathered(self, scores: Tensor, total: int) -> Tensor:
        """See `Ranks.gathered`."""
        widths = [len(Part(index, self.part.count).rows(total)) for index in range(self.part.count)]
        padded = F.pad(scores, (0, max(widths) - scores.shape[-1])).contiguous()
        if self.part.index:
            dist.gather(padded)
            return scores
        parts = [torch.empty_like(padded) for _ in widths]
        dist.gather(padded, parts)
        return torch.cat([part[..., :width] for part, width in zip(parts, widths, strict=True)], dim=-1)

    def close(self) -> None:
        """Leave the others."""
        dist.destroy_process_group()
