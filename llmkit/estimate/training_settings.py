"""How a model is trained, and over how many devices: the choices that decide the memory it takes."""

from typing import get_args

from llmkit.errors import ConfigError, nearest
from llmkit.estimate.activations import ActivationSettings
from llmkit.estimate.bounds import require_at_least, require_positive
from llmkit.estimate.config import Optimizer, Precision

OPTIMIZERS: tuple[str, ...] = get_args(Optimizer)
PRECISIONS: tuple[str, ...] = get_args(Precision)
QLORA_BITS = 4 + 8 / 64 + 32 / (64 * 256)
"""A weight in NF4: an 8-bit scale for 64, and a float32 one for 256 of these (arXiv:2305.14314)."""


class TrainingSettings(ActivationSettings, frozen=True, kw_only=True):
    """How a model is trained, and split over devices.

    Raises:
        ConfigError: a number is out of range, or a name is unknown.
    """

    optimizer: Optimizer = "adamw"
    """adamw-8bit keeps a float32 scale for 256 numbers. muon keeps one moment of the matrices in layers, and
    AdamW's two of all else."""
    precision: Precision = "bf16-master"
    data_parallel: int = 1
    zero: int = 0
    """What data-parallel devices split. 1: optimiser and master weights. 2: gradients too. 3: weights too."""
    pipeline_parallel: int = 1
    virtual_stages: int = 1
    """Pieces of the model that each device of a pipeline has, for the interleaved schedule."""
    micro_batches: int | None = None
    """In one step; None: enough to fill the pipeline."""
    lora_rank: int | None = None
    """Train adapters of this rank, and keep the weights as they are."""
    lora_modules: tuple[str, ...] = ()
    """Modules with an adapter; none named: every matrix in the layers but the router."""
    frozen_bits: float | None = None
    """Of one weight of a frozen matrix in the layers, `QLORA_BITS` for QLoRA; None: as `precision` has it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("data_parallel", "pipeline_parallel", "virtual_stages", "micro_batches", "lora_rank"):
            require_at_least(name, getattr(self, name), 1)
        for name, known in (("optimizer", OPTIMIZERS), ("precision", PRECISIONS)):
            if getattr(self, name) not in known:
                guess = nearest(getattr(self, name), known)
                raise ConfigError(
                    f"unknown {name} {getattr(self, name)!r}",
                    hint=f"did you mean {guess}?" if guess else f"use one of {', '.join(known)}",
                )
        if self.zero not in (0, 1, 2, 3):
            raise ConfigError(f"zero is not 0, 1, 2 or 3 (found {self.zero})", hint="change zero")
        if self.lora_rank is None and (self.lora_modules or self.frozen_bits is not None):
            raise ConfigError(
                "lora_modules and frozen_bits are for adapters, and lora_rank is not set",
                hint="set lora_rank",
            )
        require_positive("frozen_bits", self.frozen_bits)
