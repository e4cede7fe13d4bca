"""What a low-rank adapter is to be (LoRA, 2106.09685): its size, kind and modules. No torch."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from llmkit.errors import ConfigError
from llmkit.formats.peft import lora_scale, of_pattern

ALL_LINEAR = "all-linear"
"""Every matrix in the layers but a router: what peft means by it too."""


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """The change of a matrix W (out, in) is scale * B A, with A (r, in) and B (out, r)."""

    r: int = 16
    """Rank."""
    alpha: float = 32.0
    """scale is alpha / r."""
    dropout: float = 0.0
    """Of what A reads, while learning."""
    use_rslora: bool = False
    """scale is alpha / sqrt(r), which does not shrink what large ranks learn (2312.03732)."""
    use_dora: bool = False
    """A length of its own for each row of W + scale * B A (2402.09353)."""
    targets: str | tuple[str, ...] = ALL_LINEAR
    """Ends of module names, ours or the file's (q_proj, mlp.up_proj, c_attn); or one string: all-linear, or a
    pattern for the whole name."""
    layers: int | None = None
    """The last so many layers only; None: all."""
    rank_pattern: Mapping[str, int] = field(default_factory=dict)
    """Ranks of modules whose name ends in a pattern."""
    alpha_pattern: Mapping[str, float] = field(default_factory=dict)
    modules_to_save: tuple[str, ...] = ()
    """Modules that are trained whole and kept beside the factors: embed_tokens, lm_head, norm."""

    def __post_init__(self) -> None:
        for name, rank in (("r", self.r), *self.rank_pattern.items()):
            if rank < 1:
                raise ConfigError(f"LoRA's rank {name} is not at least 1 (found {rank})", hint="give r=16")
        for name, alpha in (("alpha", self.alpha), *self.alpha_pattern.items()):
            if not (alpha > 0 and math.isfinite(alpha)):
                wanted = "above zero" if math.isfinite(alpha) else "finite"
                raise ConfigError(f"LoRA's {name} is not {wanted} (found {alpha})", hint="give alpha=32")
        if not 0 <= self.dropout < 1:
            raise ConfigError(
                f"LoRA's dropout is not from 0 to below 1 (found {self.dropout})", hint="give dropout=0.05"
            )
        if self.layers is not None and self.layers < 1:
            raise ConfigError(f"LoRA in the last {self.layers} layers is none", hint="give a number from 1")
        if not self.targets:
            raise ConfigError("LoRA has no targets", hint=f"give module names, or {ALL_LINEAR}")
        patterns = [*self.rank_pattern, *self.alpha_pattern]
        for pattern in [*patterns, self.targets] if isinstance(self.targets, str) else patterns:
            _check_pattern(pattern)

    def is_target(self, names: Iterable[str]) -> bool:
        """Whether the targets, being no `all-linear`, name a module.

        Args:
            names: of the module: ours, and the file's.
        """
        if isinstance(self.targets, str):
            return any(re.fullmatch(self.targets, name) for name in names)
        return any(ends_with(name, self.targets) for name in names)

    def rank_of(self, names: Iterable[str]) -> int:
        """The rank of a module with these names."""
        return of_pattern(self.rank_pattern, names, self.r)

    def scale_of(self, names: Iterable[str], rank: int) -> float:
        """What the product of a module's factors is multiplied with."""
        alpha = of_pattern(self.alpha_pattern, names, self.alpha)
        return lora_scale(alpha, rank, rslora=self.use_rslora)


def ends_with(name: str, suffixes: Iterable[str]) -> bool:
    """Whether a module's name is one of some names, or ends in one after a dot."""
    return any(name == suffix or name.endswith(f".{suffix}") for suffix in suffixes)


def _check_pattern(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ConfigError(
            f"{pattern!r} is no valid pattern ({error})", hint="give a regular expression, such as .*_proj"
        ) from None
