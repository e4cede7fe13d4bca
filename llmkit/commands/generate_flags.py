"""The flags of `llmkit generate` alone: what it reads, what it writes, and how much at once."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

# What is read

Prompt = Annotated[str | None, Argument(metavar="PROMPT", help="What the text goes on from; - is stdin.")]
Model = Annotated[Path, Option("--model", "-m", metavar="PATH", help="Model folder or GGUF file.")]
PromptOption = Annotated[
    str | None, Option("--prompt", "-p", metavar="TEXT", help="The prompt, as an option.")
]
PromptFile = Annotated[
    Path | None, Option("--file", "-f", metavar="FILE", help="A file that is the prompt; - is stdin.")
]
Rows = Annotated[Path | None, Option("--jsonl", metavar="FILE", help="Rows with prompts; - is stdin.")]
TokenizerPath = Annotated[
    Path | None, Option("--tokenizer", "-t", metavar="PATH", help="If the model's folder has none.")
]
ChatPrompt = Annotated[bool, Option("--chat", help="The prompt is a user's message; use the chat template.")]
Prefill = Annotated[str | None, Option(metavar="TEXT", help="Chat replies begin so.")]
System = Annotated[str | None, Option(metavar="TEXT", help="A system message for chats that have none.")]
AllowSpecial = Annotated[
    bool, Option("--allow-special", help="Text like <|endoftext|> in a prompt is the token.")
]

# What is written

IgnoreEos = Annotated[bool, Option("--ignore-eos", help="Go on after tokens that end a text.")]
Samples = Annotated[int, Option("--samples", "--n", metavar="N", help="Texts of each prompt.")]
Logprobs = Annotated[int | None, Option(metavar="N", help="With --json: log probabilities, N alternatives.")]
AsJson = Annotated[bool, Option("--json", help="A JSON object for each text.")]
ExplainStep = Annotated[
    bool, Option("--explain-step", help="Show how the next token is drawn, step by step.")
]
Echo = Annotated[bool, Option("--echo", help="Write the prompt before the text.")]
Require = Annotated[str | None, Option(metavar="REGEX", help="Exit 1 where a text does not match.")]
ExtractCode = Annotated[
    bool, Option("--extract-code", "-x", help="Write the first code block; exit 1 where there is none.")
]
MarkBelow = Annotated[
    float | None, Option(metavar="P", help="Colour what the model gave a lower probability.")
]
Stats = Annotated[bool, Option("--stats", help="Figures on stderr at the end; with rows as JSON.")]
Resume = Annotated[bool, Option("--resume", help="With -o: keep records when stopped, and go on from them.")]
Unordered = Annotated[
    bool, Option("--unordered", help="With --jsonl: each record as soon as it is complete.")
]
Out = Annotated[Path | None, Option("--out", "-o", metavar="FILE", help="Write here, not to stdout.")]
Unbuffered = Annotated[bool, Option("--unbuffered", help="Write each piece at once, as on a terminal.")]

# How much at once

Batch = Annotated[
    int | None,
    Option(min=1, metavar="N", help="Texts at work at once.", show_default="16, or what memory allows"),
]
