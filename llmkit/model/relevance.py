"""How a model that was made to judge says whether a passage answers a query: by one token's score. No torch.

Its folder says it in the files of sentence-transformers: the last step, LogitScore, names the tokens that
mean yes and no, and the chat template has roles called query and document.

Source: sentence-transformers 6, cross_encoder/modules/logit_score.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import exp
from pathlib import Path
from typing import Any, TypeGuard

from llmkit.errors import ConfigError, DataError
from llmkit.formats.gguf.magic import is_gguf
from llmkit.formats.sentence_modules import (
    PROMPTS,
    TRANSFORMER,
    read_longest,
    read_prompts,
    read_settings,
    read_steps,
    refuse_others,
    within,
)

HALF_CHARACTER = "\ufffd"
"""What a character is decoded to that was cut in two: it may be more tokens again than were cut off."""
_SCORE, _LOGISTIC = "LogitScore", "Sigmoid"


@dataclass(frozen=True)
class Relevance:
    """How pairs are put to a model, and what of its scores counts."""

    yes: int
    """The token whose score says that it answers."""
    no: int | None = None
    """The one whose score is taken off that; None: none is."""
    system: str = ""
    """A system message before each pair."""
    is_probability: bool = True
    """Whether a score is told as a probability, by the logistic function."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What the chat template is told beside the pair."""
    longest: int | None = None
    """Tokens of a pair that the model reads; None: as many as its context has."""

    def room(self, context: int) -> int:
        """Tokens of a pair, in a context of so many."""
        return context if self.longest is None else min(context, self.longest)

    @property
    def tokens(self) -> tuple[int, ...]:
        """Those whose scores count."""
        return (self.yes,) if self.no is None else (self.yes, self.no)

    @property
    def rendering(self) -> dict[str, Any]:
        """How the chat template is rendered: no turn is opened behind a pair unless it is said so."""
        return {"add_generation_prompt": False, **self.settings}

    def check(self, vocab_size: int, model: Path) -> None:
        """Refuse tokens that the model does not have.

        Raises:
            DataError: one is none of its.
        """
        if (beyond := max(self.tokens)) >= vocab_size:
            raise DataError(
                f"{model}: judges by token {beyond:,}, and has {vocab_size:,}",
                hint="the modules.json and the config.json of one model belong together",
            )

    def score(self, logits: Sequence[float]) -> float:
        """By which pairs are ranked. logits: the model's scores of `tokens`."""
        return logits[0] - sum(logits[1:])

    def told(self, score: float) -> float:
        """A score as it is told."""
        if not self.is_probability:
            return score
        weight = exp(-abs(score))  # 1 at most, whatever the score
        return (1.0 if score >= 0 else weight) / (1.0 + weight)

    def has_both(self, rendered: str, query: str, passage: str) -> bool:
        """Whether a chat template wrote a pair down, as one without roles for both does not."""
        return passage.strip() in rendered and query.strip() in rendered

    def messages(self, query: str, passage: str) -> list[dict[str, Any]]:
        """A pair, as the chat template takes it."""
        system = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, {"role": "query", "content": query}, {"role": "document", "content": passage}]


def read_relevance(model: Path) -> Relevance | None:
    """How a model judges; None: its files do not say that it does.

    Raises:
        ConfigError: they ask for something that is not supported.
        DataError: a file is damaged.
    """
    steps = [] if is_gguf(model) else read_steps(model)
    score = next((one for one in steps if one.kind == _SCORE), None)
    if score is None:
        return None
    refuse_others(model, steps, ("Transformer", _SCORE))
    told, given = score.settings(), read_settings(model, TRANSFORMER)
    yes, no = told.get("true_token_id"), told.get("false_token_id")
    if not _is_id(yes) or not (no is None or _is_id(no)):
        raise DataError(
            f"{score.path}: true_token_id {yes!r} and false_token_id {no!r} are no tokens",
            hint="ids; of no also null",
        )
    message = within(given, "modality_config", "message", path=model / TRANSFORMER)
    if message.get("format", "flat") != "flat":
        raise ConfigError(
            f"{model / TRANSFORMER}: messages whose contents are {message['format']} are not done here",
            hint='"format": "flat", and a chat template that takes texts',
        )
    settings = within(given, "processing_kwargs", "chat_template", path=model / TRANSFORMER)
    activation = str(read_settings(model, PROMPTS).get("activation_fn") or _LOGISTIC).rpartition(".")[2]
    if activation not in (_LOGISTIC, "Identity"):
        raise ConfigError(
            f"{model / PROMPTS}: activation_fn {activation} is not done here",
            hint=f"torch.nn.modules.activation.{_LOGISTIC}, or torch.nn.modules.linear.Identity",
        )
    system, longest = read_prompts(model)[""], read_longest(model)
    return Relevance(yes, no, system, activation == _LOGISTIC, settings, longest)


def _is_id(told: Any) -> TypeGuard[int]:
    return isinstance(told, int) and not isinstance(told, bool) and told >= 0
