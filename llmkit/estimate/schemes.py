"""Ways to store a whole model: which tensors take which format, and the bytes that come of it."""

import re
from collections.abc import Iterator
from typing import Literal

import msgspec

from llmkit.errors import ConfigError, at_place
from llmkit.estimate.architecture import Architecture, TensorSpec
from llmkit.estimate.gguf_mix import gguf_types
from llmkit.estimate.matrices import matrices_of
from llmkit.estimate.matrix_formats import HALF, MatrixFormat, Mlx
from llmkit.estimate.stored import INDEX, Stored


class GgufFile(msgspec.Struct, frozen=True):
    """A GGUF file that llama-quantize makes of the model."""

    name: str
    file_type: str
    imatrix: bool = False

    def stored(self, architecture: Architecture) -> Iterator[Stored]:
        """The bytes of every tensor."""
        for tensor, kind in gguf_types(architecture, self.file_type, imatrix=self.imatrix):
            yield Stored(tensor.part, kind.name, tensor.rows * tensor.columns // kind.values * kind.nbytes)


class Rule(msgspec.Struct, frozen=True):
    """A format for the modules whose names a pattern matches from the start; None leaves them alone."""

    pattern: re.Pattern[str]
    format: MatrixFormat | None


Scope = Literal["experts", "layers", "linears", "mlx"]
"""What a format is for. experts: their matrices. layers: matrices in layers, not the router, nor the head.
linears: every matrix. mlx: embeddings too, and the router as mlx-lm's class for the family has it."""


class Quantised(msgspec.Struct, frozen=True, kw_only=True):
    """Matrices in a format, all else in 16 bits."""

    name: str
    format: MatrixFormat | None
    """Of the matrices in scope that no rule names."""
    scope: Scope = "layers"
    head: bool = False
    """Whether `format` is for the head as well, where the scope is layers."""
    rules: tuple[Rule, ...] = ()
    """For matrices in scope; the first that matches a module's name decides."""

    def stored(self, architecture: Architecture) -> Iterator[Stored]:
        """The bytes of every tensor."""
        kept = "float16" if architecture.dtype == "float16" else "bfloat16"
        for tensor in architecture.tensors:
            yield from self._tensor(tensor, architecture) or (Stored(tensor.part, kept, tensor.numel * HALF),)

    def _tensor(self, tensor: TensorSpec, architecture: Architecture) -> list[Stored]:
        """The bytes of a tensor by what they are; empty for one that stays in 16 bits."""
        chosen = self._format(tensor, architecture.model_type)
        if chosen is None:
            return []
        count, rows, columns = matrices_of(tensor, architecture)
        with at_place(f"{self.name}: {tensor.name}", ConfigError):
            pieces = chosen.pieces(rows, columns)
        names = (chosen.codes_name, "scales", "zeros", INDEX)
        found = zip(names, pieces or (), strict=False)
        return [Stored(tensor.part, name, nbytes * count) for name, nbytes in found if nbytes]

    def _format(self, tensor: TensorSpec, model_type: str) -> MatrixFormat | None:
        if not self._in_scope(tensor):
            return None
        default = self.format
        if self.scope == "mlx" and tensor.part == "router":
            default = _mlx_router(model_type, self.format)
        one_by_one = any(_NAMES_AN_EXPERT.search(rule.pattern.pattern) for rule in self.rules)
        copies = range(tensor.copies) if one_by_one else (0, tensor.copies - 1)
        names = {_module_name(tensor, copy) for copy in copies}
        found = {self._ruled(name, default) for name in names}
        if len(found) > 1:
            raise ConfigError(
                f"{self.name}: experts of {tensor.name} are stored in different formats",
                hint="read the files themselves: give a folder that has the weights",
            )
        return found.pop()

    def _ruled(self, name: str, default: MatrixFormat | None) -> MatrixFormat | None:
        return next((rule.format for rule in self.rules if rule.pattern.match(name)), default)

    def _in_scope(self, tensor: TensorSpec) -> bool:
        match self.scope:
            case "experts":
                return tensor.linear and tensor.part == "experts"
            case "layers":
                return tensor.linear and tensor.part != "router" and (self.head or tensor.part != "head")
            case "linears":
                return tensor.linear
            case "mlx":
                return tensor.linear or tensor.module in _EMBEDDINGS


_NAMES_AN_EXPERT = re.compile(r"experts\\?\.\d")
"""In a pattern; all others treat experts alike, so that the first and the last speak for all."""
_EMBEDDINGS = ("embed_tokens", "embed_positions")
_MLX_ROUTER_8_BITS = ("qwen3_moe", "qwen3_next", "gpt_oss")
_MLX_ROUTER_KEPT = ("deepseek", "deepseek_v2", "deepseek_v3", "dots1", "glm4_moe")


def _mlx_router(model_type: str, plain: MatrixFormat | None) -> MatrixFormat | None:
    if model_type in _MLX_ROUTER_KEPT:
        return None
    return Mlx(8, 64) if model_type in _MLX_ROUTER_8_BITS else plain


def _module_name(tensor: TensorSpec, copy: int) -> str:
    return tensor.name.removesuffix(".weight").replace("*", str(copy))
