"""What `llmkit quantize` makes of a model."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from llmkit.errors import UsageError

Container = Literal["gguf", "compressed-tensors", "gptq", "awq", "mlx"]
Method = Literal["nearest", "feedback"]
_BITS = {
    "gguf": {8: "Q8_0", 6: "Q6_K", 5: "Q5_K_M", 4: "Q4_K_M", 3: "Q3_K_M", 2: "Q2_K"},
    "compressed-tensors": {bits: f"int{bits}-g128" for bits in range(2, 9)},
    "gptq": {bits: f"int{bits}-g128" for bits in (2, 3, 4, 8)},
    "awq": {4: "int4-g128-asym"},
    "mlx": {bits: f"mlx-{bits}bit-g64" for bits in (2, 3, 4, 5, 6, 8)},
}
TYPE_NAMES = (
    *("Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q5_1", "Q5_0", "Q4_K_M", "Q4_K_S", "Q4_1", "Q4_0"),
    *("IQ4_NL", "IQ4_XS", "Q3_K_L", "Q3_K_M", "Q3_K_S", "Q2_K", "Q2_K_S", "F32", "F16", "BF16"),
    *("int8", "int4-g128", "int4-g32-asym", "mlx-4bit-g64", "fp8-channel"),
)
"""File types of GGUF, and examples of grids for folders: what the manual and completion name."""
_GROUP = re.compile(r"-g\d+")


@dataclass(frozen=True, kw_only=True)
class QuantizeConfig:
    """The choices of one run.

    Raises:
        UsageError: they do not go together.
    """

    type: str | None = None
    """A GGUF file type (Q4_K_M) or a grid (int4-g128); None: 4 bits as the container has them."""
    bits: int | None = None
    """The container's usual type of so many, where none is named; None: 4."""
    group: int | None = None
    """Weights that share a scale; None: as that type has it."""
    container: Container | None = None
    """None: gguf where the output's name ends with it, else compressed-tensors."""
    method: Method = "feedback"
    scale: bool = False
    """Whether columns are scaled by what they read, and norms and rows before them take the inverse (AWQ)."""
    calibration: tuple[Path, ...] = ()
    """Text that errors are weighed by; none: every column counts alike, and rounding is to the nearest."""
    calibration_tokens: int = 16_384
    imatrix: Path | None = None
    """An importance matrix of llama.cpp's in place of calibration text."""
    score: tuple[Path, ...] = ()
    """Text that is scored before and after; none: other rows of the calibration text."""
    score_tokens: int = 8_192
    seq_len: int = 512
    embeddings: str | None = None
    """Grid of the embedding; None: by the type's rule."""
    head: str | None = None
    overrides: tuple[tuple[str, str], ...] = ()
    """A pattern of tensor names, and a grid: the last that is found in a name decides."""
    budget_bpw: float | None = None
    """Bits a weight of the whole model, chosen by measured sensitivity."""
    fit_bytes: int | None = None
    """The same by the size of what is written."""
    max_kl: float | None = None
    max_ppl_increase: float | None = None
    tokenizer: Path | None = None
    carry_tokenizer: bool = True
    """Whether it goes into what is written; without, it only reads the text."""
    max_shard_bytes: int | None = None
    """Of a file's tensors; None: MAX_SHARD_BYTES of a safetensors file, and one GGUF file."""
    resume: bool = False
    """Whether what is rounded is kept where a run is stopped, and a run goes on from it."""
    seed: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.calibration_tokens < 1 and self.calibration:
            raise UsageError("--calibration with no token of it", hint="--calibration-tokens 16k")
        if self.imatrix is not None and self.calibration:
            raise UsageError(
                "--imatrix and --calibration are two ways to weigh errors",
                hint="give one of them; text to score: --score",
            )
        if self.scale and not (self.calibration or self.imatrix):
            raise UsageError(
                "--scale goes by what matrices read", hint="add --calibration FILE or --imatrix FILE"
            )
        if self.type is not None and self.bits is not None:
            raise UsageError(
                f"--bits {self.bits} and --type {self.type} are two types", hint="give one of them"
            )
        if self.type is not None and self.group is not None:
            raise UsageError(
                f"--type {self.type} names its own group", hint="--bits and --group, or one name: int4-g64"
            )
        if self.budget_bpw is not None and self.fit_bytes is not None:
            raise UsageError("--budget-bpw and --fit are two budgets", hint="give one of them")
        if self.budgeted and not self.reads_text:
            raise UsageError("a budget is spent by what text shows", hint="add --calibration FILE")
        if self.gated and not self.reads_text:
            raise UsageError("--max-kl and --max-ppl-increase need text to score", hint="add --score FILE")

    @property
    def reads_text(self) -> bool:
        """Whether there is text that a tokenizer is needed for."""
        return bool(self.calibration or self.score)

    @property
    def budgeted(self) -> bool:
        """Whether grids are chosen by what they cost."""
        return self.budget_bpw is not None or self.fit_bytes is not None

    @property
    def gated(self) -> bool:
        """Whether the result may be refused."""
        return self.max_kl is not None or self.max_ppl_increase is not None

    def container_of(self, out: Path) -> Container:
        """What is written."""
        return self.container or ("gguf" if out.suffix == ".gguf" else "compressed-tensors")

    def type_of(self, out: Path) -> str:
        """What most matrices become."""
        container = self.container_of(out)
        return self.type or type_of_bits(container, 4 if self.bits is None else self.bits, self.group)


def type_of_bits(container: Container, bits: int, group: int | None = None) -> str:
    """What so many bits are called in a container.

    Args:
        group: weights that share a scale, in place of the usual number.

    Raises:
        UsageError: it has no such type, or its groups are of one size.
    """
    types = _BITS[container]
    if bits not in types:
        raise UsageError(
            f"{container} has no type of {bits} bits",
            hint=f"{', '.join(map(str, types))}, or name one with --type",
        )
    if group is None:
        return types[bits]
    if container == "gguf":
        raise UsageError(
            "--group: the types of a GGUF file have groups of their own",
            hint="leave it out, or write a folder: --format compressed-tensors, gptq, mlx",
        )
    return _GROUP.sub(f"-g{group}", types[bits])
