"""What `llmkit convert` makes of a model."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from llmkit.errors import UsageError

Form = Literal["gguf", "safetensors"]
Dtype = Literal["float32", "float16", "bfloat16", "q8_0"]
_SUFFIX = ".gguf"


@dataclass(frozen=True, kw_only=True)
class ConvertConfig:
    """The choices of one conversion.

    Raises:
        UsageError: they do not go together.
    """

    to: Form | None = None
    """None: gguf where the output's name ends with it, else safetensors."""
    dtype: Dtype | None = None
    """Of the weights; None: the model's own."""
    dequantize: bool = False
    """Quantised weights become plain numbers of the model's own dtype."""
    max_shard_bytes: int | None = None
    """Of a file's tensors; None: MAX_SHARD_BYTES of a safetensors file, and one GGUF file."""
    tie: bool | None = None
    """Whether the head is the embedding; None: as it is."""
    tokenizer: Path | None = None
    """None: the model's own."""
    carry_tokenizer: bool = True
    add_tokens: tuple[str, ...] = ()
    """Special tokens to add to the tokenizer, each with a row of embeddings."""
    check: bool = False
    base: Path | None = None
    """The model of an adapter that is converted; None: the one that it names."""
    tolerance: float | None = None
    """Largest difference of logits; None: measured (`check.compare_logits`)."""

    def __post_init__(self) -> None:
        if self.tolerance is not None and not self.check:
            raise UsageError("--tolerance without --check does nothing", hint="add --check")
        if self.tokenizer is not None and not self.carry_tokenizer:
            raise UsageError("-t and --no-tokenizer", hint="give one of them")
        if self.add_tokens and not self.carry_tokenizer:
            raise UsageError("--add-token and --no-tokenizer", hint="give one of them")
        if self.add_tokens and self.check:
            raise UsageError(
                "--add-token and --check, which compares models of one vocabulary", hint="leave --check out"
            )
        if self.dequantize and self.dtype == "q8_0":
            raise UsageError("--dequantize and --dtype q8_0, which quantises", hint="give one of them")
        if self.to == "safetensors" and self.dtype == "q8_0":
            raise UsageError("q8_0 is a type of GGUF files", hint="--to gguf, or another --dtype")

    def form(self, out: Path) -> Form:
        """What is written.

        Raises:
            UsageError: the dtype is none of its.
        """
        form: Form = self.to or ("gguf" if out.suffix == _SUFFIX else "safetensors")
        if form == "safetensors" and self.dtype == "q8_0":
            raise UsageError("q8_0 is a type of GGUF files", hint=f"call the output {out}{_SUFFIX}")
        return form
