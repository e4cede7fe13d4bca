"""Pieces from the engine as pieces of an answer: scores whose text is out, thoughts, tool calls, finish."""

import secrets
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from llmkit.engine import completion
from llmkit.engine.request import Drawn, Scored
from llmkit.server.answer import Finish, Piece, TokenScore, ToolCall
from llmkit.server.token_places import TokenPlaces
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.tokens.tools.calls import CallReader, FoundCall


class Reply:
    """One answer as it comes.

    Of a text that may still become a stop string nothing shows, its tokens' scores no more than its letters.
    """

    def __init__(
        self,
        index: int,
        tokenizer: Tokenizer,
        *,
        with_scores: bool,
        prefill: str = "",
        first: TokenScore | None = None,
        reader: CallReader | None = None,
        one_call: bool = False,
    ) -> None:
        """
        Args:
            index: of the answer.
            tokenizer: spells tokens.
            with_scores: whether their log probabilities were asked for.
            prefill: what the answer begins with, before what is drawn.
            first: the prompt's first token, of a prompt that comes out with its scores; prefill is its text.
            reader: finds thoughts and functions to call in the text; None: there are none to find.
            one_call: whether the answer ends with the first of them.
        """
        self._index = index
        self._tokenizer = tokenizer
        self._with_scores = with_scores
        self._prefill = prefill
        self._first = () if first is None else (first,)
        self._prompt = TokenPlaces(prefill, tokenizer)
        if first is not None:
            self._prompt.place(first.id)
        self._prefill_length = len(prefill)
        self._before = len(prefill)  # of the answer, less what was decoded until the first token is drawn
        self._reader = reader
        self._one_call = one_call
        self._waiting: deque[tuple[int, TokenScore]] = deque()
        self._partial: list[TokenScore] = []
        self._decoded = 0
        self._shown = 0
        self._num_calls = 0

    def push(self, piece: completion.Piece) -> Piece:
        """What is new in the answer."""
        is_given = piece.token is not None and piece.token.given  # a prompt comes out as it was sent
        text, self._prefill = self._prefill + ("" if is_given else piece.text), ""
        self._shown += len(piece.text)
        done = piece.completion
        found: tuple[FoundCall, ...] = ()
        thought, thinking = "", False
        if self._reader is not None:
            thinking = self._reader.thinking
            text, found = self._reader.push(text)
            thinking = thinking or self._reader.thinking
            if done is not None:
                rest, more = self._reader.flush(cut=done.finish == "length")
                text, found = text + rest, (*found, *more)
            thought = self._reader.take_thought()
        calls = tuple(self._named(one) for one in found)
        ended = done is not None and piece.matched is None
        scores = (*self._first, *self._scores(piece.token, piece.decoded, ended=ended))
        self._first = ()
        finish: Finish | None = None
        if done is not None:
            finish = "tool_calls" if self._num_calls and done.finish == "stop" else done.finish
        if calls and self._one_call:
            finish = "tool_calls"
        return Piece(
            self._index,
            text,
            scores,
            calls,
            finish,
            piece.matched,
            0 if piece.token is None or is_given else 1,
            piece.cached,
            thought=thought,
            thinking=thinking,
        )

    def _named(self, call: FoundCall) -> ToolCall:
        number, self._num_calls = self._num_calls, self._num_calls + 1
        return ToolCall(number, f"call_{secrets.token_hex(12)}", call.name, call.arguments)

    def _scores(self, token: Drawn | None, decoded: int, *, ended: bool) -> tuple[TokenScore, ...]:
        """Scores whose letters are out. A part of a character waits for the token that completes it."""
        if token is not None and token.given:  # all its letters are out already
            self._decoded, self._before = decoded, self._prefill_length - decoded
            if not self._with_scores or token.score is None:
                return ()
            score = spelled(token.score, self._tokenizer, token.top)
            return (replace(score, offset=self._prompt.place(token.id)),)
        before = self._decoded
        whole = decoded > self._decoded
        if whole:
            self._waiting += [(decoded, score) for score in self._partial]
            self._partial, self._decoded = [], decoded
        if self._with_scores and token is not None and token.is_text and token.score is not None:
            score = spelled(token.score, self._tokenizer, token.top)
            begin = max(before, decoded - len(score.text))  # after U+FFFD for what came before and was none
            score = replace(score, offset=self._before + begin)
            if whole:
                self._waiting.append((decoded, score))
            else:
                self._partial.append(score)
        out = []
        while self._waiting and (ended or self._waiting[0][0] <= self._shown):
            out.append(self._waiting.popleft()[1])
        if ended:
            out += self._partial
        return tuple(out)


def first_token(token_id: int, tokenizer: Tokenizer) -> TokenScore:
    """The first token of a prompt, which nothing predicts."""
    content = tokenizer.token_bytes(token_id)
    return TokenScore(token_id, content.decode(errors="replace"), content, None)


def spelled(score: Scored, tokenizer: Tokenizer, top: Sequence[Scored] = ()) -> TokenScore:
    """A token with what it spells."""
    content = tokenizer.token_bytes(score.id)
    return TokenScore(
        score.id,
        content.decode(errors="replace"),
        content,
        score.logprob,
        tuple(spelled(one, tokenizer) for one in top),
    )
