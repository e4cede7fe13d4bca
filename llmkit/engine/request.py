"""What is asked of the engine, and what it gives back token by token. No torch: checks come first."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from llmkit.engine.breaks import Breaks
from llmkit.engine.config import SamplingConfig
from llmkit.engine.grammar import Grammar
from llmkit.errors import ConfigError, DataError, UsageError, nearest
from llmkit.model.config import ModelConfig

FinishReason = Literal["stop", "length"]
"""stop: the model ended the text, or a stop string came; length: max_tokens, or the end of the context."""


@dataclass(frozen=True)
class Request:
    """One text to write."""

    prompt: tuple[int, ...]
    sampling: SamplingConfig
    stop_ids: frozenset[int] = frozenset()
    """Ids that end this text, beside those that end every text of the model."""
    priority: int = 0
    """Lower ones go first."""
    key: str = ""
    """Whose it is: each has its turn, and what one wrote into the cache no other can find."""
    salt: str = ""
    """What one wrote into the cache with such a word, it finds again with the same word only."""
    adapter: str | None = None
    """Which of the loaded ones changes the model for this text; None: the base alone."""
    grammar: Grammar | None = None
    """What the text must be: `Grammars.compile` of the sampling's rule."""
    breaks: Breaks | None = None
    """What breaks repetitions: `breaks_of` the sampling; None: nothing does."""
    scores_prompt: Literal["too", "only"] | None = None
    """Whether each token of the prompt but the first is scored, and comes out before what is drawn, or in its
    place. Nothing of it is looked for in the cache."""
    min_tokens: int = 0
    """Tokens before which nothing ends the text, unless its grammar can only end."""
    shows_stop: bool = False
    """Whether the stop string that ends the text is part of it."""
    scores_from: int = 1
    """The first token of such a prompt that is scored; those before it are read as any prompt is."""
    logits_of: tuple[int, ...] = ()
    """Tokens whose scores come out with each that is drawn. A judge is asked for nothing else: its prompt may
    fill the context."""

    def cached_under(self, adapter: str = "") -> tuple[str, ...]:
        """What keys and values depend on beside its tokens, and whose they are; see `blocks.root_key`.

        Args:
            adapter: digest of the one that changes the model; empty: none does.
        """
        if self.salt:
            return self.key, adapter, self.salt
        return (self.key, adapter) if adapter else (self.key,)

    def check(self, config: ModelConfig) -> None:
        """Refuse what the model cannot do.

        Raises:
            UsageError: the prompt is empty, or leaves no room in the context.
            DataError: an id that the model's vocabulary does not have.
            ConfigError: a bias for such an id, or an end by it.
        """
        if not self.prompt:
            raise UsageError("the prompt has no token", hint="give it some text, or a bos token")
        if self.scores_prompt is not None and not 0 < self.scores_from < max(2, len(self.prompt)):
            raise UsageError(
                f"scored from token {self.scores_from} of {len(self.prompt):,}: none is left",
                hint="one token at least stands before those that are scored",
            )
        context = config.max_position_embeddings
        drawn = 0 if self.scores_prompt == "only" or self.logits_of else 1  # at least
        if len(self.prompt) + drawn > context:
            raise UsageError(
                f"the prompt has {len(self.prompt):,} tokens, "
                f"which leaves no room in the model's context of {context:,}",
                hint=f"llmkit tokenize --truncate {max(context - self.sampling.max_tokens, context // 2)} "
                "shortens texts",
            )
        wrong = next((one for one in self.prompt if not 0 <= one < config.vocab_size), None)
        if wrong is not None:
            raise DataError(
                f"token id {wrong} of the prompt is not in the model's vocabulary of {config.vocab_size:,}",
                hint="the ids come from another tokenizer: encode the text with the model's own",
            )

        named = [("logit_bias", one) for one, _ in self.sampling.logit_bias]
        named += [("stop_ids", one) for one in self.sampling.stop_ids]
        for name, wrong in named:
            if 0 <= wrong < config.vocab_size:
                continue
            raise ConfigError(
                f"{name}: token id {wrong} is not in the model's vocabulary of {config.vocab_size:,}",
                hint="llmkit tokenize -t TOKENIZER --ids gives the ids of a text",
            )

    @property
    def read(self) -> tuple[int, ...]:
        """Tokens of the prompt that do not come out: all of them, or those before what is scored."""
        return self.prompt if self.scores_prompt is None else self.prompt[: self.scores_from]

    def ends(self, of_model: frozenset[int]) -> frozenset[int]:
        """Ids that end this text. of_model: those that end every text of the model."""
        asked = frozenset(self.sampling.stop_ids)
        return asked if self.sampling.ignore_eos else asked | self.stop_ids | of_model

    def room(self, config: ModelConfig) -> int:
        """Tokens that can be drawn: max_tokens, or what the prompt leaves of the context."""
        return min(self.sampling.max_tokens, config.max_position_embeddings - len(self.prompt))


@dataclass(frozen=True, slots=True)
class Scored:
    """A token and the logarithm of the probability that the model gives it, before any sampling setting."""

    id: int
    logprob: float


@dataclass(frozen=True, slots=True)
class Drawn:
    """One token as it was drawn."""

    id: int
    finish: FinishReason | None = None
    """Why nothing comes after it, where it is the last. A token that ends a text is no part of it."""
    score: Scored | None = None
    top: tuple[Scored, ...] = ()
    """The best tokens at this place, best first, as many as the request's logprobs."""
    entropy_bits: float | None = None
    """Of the model's distribution at this place."""
    rank: int | None = None
    """Of this token among all, the best being 1."""
    margin: float | None = None
    """Probability of the best token less that of the second."""
    completes: bool = False
    """Whether the text is complete with it, by its grammar: it ends the text and belongs to it."""
    given: bool = False
    """Whether it is a token of the prompt, which was only scored."""
    logits: tuple[float, ...] = ()
    """The model's scores of the request's `logits_of` at this place, as they are."""

    @property
    def is_text(self) -> bool:
        """Whether the token belongs to the text."""
        return self.finish != "stop" or self.completes


@dataclass(frozen=True, slots=True)
class Event:
    """What a step did for one text: a token, or an end without one."""

    number: int
    """Of the text."""
    drawn: Drawn | None
    error: Exception | None = None
    """Why the text cannot go on; then it is over."""
    from_cache: int = 0
    """Tokens of its prompt that were in the cache already."""


def no_adapter(name: str, loaded: Sequence[str]) -> UsageError:
    """Nothing of this name is loaded."""
    if not loaded:
        return UsageError(f"no adapter {name!r}: none is loaded", hint="--adapter NAME=PATH loads one")
    guess = nearest(name, list(loaded))
    return UsageError(
        f"no adapter {name!r} (loaded: {', '.join(loaded)})",
        hint=f"did you mean {guess!r}?" if guess else "null, or nothing, is the base alone",
    )
