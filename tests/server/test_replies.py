"""Scores show with their letters and not before; nothing of a stop string shows at all."""

import pytest

from llmkit.engine import completion
from llmkit.engine.config import SamplingConfig
from llmkit.engine.request import Drawn, FinishReason, Request, Scored
from llmkit.server.answer import Piece
from llmkit.server.replies import Reply, first_token
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.tokens.tools.forms import ToolForm
from llmkit.tokens.tools.thoughts import ThoughtForm


def pieces_of(tokenizer: Tokenizer, text: str, stop: tuple[str, ...] = ()) -> list[Piece]:
    """What comes of drawing a text byte by byte."""
    ids = [tokenizer.backend.encode(letter).ids for letter in text]
    flat = [one for group in ids for one in group]
    writer = completion.TextWriter(0, tokenizer, Request((1,), SamplingConfig(stop=stop)))
    reply, found = Reply(0, tokenizer, with_scores=True), []
    for number, one in enumerate(flat):
        finish = "length" if number == len(flat) - 1 else None
        piece = writer.push(Drawn(one, finish, Scored(one, -1.0), (Scored(one, -1.0),)))
        found.append(reply.push(piece))
        if piece.completion is not None:
            break
    return found


def test_scores_spell_the_text_byte_for_byte(tokenizer: Tokenizer) -> None:
    text = "fox é 😀!"
    found = pieces_of(tokenizer, text)
    assert "".join(piece.text for piece in found) == text
    assert b"".join(score.content for piece in found for score in piece.scores) == text.encode()
    shown = b""
    for number, piece in enumerate(found):  # never a score ahead of its letters
        shown += b"".join(score.content for score in piece.scores)
        assert len(shown) <= len("".join(one.text for one in found[: number + 1]).encode())


def test_a_stop_string_leaks_neither_letters_nor_scores(tokenizer: Tokenizer) -> None:
    found = pieces_of(tokenizer, "one STOP two", stop=("STOP",))
    assert "".join(piece.text for piece in found) == "one "
    assert b"".join(score.content for piece in found for score in piece.scores) == b"one "
    assert found[-1].finish == "stop" and found[-1].matched == "STOP"


def test_a_beginning_of_a_stop_string_that_came_to_nothing_is_scored_in_the_end(tokenizer: Tokenizer) -> None:
    found = pieces_of(tokenizer, "one STO", stop=("STOP",))
    assert b"".join(score.content for piece in found for score in piece.scores) == b"one STO"


def test_what_an_answer_begins_with_comes_with_its_first_piece(tokenizer: Tokenizer) -> None:
    writer = completion.TextWriter(0, tokenizer, Request((1,), SamplingConfig()))
    ids = tokenizer.backend.encode("fox").ids
    reply = Reply(0, tokenizer, with_scores=False, prefill="the ")
    texts = [reply.push(writer.push(Drawn(one, None))).text for one in ids]
    assert "".join(texts) == "the fox" and texts[0].startswith("the ")


def echoed(tokenizer: Tokenizer, ids: list[int], text: str, drawn: list[int]) -> list[Piece]:
    """The pieces of a prompt that comes out with its scores, and of what is drawn after it."""
    request = Request(tuple(ids), SamplingConfig(), scores_prompt="too")
    writer = completion.TextWriter(0, tokenizer, request)
    first = first_token(ids[0], tokenizer)
    reply = Reply(0, tokenizer, with_scores=True, prefill=text, first=first)
    tokens = [Drawn(one, None, Scored(one, -1.0), given=True) for one in ids[1:]]
    tokens += [Drawn(one, None, Scored(one, -1.0)) for one in drawn]
    end = tokenizer.id_of("<|end|>")
    assert end is not None
    return [reply.push(writer.push(one)) for one in [*tokens, Drawn(end, "stop")]]


def test_a_prompt_comes_out_as_it_was_sent_and_offsets_point_into_it(tokenizer: Tokenizer) -> None:
    start, end = tokenizer.id_of("<|im_start|>"), tokenizer.id_of("<|end|>")
    assert start is not None and end is not None
    words = tokenizer.backend.encode("the é").ids
    drawn = tokenizer.backend.encode(" fox!").ids
    sent = "the <|im_start|>é"  # the tokenizer has put <|end|> before it
    ids = [end, *tokenizer.backend.encode("the ").ids, start, *tokenizer.backend.encode("é").ids]
    found = echoed(tokenizer, ids, sent, drawn)
    assert "".join(piece.text for piece in found) == sent + " fox!"
    scores = [score for piece in found for score in piece.scores]
    assert [score.id for score in scores] == [*ids, *drawn] and len(words) > 2
    text = (sent + " fox!").encode()
    ends = [*(score.offset for score in scores[1:]), len(sent) + 5]
    for score, until in zip(scores, ends, strict=True):
        if score.id == end:
            assert (score.offset, until) == (0, 0)
        elif len(score.content.decode(errors="ignore").encode()) == len(score.content):
            assert (sent + " fox!")[score.offset : until].encode() == score.content
        else:  # a part of é
            assert score.content in text and score.offset == sent.index("é")


