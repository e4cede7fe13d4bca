"""The flags that say how texts are drawn, by which model, and where it runs: of commands that write texts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from typer import Option

from llmkit.commands.values import MOST_AT_ONCE, parse_count, parse_size
from llmkit.engine.config import SAMPLERS, Dtype, GenerateConfig, Kernels, KVDtype, SamplingConfig, Weights
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


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """What a text may be, and how its tokens are drawn."""

    max_tokens: Annotated[
        int | None,
        Option(
            parser=parse_count,
            metavar="N",
            help="Tokens at most.",
            show_default=f"the model's, else {Default.max_tokens}",
        ),
    ] = None
    greedy: Annotated[bool, Option("--greedy", help="The best token always: temperature 0.")] = False
    temperature: Annotated[
        float | None,
        Option(metavar="X", help="0 is greedy.", show_default=f"the model's, else {Default.temperature}"),
    ] = None
    top_k: Annotated[
        int | None, Option(metavar="N", help="Only the N best.", show_default="the model's, else 0: off")
    ] = None
    top_p: Annotated[
        float | None,
        Option(metavar="X", help="The best that sum to X.", show_default="the model's, else 1: off"),
    ] = None
    min_p: Annotated[
        float | None,
        Option(metavar="X", help="At least X times the best.", show_default="the model's, else 0: off"),
    ] = None
    typical_p: Annotated[
        float | None,
        Option(metavar="X", help="The most typical that sum to X.", show_default="the model's, else 1: off"),
    ] = None
    top_n_sigma: Annotated[
        float, Option(metavar="N", help="Scores within N deviations of the best; 0: off.")
    ] = Default.top_n_sigma
    xtc_probability: Annotated[
        float, Option(metavar="X", help="How often the likely are left out but for the least.")
    ] = Default.xtc_probability
    xtc_threshold: Annotated[float, Option(metavar="P", help="Who is likely: as likely as this.")] = (
        Default.xtc_threshold
    )
    samplers: Annotated[
        str | None,
        Option(metavar="A,B,…", help="These steps, in this order.", show_default=", ".join(SAMPLERS)),
    ] = None
    adaptive_target: Annotated[
        float, Option(metavar="P", help="Draw for this probability on average; below 0: off.")
    ] = Default.adaptive_target
    adaptive_decay: Annotated[float, Option(metavar="X", help="How long that average remembers.")] = (
        Default.adaptive_decay
    )
    mirostat: Annotated[
        int, Option(metavar="0|1|2", help="Draw for a surprise on average, by this version; 0: off.")
    ] = Default.mirostat
    mirostat_tau: Annotated[float, Option(metavar="BITS", help="That surprise.")] = Default.mirostat_tau
    mirostat_eta: Annotated[float, Option(metavar="X", help="How fast it comes near it.")] = (
        Default.mirostat_eta
    )
    repetition_penalty: Annotated[
        float | None,
        Option(metavar="X", help="On tokens of prompt and text.", show_default="the model's, else 1: off"),
    ] = None
    presence_penalty: Annotated[float, Option(metavar="X", help="Off the score of tokens in the text.")] = (
        Default.presence_penalty
    )
    frequency_penalty: Annotated[float, Option(metavar="X", help="The same, each time one is there.")] = (
        Default.frequency_penalty
    )
    repeat_last_n: Annotated[
        int, Option(metavar="N", help="Tokens of prompt and text that the three look at; -1: all.")
    ] = Default.repeat_last_n
    dry_multiplier: Annotated[
        float, Option(metavar="X", help="Off tokens that go on with a repetition; 0: off.")
    ] = Default.dry_multiplier
    dry_base: Annotated[float, Option(metavar="X", help="Times this for each token of it.")] = (
        Default.dry_base
    )
    dry_allowed_length: Annotated[int, Option(metavar="N", help="From repetitions of N tokens on.")] = (
        Default.dry_allowed_length
    )
    dry_penalty_last_n: Annotated[
        int, Option(metavar="N", help="Tokens of prompt and text that are looked at; -1: all.")
    ] = Default.dry_penalty_last_n
    dry_sequence_breaker: Annotated[
        list[str] | None,
        Option(
            metavar="TEXT",
            help="No repetition goes over it; repeatable; or none.",
            show_default=" ".join(map(repr, Default.dry_sequence_breakers)),
        ),
    ] = None
    logit_bias: Annotated[
        list[str] | None, Option(metavar="ID=X", help="Add X to a token's score; repeatable.")
    ] = None
    json_schema: Annotated[
        str | None, Option(metavar="FILE|JSON", help="Texts are JSON, valid under this schema.")
    ] = None
    regex: Annotated[str | None, Option(metavar="RE", help="Texts match this, whole.")] = None
    choice: Annotated[
        list[str] | None, Option(metavar="TEXT", help="Texts are one of these; repeatable.")
    ] = None
    grammar: Annotated[
        str | None, Option("--grammar", metavar="FILE|TEXT", help="Texts are of this grammar: GBNF or Lark.")
    ] = None
    stop: Annotated[list[str] | None, Option(metavar="TEXT", help="End before this text; repeatable.")] = None
    stop_id: Annotated[
        list[int] | None, Option("--stop-id", min=0, metavar="ID", help="End with this token; repeatable.")
    ] = None

    def fields(self, **more: Any) -> dict[str, Any]:
        """Fields of SamplingConfig that were given.

        Args:
            more: others of its fields; None was not given.

        Raises:
            UsageError: greedy with another temperature, or a bias that is none.
            MissingError, DataError: see `read_schema`, `read_grammar`.
        """
        values: dict[str, Any] = {**vars(self), **more}
        if values.pop("greedy"):
            if self.temperature:
                raise UsageError(
                    f"--greedy and --temperature {self.temperature} exclude each other", hint="give one"
                )
            values["temperature"] = 0.0
        if self.json_schema is not None:
            from llmkit.workflows.generate.grammar import read_schema

            values["json_schema"] = read_schema(self.json_schema)
        if self.grammar is not None:
            from llmkit.workflows.generate.grammar import read_grammar

            values["grammar"] = read_grammar(self.grammar)
        if self.samplers is not None:
            values["samplers"] = tuple(name.strip().replace("-", "_") for name in self.samplers.split(","))
        if (breaks := values.pop("dry_sequence_breaker")) is not None:
            values["dry_sequence_breakers"] = () if breaks == ["none"] else tuple(breaks)
        values["stop"] = tuple(self.stop or ()) or None
        values["stop_ids"] = tuple(values.pop("stop_id") or ()) or None
        values["choice"] = tuple(self.choice or ()) or None
        values["logit_bias"] = tuple(map(parse_bias, self.logit_bias or ())) or None
        return {name: value for name, value in values.items() if value is not None}


# Which model, and where it runs

Model = Annotated[Path, Option("--model", "-m", metavar="PATH", help="Model folder or GGUF file.")]
TokenizerPath = Annotated[
    Path | None, Option("--tokenizer", "-t", metavar="PATH", help="If the model's folder has none.")
]
DtypeName = Annotated[Dtype, Option(help="Of weights and arithmetic; auto: as stored.")]
KernelsName = Annotated[
    Kernels,
    Option(
        "--kernels",
        help="What computes; auto: ours where they can. They round activations of quantised weights to int8.",
    ),
]
WeightsName = Annotated[Weights, Option("--weights", help="Round the weights to 8 or 4 bits.")]
Device = Annotated[str, Option(metavar="NAME", help="auto, cpu, cuda, cuda:N.")]
Threads = Annotated[
    int | None,
    Option(min=1, max=MOST_AT_ONCE, metavar="N", help="Cores to use.", show_default="by the model's size"),
]
Batch = Annotated[
    int | None,
    Option(min=1, metavar="N", help="Texts at work at once.", show_default="16, or what memory allows"),
]


@dataclass(frozen=True, kw_only=True)
class Running:
    """Where the model runs, and in which numbers."""

    dtype: DtypeName = GenerateConfig.dtype
    kv_dtype: Annotated[
        KVDtype,
        Option("--kv-dtype", help="Of the cache; auto: as --dtype. int8 takes about half of bfloat16."),
    ] = GenerateConfig.kv_dtype
    rope_scaling: Annotated[
        str | None,
        Option(metavar="TYPE:X", help="yarn:4, linear, dynamic, llama3, none.", show_default="the model's"),
    ] = GenerateConfig.rope_scaling
    kernels: KernelsName = GenerateConfig.kernels
    weights: WeightsName = GenerateConfig.weights
    device: Device = GenerateConfig.device
    threads: Threads = GenerateConfig.threads


Tp = Annotated[int, Option("--tp", metavar="N", help="Cut the model into N processes, by heads and columns.")]


# What the model is asked in a chat

TemplateKwargs = Annotated[
    str | None,
    Option(
        "--chat-template-kwargs",
        "--chat-template-config",
        metavar="JSON",
        help='Told to the chat template: {"enable_thinking": false}.',
    ),
]


def template_kwargs_of(told: str | None) -> dict[str, Any]:
    """What the flag says, decoded; raises what `parse_kwargs` does."""
    if told is None:
        return {}
    from llmkit.workflows.generate.template_kwargs import parse_kwargs

    return parse_kwargs(told)


# What is beside the model, and makes it faster

Adapters = Annotated[
    list[str] | None,
    Option(
        "--adapter",
        "--adapters",
        metavar="NAME=PATH[:X]",
        help="A PEFT folder or GGUF file beside the model, X times as strong. Repeatable.",
    ),
]
CacheOffload = Annotated[
    int,
    Option(parser=parse_size, metavar="BYTES", help="Host memory for what the cache has no room for."),
]


@dataclass(frozen=True, kw_only=True)
class Speculation:
    """What guesses at tokens ahead."""

    draft: Annotated[
        str,
        Option(
            "--draft", metavar="lookup|PATH|off", help="Guess ahead: out of the text, or by a smaller model."
        ),
    ] = GenerateConfig.draft
    draft_tokens: Annotated[
        int | None,
        Option("--draft-tokens", min=1, metavar="N", help="Guesses at once.", show_default="8; 4 by a model"),
    ] = GenerateConfig.draft_tokens


@dataclass(frozen=True, kw_only=True)
class PromptCache:
    """The file in which what was read is kept for the next run."""

    prompt_cache: Annotated[
        Path | None, Option("--prompt-cache", metavar="FILE", help="Keep what was read for the next run.")
    ] = None
    prompt_cache_read_only: Annotated[
        bool, Option("--prompt-cache-read-only", help="Use that file, never write it.")
    ] = False
