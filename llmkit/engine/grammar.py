"""What a text must be: valid under a JSON schema, matched by a regular expression, one of several texts, or
what a grammar in GBNF or Lark derives.

A grammar says before each token which ones can come next; all others are ruled out before anything is drawn.
The parsing is llguidance's: derivatives of regular expressions under an Earley parser, over the bytes of the
vocabulary. It is imported when the first grammar is compiled. No torch.
Shapes: V vocab_size of the model.
"""

import json
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from llmkit.engine.config import SamplingConfig
from llmkit.engine.gbnf import as_lark, is_gbnf, is_lark
from llmkit.errors import ConfigError, DataError, MissingError
from llmkit.tokens.json_schema import BLANKS, held_schema
from llmkit.tokens.stream import joins_plainly
from llmkit.tokens.tokenizer import Tokenizer

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

Rule = tuple[str, str | tuple[str, ...]]
"""Its kind and its value."""
_PLACE = re.compile(r"^(?:at )?(?P<line>\d+)\(\d+\): ")
"""How llguidance names a line and a column of Lark."""
_MOST_KEPT = 256
"""Compiled grammars that are kept; of more than these the one that was not used for longest goes."""


class Grammars:
    """Compiles grammars for one model's vocabulary, each once."""

    def __init__(self, tokenizer: Tokenizer, vocab_size: int) -> None:
        """
        Args:
            tokenizer: the model's.
            vocab_size: scores of the model for each token; its ids that the tokenizer does not have are never
                drawn.
        """
        self._tokenizer = tokenizer
        self._vocab_size = vocab_size
        self._vocabulary: LLTokenizer | None = None
        self._known: dict[Rule, Grammar] = {}

    def compile(self, sampling: SamplingConfig) -> "Grammar | None":
        """The grammar that a request asks for; None where it asks for none.

        Raises:
            ConfigError: the schema or the expression is wrong, or asks for what is not supported.
            DataError: texts of this tokenizer are not their tokens put end to end.
            MissingError: llguidance is not installed.
        """
        return None if sampling.rule is None else self.compile_rule(sampling.rule)

    def compile_rule(self, rule: Rule) -> "Grammar":
        """The grammar of a rule: one that a request can ask for, or `tools`, which is llguidance's Lark.

        Raises:
            ConfigError, DataError, MissingError: see `compile`.
        """
        found = self._known.pop(rule, None)
        if found is None:
            if len(self._known) >= _MOST_KEPT:
                self._known.pop(next(iter(self._known)))
            found = self._compile(*rule)
        self._known[rule] = found  # behind all others: the first is the one that was not used for longest
        return found

    def _compile(self, kind: str, rule: str | tuple[str, ...]) -> "Grammar":
        try:
            from llguidance import LLMatcher
        except ImportError:
            raise MissingError(
                f"{kind} needs the package llguidance", hint="pip install 'llmkit[grammar]'"
            ) from None
        if self._vocabulary is None:
            self._vocabulary = _vocabulary(self._tokenizer, self._vocab_size)
        if kind == "json_schema":
            assert isinstance(rule, str)
            try:
                source = LLMatcher.grammar_from_json_schema(
                    _parsed(rule), overrides={"whitespace_pattern": BLANKS}
                )
            except ValueError as error:  # NaN, or too many levels
                raise ConfigError(
                    f"json_schema: {error}", hint="a schema that is JSON, not so deep"
                ) from None
        elif kind in ("grammar", "tools"):
            assert isinstance(rule, str)
            source = LLMatcher.grammar_from_lark(self._lark(rule) if kind == "grammar" else rule)
        else:
            source = LLMatcher.grammar_from_regex(rule if isinstance(rule, str) else _one_of(rule))
        matcher = LLMatcher(self._vocabulary, source, log_level=0)
        if matcher.is_error():
            raise ConfigError(
                f"{kind}: {_PLACE.sub(_where(rule), _reason(matcher.get_error()))}",
                hint="see https://github.com/guidance-ai/llguidance/tree/main/docs for what is supported",
            )
        return _Compiled(matcher, self._vocab_size)

    def _lark(self, text: str) -> str:
        """A grammar of either notation, in llguidance's."""
        if is_gbnf(text):
            return as_lark(text, self._tokenizer.id_of)
        if is_lark(text):
            return text
        raise ConfigError(
            "grammar: neither GBNF nor Lark: no line begins a rule",
            hint='GBNF is root ::= "yes" | [0-9]+, Lark is start: "yes" | /[0-9]+/',
        )


class Matcher(Protocol):
    """Where in its grammar one text is."""

    @property
    def is_complete(self) -> bool:
        """Whether the text can only end here: no token can come after it."""

    def allowed(self) -> NDArray[np.bool_]:
        """(V,) True at the tokens that can come next. Not to be written to.

        Raises:
            DataError: there is none, though the text is not complete.
        """

    def consume(self, token: int) -> None:
        """The text goes on with this token, which was allowed."""


class Grammar(Protocol):
    """One grammar; any number of texts at once are written by it."""

    def start(self, ends: Iterable[int] = ()) -> Matcher:
        """A text that has no token yet.

        Args:
            ends: tokens that may end it, where it could end and could go on.
        """


class _Compiled:
    """A Grammar as llguidance compiled it."""

    def __init__(self, matcher: "LLMatcher", vocab_size: int) -> None:
        self._matcher = matcher
        self._vocab_size = vocab_size

    def start(self, ends: Iterable[int] = ()) -> Matcher:
        """See `Grammar`."""
        return _CompiledMatcher(self._matcher.deep_copy(), self._vocab_size, ends)


