"""The flags of low-rank adapters, as `llmkit finetune` trains them: `--lora`, or `--lora r=16,alpha=32`."""

from dataclasses import dataclass
from typing import Annotated

from typer import Option

from llmkit.commands.optional_value import OptionalValue
from llmkit.commands.shared import given_once
from llmkit.errors import UsageError
from llmkit.model.adapters.config import ALL_LINEAR, LoraConfig

_USUAL = "usual"
LORA = OptionalValue(_USUAL, lambda word: "=" in word and not word.startswith("-"))
_FLAGS = {"r": "rank", "alpha": "alpha", "dropout": "dropout"}
"""The keys of --lora, and the flags that say the same."""


@dataclass(frozen=True, kw_only=True)
class Adapters:
    """Low-rank adapters beside frozen weights."""

    lora: Annotated[
        str | None,
        Option(
            metavar="[r=N,alpha=X,dropout=X]",
            parser=LORA,
            help="Low-rank adapters on frozen weights; RUN is PEFT's folder.",
        ),
    ] = None
    rank: Annotated[int | None, Option(metavar="N", help=f"Of the adapters; default {LoraConfig.r}.")] = None
    alpha: Annotated[
        float | None, Option(metavar="X", help="Their scale is alpha / rank; default twice the rank.")
    ] = None
    dropout: Annotated[float | None, Option(metavar="X", help="Of what they read; default 0.")] = None
    targets: Annotated[
        str | None,
        Option(metavar="A,B|REGEX", help=f"Modules that get one: ends of names; default {ALL_LINEAR}."),
    ] = None
    lora_layers: Annotated[int | None, Option(metavar="N", help="Adapters in the last N layers only.")] = None
    save_modules: Annotated[
        str | None, Option(metavar="A,B", help="Modules trained whole beside them: embed_tokens, lm_head.")
    ] = None
    rslora: Annotated[bool, Option("--rslora", help="LoRA with the scale alpha / sqrt(rank).")] = False
    dora: Annotated[bool, Option("--dora", help="LoRA with a length of its own for each row (DoRA).")] = False
    qlora: Annotated[bool, Option("--qlora", help="LoRA on weights in 4 bits, or as the file has them.")] = (
        False
    )

    def config(self) -> LoraConfig | None:
        """The adapters that are asked for; None: there are none.

        Raises:
            UsageError: details of adapters without adapters, or one that is said twice.
            ConfigError: a value is out of range.
        """
        if self.lora is None and not (self.rslora or self.dora or self.qlora):
            details = [name for name, value in vars(self).items() if value is not None and value is not False]
            if details:
                flag = f"--{details[0].replace('_', '-')}"
                raise UsageError(f"{flag} without adapters", hint=f"add --lora, or leave {flag} out")
            return None
        said = _details(self.lora or _USUAL)
        rank, alpha, dropout = (
            given_once({f"--{flag}": getattr(self, flag), f"--lora {key}=": said.get(key)})
            for key, flag in _FLAGS.items()
        )
        r = LoraConfig.r if rank is None else rank
        return LoraConfig(
            r=r,
            alpha=2.0 * r if alpha is None else alpha,
            dropout=LoraConfig.dropout if dropout is None else dropout,
            use_rslora=self.rslora,
            use_dora=self.dora,
            targets=LoraConfig.targets if self.targets is None else _targets(self.targets),
            layers=self.lora_layers,
            modules_to_save=_names(self.save_modules or ""),
        )


def _details(text: str) -> dict[str, float]:
    """`r=16,alpha=32` as numbers."""
    details: dict[str, float] = {}
    for part in () if text == _USUAL else _names(text):
        key, _, word = part.partition("=")
        try:
            if key not in _FLAGS:
                raise ValueError
            details[key] = int(word) if key == "r" else float(word)
        except ValueError:
            raise UsageError(
                f"--lora {text}: {part!r} is none of r=N, alpha=X, dropout=X", hint="--lora r=16,alpha=32"
            ) from None
    return details


def _targets(text: str) -> str | tuple[str, ...]:
    """Names where it is words and dots with commas between, else one pattern."""
    if text == ALL_LINEAR or not all(name.replace(".", "").isidentifier() for name in _names(text)):
        return text
    return _names(text)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
