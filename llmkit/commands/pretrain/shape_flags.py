"""The shape of a fresh model: a preset, and keys of config.json that change it."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from typer import Option

from llmkit.commands.values import parse_count


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Flags with the names of config.json's keys."""

    model_type: Annotated[
        str | None, Option(metavar="NAME", help="The family: llama, qwen3, mistral, ...")
    ] = None
    hidden_size: Annotated[int | None, Option(metavar="N")] = None
    intermediate_size: Annotated[int | None, Option(metavar="N")] = None
    num_hidden_layers: Annotated[int | None, Option(metavar="N")] = None
    num_attention_heads: Annotated[int | None, Option(metavar="N")] = None
    num_key_value_heads: Annotated[int | None, Option(metavar="N")] = None
    head_dim: Annotated[int | None, Option(metavar="N")] = None
    num_experts: Annotated[int | None, Option(metavar="N", help="Of a mixture, in each layer.")] = None
    num_experts_per_tok: Annotated[int | None, Option(metavar="N")] = None
    moe_intermediate_size: Annotated[int | None, Option(metavar="N", help="Of one expert.")] = None
    max_position_embeddings: Annotated[
        int | None, Option(metavar="N", parser=parse_count, help="Default: the row length.")
    ] = None
    rope_theta: Annotated[float | None, Option(metavar="X")] = None
    qk_norm: Annotated[
        Literal["none", "head", "projection"] | None,
        Option("--qk-norm", help="Where the family has it: llama none, qwen3 head, olmo2 projection."),
    ] = None
    final_logit_softcapping: Annotated[
        float | None, Option(metavar="X", help="Logits become X tanh(logit / X): Gemma's families.")
    ] = None
    tie_word_embeddings: Annotated[bool | None, Option()] = None
    initializer_range: Annotated[
        float | None, Option(metavar="X", help="Spread of fresh weights; default 0.7 / sqrt(hidden_size).")
    ] = None
    vocab_size: Annotated[
        int | None,
        Option(metavar="N", parser=parse_count, help="At least the tokenizer's, which is the default."),
    ] = None

    def overrides(self) -> dict[str, Any]:
        """What is said, by the keys of config.json."""
        return {name: value for name, value in vars(self).items() if value is not None}
