"""The flags of `llmkit generate` alone: what it reads, what it writes, and how much at once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from llmkit.commands.optional_value import FILE_OR_STDIN
from llmkit.commands.shared import Force, Rejects, SkipBad, inputs_or_stdin
from llmkit.engine.config import GenerateConfig
from llmkit.errors import UsageError
from llmkit.formats.streams import STDIO

USAGE = "llmkit generate -m MODEL 'PROMPT', or … | llmkit generate -m MODEL"

# What is read

ChatPrompt = Annotated[bool, Option("--chat", help="The prompt is a user's message; use the chat template.")]
Prefill = Annotated[str | None, Option(metavar="TEXT", help="Chat replies begin so.")]
Suffix = Annotated[str | None, Option(metavar="TEXT", help="Fill the gap between the prompt and this.")]
System = Annotated[str | None, Option(metavar="TEXT", help="A system message for chats that have none.")]
AllowSpecial = Annotated[
    bool, Option("--allow-special", help="Text like <|endoftext|> in a prompt is the token.")
]


@dataclass(frozen=True, kw_only=True)
class Prompts:
    """Where prompts come from: one of four places."""

    text: Annotated[
        str | None, Argument(metavar="PROMPT", help="What the text goes on from; - is stdin.")
    ] = None
    prompt: Annotated[
        str | None, Option("--prompt", "-p", metavar="TEXT", help="The prompt, as an option.")
    ] = None
    file: Annotated[
        Path | None, Option("--file", "-f", metavar="FILE", help="A file that is the prompt; - is stdin.")
    ] = None
    jsonl: Annotated[
        Path | None,
        Option("--jsonl", metavar="[FILE]", parser=FILE_OR_STDIN, help="Rows with prompts; alone: on stdin."),
    ] = None

    template: Annotated[
        Path | None, Option(metavar="FILE", help="Jinja: makes the prompt of a row from its keys.")
    ] = None

    def one_of_them(self) -> tuple[str | None, Path | None, Path | None]:
        """The words of a prompt, or the file that is one, or that of the rows: stdin where none is given.

        Raises:
            UsageError: two of them are given, or none while stdin is a terminal.
        """
        flags = {"PROMPT": self.text, "--prompt": self.prompt, "--file": self.file, "--jsonl": self.jsonl}
        named = [flag for flag, value in flags.items() if value is not None]
        if len(named) > 1:
            raise UsageError(f"{named[0]} and {named[1]} are two prompts", hint="give one of them")
        words = self.prompt if self.text is None else self.text
        if self.jsonl == STDIO:
            (rows,) = inputs_or_stdin(None, "… | llmkit generate -m MODEL --jsonl")  # nobody types rows
            return None, None, rows
        if words == "-" or not named:
            (stdin,) = inputs_or_stdin([STDIO] if words == "-" else None, USAGE)
            return None, stdin, None
        return words, self.file, self.jsonl


# What is written

IgnoreEos = Annotated[bool, Option("--ignore-eos", help="Go on after tokens that end a text.")]
Samples = Annotated[int, Option("--samples", metavar="N", help="Texts of each prompt.")]
Logprobs = Annotated[int | None, Option(metavar="N", help="With --json: log probabilities, N alternatives.")]
AsJson = Annotated[bool, Option("--json", help="A JSON object for each text.")]
ExplainStep = Annotated[
    bool, Option("--explain-step", help="Show how the next token is drawn, step by step.")
]
Stats = Annotated[bool, Option("--stats", help="Figures on stderr at the end; with rows as JSON.")]
Unordered = Annotated[
    bool, Option("--unordered", help="With --jsonl: each record as soon as it is complete.")
]
Unbuffered = Annotated[bool, Option("--unbuffered", help="Write each piece at once, as on a terminal.")]


@dataclass(frozen=True, kw_only=True)
class Written:
    """What of a text is written, and what it must have."""

    echo: Annotated[bool, Option("--echo", help="Write the prompt before the text.")] = GenerateConfig.echo
    extract_code: Annotated[
        bool,
        Option("--extract-code", "-x", help="Write the first code block; exit 1 where there is none."),
    ] = GenerateConfig.extract_code
    mark_below: Annotated[
        float | None, Option(metavar="P", help="Colour what the model gave a lower probability.")
    ] = GenerateConfig.mark_below
    require: Annotated[str | None, Option(metavar="REGEX", help="Exit 1 where a text does not match.")] = (
        GenerateConfig.require
    )


@dataclass(frozen=True, kw_only=True)
class Records:
    """Where texts go, and rows that are no prompts."""

    out: Annotated[Path | None, Option("--out", "-o", metavar="FILE", help="Write here, not to stdout.")] = (
        None
    )
    resume: Annotated[
        bool, Option("--resume", help="With -o: keep records when stopped, and go on from them.")
    ] = False
    force: Force = False
    skip_bad: SkipBad = False
    rejects: Rejects = None
