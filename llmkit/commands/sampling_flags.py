"""The flags that say how texts are drawn and where the model runs: of every command that writes texts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from typer import Option

from llmkit.commands.values import parse_count
from llmkit.engine.config import SAMPLERS, Dtype, Kernels, KVDtype, SamplingConfig, Weights
from llmkit.errors import UsageError

Default = SamplingConfig


def parse_bias(text: str) -> tuple[int, float]:
    """`50256=-100`: a token's id, and what is added to its score.

    Raises:
        UsageError: not of this form.
    """
    token, equals, added = text.partition("=")
    try:
        return int(token), float(added if equals else "")
    except ValueError:
        raise UsageError(
            f"--logit-bias {text!r} is not of the form ID=X", hint="--logit-bias 50256=-100"
        ) from None


# What a text may be

MaxTokens = Annotated[int, Option(parser=parse_count, metavar="N", help="Tokens at most.")]
Stop = Annotated[list[str] | None, Option(metavar="TEXT", help="End before this text; repeatable.")]
StopId = Annotated[
    list[int] | None, Option("--stop-id", min=0, metavar="ID", help="End with this token; repeatable.")
]
JsonSchema = Annotated[
    str | None, Option(metavar="FILE|JSON", help="Texts are JSON, valid under this schema.")
]
Regex = Annotated[str | None, Option(metavar="RE", help="Texts match this, whole.")]
GrammarText = Annotated[
    str | None, Option("--grammar", metavar="FILE|TEXT", help="Texts are of this grammar: GBNF or Lark.")
]
Choice = Annotated[list[str] | None, Option(metavar="TEXT", help="Texts are one of these; repeatable.")]

# How tokens are drawn

Greedy = Annotated[bool, Option("--greedy", help="The best token always: temperature 0.")]
Temperature = Annotated[
    float | None,
    Option(metavar="X", help="0 is greedy.", show_default=f"the model's, else {Default.temperature}"),
]
TopK = Annotated[
    int | None, Option(metavar="N", help="Only the N best.", show_default="the model's, else 0: off")
]
TopP = Annotated[
    float | None,
    Option(metavar="X", help="The best that sum to X.", show_default="the model's, else 1: off"),
]
MinP = Annotated[
    float | None,
    Option(metavar="X", help="At least X times the best.", show_default="the model's, else 0: off"),
]
TypicalP = Annotated[
    float | None,
    Option(metavar="X", help="The most typical that sum to X.", show_default="the model's, else 1: off"),
]
TopNSigma = Annotated[float, Option(metavar="N", help="Scores within N deviations of the best; 0: off.")]
XtcProbability = Annotated[
    float, Option(metavar="X", help="How often the likely are left out but for the least.")
]
XtcThreshold = Annotated[float, Option(metavar="P", help="Who is likely: as likely as this.")]
Samplers = Annotated[
    str | None,
    Option(metavar="A,B,…", help="These steps, in this order.", show_default=", ".join(SAMPLERS)),
]
RepetitionPenalty = Annotated[
    float | None,
    Option(metavar="X", help="On tokens of prompt and text.", show_default="the model's, else 1: off"),
]
PresencePenalty = Annotated[float, Option(metavar="X", help="Off the score of tokens in the text.")]
FrequencyPenalty = Annotated[float, Option(metavar="X", help="The same, each time one is there.")]
LogitBias = Annotated[list[str] | None, Option(metavar="ID=X", help="Add X to a token's score; repeatable.")]

# Where the model runs

DtypeName = Annotated[Dtype, Option(help="Of weights and arithmetic; auto: as stored.")]
KVDtypeName = Annotated[
    KVDtype, Option("--kv-dtype", help="Of the cache; auto: as --dtype. int8 takes about half of bfloat16.")
]
RopeScaling = Annotated[
    str | None,
    Option(metavar="TYPE:X", help="yarn:4, linear, dynamic, llama3, none.", show_default="the model's"),
]
KernelsName = Annotated[Kernels, Option("--kernels", help="What computes; auto: ours where they can.")]
WeightsName = Annotated[Weights, Option("--weights", help="Round the weights to 8 or 4 bits.")]
Device = Annotated[str, Option(metavar="NAME", help="auto, cpu, cuda, cuda:N.")]
Threads = Annotated[
    int | None, Option(min=1, metavar="N", help="Cores to use.", show_default="by the model's size")
]

# What makes it faster

Draft = Annotated[
    str,
    Option("--draft", metavar="lookup|PATH|off", help="Guess ahead: out of the text, or by a smaller model."),
]
Adapters = Annotated[
    list[str] | None,
    Option("--adapter", metavar="NAME=PATH[:X]", help="A PEFT folder beside the model, X times as strong."),
]
DraftTokens = Annotated[
    int | None,
    Option("--draft-tokens", min=1, metavar="N", help="Guesses at once.", show_default="8; 4 by a model"),
]
PromptCacheFile = Annotated[
    Path | None, Option("--prompt-cache", metavar="FILE", help="Keep what was read for the next run.")
]
PromptCacheReadOnly = Annotated[
    bool, Option("--prompt-cache-read-only", help="Use that file, never write it.")
]
CacheOffload = Annotated[
    int,
    Option(parser=parse_count, metavar="BYTES", help="Host memory for what the cache has no room for."),
]


def sampling_fields(
    *,
    greedy: bool,
    stop: Sequence[str] | None,
    stop_ids: Sequence[int] | None,
    json_schema: str | None,
    grammar: str | None,
    choice: Sequence[str] | None,
    logit_bias: Sequence[str] | None,
    samplers: str | None = None,
    **values: Any,
) -> dict[str, Any]:
    """Fields of SamplingConfig that were given.

    Args:
        greedy: temperature 0.
        stop, stop_ids, json_schema, grammar, choice, logit_bias, samplers: as they were typed.
        values: other fields; None was not given.

    Raises:
        UsageError: greedy with another temperature, or a bias that is none.
        MissingError, DataError: see `read_schema`, `read_grammar`.
    """
    if greedy and values.get("temperature"):
        raise UsageError(
            f"--greedy and --temperature {values['temperature']} exclude each other", hint="give one"
        )
    if greedy:
        values["temperature"] = 0.0
    if json_schema is not None:
        from llmkit.workflows.generate.grammar import read_schema

        values["json_schema"] = read_schema(json_schema)
    if grammar is not None:
        from llmkit.workflows.generate.grammar import read_grammar

        values["grammar"] = read_grammar(grammar)
    values["stop"] = tuple(stop or ()) or None
    values["stop_ids"] = tuple(stop_ids or ()) or None
    values["choice"] = tuple(choice or ()) or None
    if samplers is not None:
        values["samplers"] = tuple(name.strip().replace("-", "_") for name in samplers.split(","))
    values["logit_bias"] = tuple(map(parse_bias, logit_bias or ())) or None
    return {name: value for name, value in values.items() if value is not None}