TOOLS = [{"type": "function", "function": {"name": "f"}}]
CALL = '<tool_call>{"name": "f", "arguments": {}}</tool_call>'


def calling(
    tokenizer: Tokenizer,
    text: str,
    *,
    one_call: bool = False,
    finish: FinishReason = "stop",
    stop: tuple[str, ...] = (),
) -> list[Piece]:
    """The pieces of a text with calls, drawn byte by byte, as far as the answer goes."""
    writer = completion.TextWriter(0, tokenizer, Request((1,), SamplingConfig(stop=stop)))
    reader = ToolForm("hermes", {}).reader(TOOLS, parallel=not one_call)
    reply, found = Reply(0, tokenizer, with_scores=False, reader=reader, one_call=one_call), []
    ids = [one for letter in text for one in tokenizer.backend.encode(letter).ids]
    for one in ids:
        found.append(reply.push(writer.push(Drawn(one, None))))
        if found[-1].finish is not None:
            return found
    return [*found, reply.push(writer.push(Drawn(0, finish)))]


def test_calls_come_whole_and_numbered_and_the_answer_ends_for_their_sake(tokenizer: Tokenizer) -> None:
    found = calling(tokenizer, f"So: {CALL}{CALL} ok", one_call=False)
    calls = [call for piece in found for call in piece.calls]
    assert [(one.index, one.name, one.arguments) for one in calls] == [(0, "f", "{}"), (1, "f", "{}")]
    assert calls[0].id != calls[1].id and calls[0].id.startswith("call_")
    assert "".join(piece.text for piece in found) == "So:  ok" and found[-1].finish == "tool_calls"


def test_an_answer_of_one_call_ends_with_it_though_the_text_goes_on(tokenizer: Tokenizer) -> None:
    found = calling(tokenizer, f"So: {CALL}{CALL} never", one_call=True)
    assert [call.name for piece in found for call in piece.calls] == ["f"] and found[-1].calls
    assert "".join(piece.text for piece in found) == "So:" and found[-1].finish == "tool_calls"


def test_a_call_that_is_cut_off_is_the_end_of_the_text(tokenizer: Tokenizer) -> None:
    found = calling(tokenizer, CALL[:-15], one_call=False)
    assert "".join(piece.text for piece in found) == CALL[:-15] and found[-1].finish == "stop"


def test_a_second_call_that_is_cut_off_is_dropped(tokenizer: Tokenizer) -> None:
    found = calling(tokenizer, f"So: {CALL}{CALL[:-15]}", finish="length")
    assert "".join(piece.text for piece in found) == "So:" and found[-1].finish == "length"
    assert [call.name for piece in found for call in piece.calls] == ["f"]


@pytest.mark.parametrize("stop", [(), ("argu",)], ids=["end token", "stop string"])
def test_nothing_of_a_second_call_shows_where_the_text_ends_in_it(
    stop: tuple[str, ...], tokenizer: Tokenizer
) -> None:
    first = CALL.replace("arguments", "parameters")
    for part in (first + CALL[:-15], f"{first}\n{CALL[:-15]}"):
        found = calling(tokenizer, f"So: {part}", stop=stop)
        assert "".join(piece.text for piece in found) == "So:" and found[-1].finish == "tool_calls"
        assert [call.name for piece in found for call in piece.calls] == ["f"]


def test_text_after_a_call_keeps_a_last_letter_that_begins_marks(tokenizer: Tokenizer) -> None:
    found = calling(tokenizer, f"{CALL}a <")
    assert "".join(piece.text for piece in found) == "a <"


def test_thoughts_come_before_the_text_and_their_tokens_are_told(tokenizer: Tokenizer) -> None:
    text = "<think>\nI add.\n</think>\n\nSeven."
    reader = ToolForm("hermes", {}).reader([], thoughts=ThoughtForm("<think>", "</think>"))
    writer = completion.TextWriter(0, tokenizer, Request((1,), SamplingConfig()))
    reply = Reply(0, tokenizer, with_scores=False, reader=reader)
    ids = [one for letter in text for one in tokenizer.backend.encode(letter).ids]
    found = [reply.push(writer.push(Drawn(one, None))) for one in ids]
    found.append(reply.push(writer.push(Drawn(0, "stop"))))
    assert "".join(piece.thought for piece in found) == "I add."
    assert "".join(piece.text for piece in found) == "Seven."
    begun, ended = len("<think>") - 1, len(text) - len("\n\nSeven.")  # its mark is known with its last letter
    assert [piece.thinking for piece in found] == [begun <= place < ended for place in range(len(found))]
