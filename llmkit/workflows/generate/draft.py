"""Where guesses at tokens come from: --draft, checked before any weight is read. No torch."""

from dataclasses import dataclass
from pathlib import Path

from llmkit.engine.config import GenerateConfig
from llmkit.errors import DataError, UsageError
from llmkit.estimate.architecture_of import architecture_of
from llmkit.model.config import ModelConfig
from llmkit.model.rope_scaling import ORIGINAL
from llmkit.model.source import check_model, read_model_tensors
from llmkit.model.stretched import read_shape
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.same import other_token
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.workflows.artefact import holds_tokenizer

OFF, LOOKUP = "off", "lookup"
LOOKUP_TOKENS = 8
"""Guesses at once out of the text itself, which cost nothing to make."""
MODEL_TOKENS = 4
"""Guesses at once by a model, each of which is a pass of its own."""


@dataclass(frozen=True)
class Drafts:
    """What guesses."""

    tokens: int
    """Guesses at once."""
    path: Path | None = None
    """A smaller model; None: the text itself."""
    model: ModelConfig | None = None
    """Of that model."""


def draft_paths(config: GenerateConfig) -> list[Path]:
    """The model that --draft names, where it names one."""
    return [] if config.draft in (OFF, LOOKUP) else [Path(config.draft)]


def open_drafts(
    config: GenerateConfig, path: Path, model: ModelConfig, tokenizer: Tokenizer | None
) -> Drafts | None:
    """What --draft names; None where it is off.

    Args:
        config: with the flags.
        path: the model that verifies, with its config and its tokenizer.

    Raises:
        UsageError: --draft-tokens alone; or a draft model that cannot be the quicker one.
        DataError: it has another vocabulary, or its files are damaged.
        MissingError, ConfigError: see `read_shape`.
    """
    if config.draft == OFF:
        if config.draft_tokens is not None:
            raise UsageError(
                "--draft-tokens does nothing without --draft", hint="--draft lookup, or --draft SMALLER-MODEL"
            )
        return None
    if config.draft == LOOKUP:
        return Drafts(config.draft_tokens or LOOKUP_TOKENS)
    draft_path = Path(config.draft)
    check_model(draft_path)
    draft = read_shape(draft_path)
    read_model_tensors(draft_path)
    _check_vocabulary(draft_path, draft, path, model, tokenizer)
    ours, theirs = (architecture_of(one).active_parameters for one in (model, draft))
    if theirs >= ours:
        raise UsageError(
            f"--draft {draft_path}: {theirs:,} parameters for each token, and the model itself has {ours:,}: "
            "no gain is possible",
            hint="a model several times smaller, or --draft lookup",
        )
    return Drafts(config.draft_tokens or MODEL_TOKENS, draft_path, draft)


def check_gain(drafts: Drafts | None, model: ModelConfig, *, prompt_tokens: int, max_tokens: int) -> None:
    """Refuse guesses that can come to nothing for the one prompt there is.

    Raises:
        UsageError: no guess could ever be made.
    """
    if drafts is None:
        return
    scaling = model.rope_scaling or {}
    why = None
    if max_tokens < 3:  # the first comes from the prompt, the last has nothing behind it
        why = f"no pass of a text of {max_tokens} tokens could save another"
    elif scaling.get("rope_type") == "dynamic" and prompt_tokens >= int(scaling[ORIGINAL]):
        why = f"dynamic rope turns each token beyond {scaling[ORIGINAL]:,} by the length of its text"
    elif drafts.model is not None and prompt_tokens >= drafts.model.max_position_embeddings:
        why = (
            f"{drafts.path} has a context of {drafts.model.max_position_embeddings:,}, "
            f"and the prompt takes {prompt_tokens:,} tokens"
        )
    if why is not None:
        raise UsageError(f"--draft: no gain is possible: {why}", hint="leave out --draft")


def _check_vocabulary(
    draft_path: Path, draft: ModelConfig, path: Path, model: ModelConfig, tokenizer: Tokenizer | None
) -> None:
    """Two models speak of the same tokens: by their tokenizers, or where one has none by the count.

    Embeddings may be padded to different sizes around one tokenizer.
    """
    hint = "a draft model has the tokenizer of the model that it guesses for"
    if tokenizer is None or not holds_tokenizer(draft_path):
        if draft.vocab_size != model.vocab_size:
            raise DataError(
                f"{draft_path}: a vocabulary of {draft.vocab_size:,} tokens "
                f"(found {model.vocab_size:,} in {path})",
                hint=hint,
            )
        return
    differs = other_token(tokenizer, load_tokenizer(draft_path))
    if differs is not None:
        raise DataError(f"{draft_path}: another tokenizer than that of {path} ({differs})", hint=hint)