class _CompiledMatcher:
    """A Matcher of a compiled grammar."""

    def __init__(self, matcher: "LLMatcher", vocab_size: int, ends: Iterable[int]) -> None:
        self._matcher = matcher
        self._vocab_size = vocab_size
        self._ends = frozenset(ends)
        self._allowed: NDArray[np.bool_] | None = None

    @property
    def is_complete(self) -> bool:
        """See `Matcher`."""
        return self._matcher.is_accepting() and (self._matcher.is_stopped() or not self._next().any())

    def allowed(self) -> NDArray[np.bool_]:
        """See `Matcher`."""
        mask = self._next()
        if self._ends and self._matcher.is_accepting():
            mask = mask.copy()
            mask[list(self._ends)] = True
        if not mask.any():
            reason = _reason(self._matcher.get_error()) or "no token of the vocabulary does"
            raise DataError(
                f"nothing goes on as the grammar asks: {reason}",
                hint="a grammar of characters that the model can write, or a simpler one",
            )
        return mask

    def consume(self, token: int) -> None:
        """See `Matcher`."""
        self._allowed = None
        if token not in self._ends:
            self._matcher.consume_token(token)

    def _next(self) -> NDArray[np.bool_]:
        if self._allowed is None:
            self._allowed = np.zeros(self._vocab_size, np.bool_)
            if not self._matcher.is_stopped():
                bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
                ones = np.unpackbits(bits, count=self._vocab_size, bitorder="little")
                self._allowed = ones.view(np.bool_)
        return self._allowed


class _Wrapper:
    """A vocabulary as llguidance takes it, with an end token of its own behind the model's ids."""

    is_tokenizer_wrapper = True
    bos_token_id = None

    def __init__(self, tokenizer: Tokenizer, vocab_size: int) -> None:
        special = {
            index for index, token in tokenizer.backend.get_added_tokens_decoder().items() if token.special
        }
        self._tokenizer = tokenizer
        self.tokens = [
            tokenizer.token_bytes(one) if one < tokenizer.vocab_size else b"" for one in range(vocab_size)
        ]
        self.tokens.append(b"<|end of the grammar|>")
        self.eos_token_id = vocab_size
        self.special_token_ids = [*sorted(one for one in special if one < vocab_size), vocab_size]
        self._ids = {
            token: one for one, token in enumerate(self.tokens[:vocab_size]) if token and one not in special
        }
        self._longest = max(map(len, self._ids), default=1)

    def __call__(self, text: str | bytes) -> Sequence[int]:
        """How the model would have read a text that can only go on like this."""
        content = text.encode() if isinstance(text, str) else text
        text = content.decode(errors="replace")
        before, ids = self._tokenizer.encode("\n"), self._tokenizer.encode("\n" + text)
        after = ids[len(before) :]
        known = ids[: len(before)] == before and all(one < self.eos_token_id for one in after)
        if known and b"".join(self.tokens[one] for one in after) == content:
            return after
        return self._greedy(content)  # a vocabulary without line feeds, or with other rules at a text's start

    def _greedy(self, content: bytes) -> list[int]:
        ids: list[int] = []
        place = 0
        while place < len(content):
            for length in range(min(self._longest, len(content) - place), 0, -1):
                token = self._ids.get(content[place : place + length])
                if token is not None:
                    ids.append(token)
                    place += length
                    break
            else:
                return ids
        return ids

    _encode_string = __call__


def _vocabulary(tokenizer: Tokenizer, vocab_size: int) -> "LLTokenizer":
    from llguidance import LLTokenizer

    if not joins_plainly(tokenizer.backend.decoder):
        raise DataError(
            "the tokenizer's tokens, put end to end, are not the text: no grammar can be held to",
            hint="use a model with a byte-level or a SentencePiece tokenizer",
        )
    return LLTokenizer(_Wrapper(tokenizer, vocab_size))  # type: ignore[arg-type]


def _parsed(schema: str) -> str:
    try:
        content = json.loads(schema)
    except (ValueError, RecursionError) as error:  # an integer of thousands of digits too
        raise ConfigError(
            f"json_schema: not JSON: {error}",
            hint='--json-schema \'{"type": "object"}\', or the name of a file',
        ) from None
    if not isinstance(content, dict | bool):
        raise ConfigError(
            f"json_schema: a schema is an object (found {type(content).__name__})",
            hint='--json-schema \'{"type": "array"}\'',
        )
    if content is False:
        raise ConfigError("json_schema: false allows no text", hint="--json-schema '{}' allows any JSON")
    held = held_schema({} if content is True else content, "json_schema")  # options are for objects only
    return json.dumps(held)


def _one_of(choices: Iterable[str]) -> str:
    """Several texts as one regular expression: every character by its number, so that none has a meaning."""
    return "|".join("".join(rf"\x{{{ord(one):x}}}" for one in choice) for choice in choices)


def _where(rule: str | tuple[str, ...]) -> str:
    """In whose words a place is named: the lines of GBNF are others than those of the Lark that it became."""
    return "" if isinstance(rule, str) and is_gbnf(rule) else r"line \g<line>: "


def _reason(error: str) -> str:
    """The line of a parser's message that says what is wrong."""
    lines = [line for line in error.splitlines() if line.strip()]
    told = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return (told or lines or [""])[0].strip()
