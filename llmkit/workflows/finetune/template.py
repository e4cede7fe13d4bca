"""The chat template that fine-tuning renders with: the tokenizer's own, or the one of --template."""

from pathlib import Path

from llmkit.errors import UsageError
from llmkit.tokens.chatml import chatml_template
from llmkit.tokens.config import TURN_END, TURN_START
from llmkit.tokens.templates import read_template
from llmkit.tokens.tokenizer import Tokenizer

CHATML = "chatml"


def template_of(template: str | None, tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer with the chat template that --template asks for; None: as it is.

    Raises:
        MissingError: the template's file is not there.
        DataError: it is not UTF-8.
        ConfigError: it does not parse.
        UsageError: `chatml` is asked for, and the tokenizer has not got its tokens.
    """
    if template is None:
        return tokenizer
    if template != CHATML:
        text = read_template(Path(template))
    else:
        added = tokenizer.backend.get_added_tokens_decoder().values()
        missing = {TURN_START, TURN_END} - {token.content for token in added if token.special}
        if missing:
            raise UsageError(
                f"--template chatml needs {' and '.join(sorted(missing))}, which the tokenizer has not got",
                hint="--template FILE with a template that uses its tokens, or leave it out and train on "
                "prompt and completion",
            )
        text = chatml_template(bos=tokenizer.bos_id is not None and tokenizer.bos_id != tokenizer.eos_id)
    return tokenizer.with_template(text)
