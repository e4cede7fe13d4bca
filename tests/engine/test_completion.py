"""Texts as they are written: pieces that add up, stop strings that never show, characters that are whole."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch

from llmkit.engine.completion import Completion, Piece, complete_all
from llmkit.engine.config import SamplingConfig
from llmkit.engine.engine import Engine, EngineConfig
from llmkit.engine.request import Request
from llmkit.engine.text import Text
from llmkit.errors import DataError, MissingError, UsageError
from llmkit.model.load import load_model
from llmkit.model.transformer import Transformer
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.tokenizer import Tokenizer
from tests.written_texts import complete

PROMPT = (1, 403, 407, 261, 378)
"""Once upon a time"""


@pytest.fixture
def spell(shared_data: Path) -> Tokenizer:
    return load_tokenizer(shared_data / "models" / "stories260K")


def _write(
    model: Transformer, tokenizer: Tokenizer | None, pieces: list[str] | None = None, **settings: object
) -> Completion:
    sampling = SamplingConfig(**({"temperature": 0.0, "max_tokens": 50} | settings))  # type: ignore[arg-type]
    *found, last = complete_all(Engine(model), [Request(PROMPT, sampling)], tokenizer)
    assert last.completion is not None and all(one.completion is None for one in found)
    if pieces is not None:
        pieces += [one.text for one in (*found, last)]
    return last.completion


def test_the_pieces_are_the_text_and_the_text_is_what_the_ids_decode_to(
    stories: Transformer, spell: Tokenizer
) -> None:
    pieces: list[str] = []
    whole = _write(stories, spell, pieces)
    ids = [token.id for token in whole.drawn]
    assert len(pieces) == len(ids) == 50
    assert "".join(pieces) == whole.text
    assert whole.text == spell.decode([*PROMPT, *ids]).removeprefix(spell.decode(PROMPT))
    assert whole.text is not None and whole.text.startswith(", there was a little girl named Lily.")
    assert whole.finish == "length"


def test_a_space_between_prompt_and_text_is_part_of_the_text(stories: Transformer, spell: Tokenizer) -> None:
    request = Request(PROMPT[:3], SamplingConfig(temperature=0.0, max_tokens=2))  # Once upon
    assert complete(Engine(stories), request, spell).text == " a time"


def test_the_stop_string_that_ends_a_text_is_its_end_where_that_is_asked_for(
    stories: Transformer, spell: Tokenizer
) -> None:
    sampling = SamplingConfig(temperature=0.0, max_tokens=50, stop=("e g", "named"))
    requests = [Request(PROMPT, sampling, shows_stop=shows) for shows in (False, True)]
    found = [complete(Engine(stories), one, spell) for one in requests]
    assert [one.text for one in found] == [", there was a littl", ", there was a little g"]
    assert [one.finish for one in found] == ["stop", "stop"]


def test_no_stop_string_is_looked_for_in_the_tokens_that_a_text_must_have(
    stories: Transformer, spell: Tokenizer
) -> None:
    sampling = SamplingConfig(temperature=0.0, max_tokens=50, stop=("a",))
    texts = {}
    for least in (0, 5, 50):
        done = complete(Engine(stories), Request(PROMPT, sampling, min_tokens=least), spell)
        texts[least] = done.text or ""
        assert len(done.drawn) >= least
    first = spell.decode([*PROMPT, *(one.id for one in done.drawn[:5])]).removeprefix(spell.decode(PROMPT))
    assert "a" not in texts[0] and "a" in first and texts[5].startswith(first)
    assert "a" not in texts[5][len(first) :] and texts[50].count("a") > texts[5].count("a")


@pytest.mark.parametrize("stop", ["Lily", " girl", "e g", ".", ", there", "She loved"])
def test_a_text_ends_before_a_stop_string_and_no_piece_of_it_shows(
    stop: str, stories: Transformer, spell: Tokenizer
) -> None:
    free = _write(stories, spell).text
    pieces: list[str] = []
    cut = _write(stories, spell, pieces, stop=(stop, "never there"))
    assert free is not None and cut.text == "".join(pieces) == free[: free.index(stop)]
    assert cut.finish == "stop"
    assert len(cut.drawn) < 50  # and nothing was drawn after it
    assert stop in spell.decode([*PROMPT, *(token.id for token in cut.drawn)])


def test_a_beginning_of_a_stop_string_at_the_end_is_text(stories: Transformer, spell: Tokenizer) -> None:
    whole = _write(stories, spell, max_tokens=12)
    assert whole.text is not None
    held = _write(stories, spell, max_tokens=12, stop=(whole.text[-3:] + "zzz",))
    assert (held.text, held.finish) == (whole.text, "length")


def test_the_token_that_ends_a_text_is_counted_and_not_written(
    stories: Transformer, spell: Tokenizer
) -> None:
    full_stop = 426  # the piece "."
    sampling = SamplingConfig(temperature=0.0, max_tokens=50)
    request = Request(PROMPT, sampling, frozenset([full_stop]))
    ended = complete(Engine(stories), request, spell)
    assert ended.text == ", there was a little girl named Lily" and ended.finish == "stop"
    assert ended.drawn[-1].id == full_stop


def test_a_character_cut_off_by_the_end_becomes_one_mark_and_is_never_half_written(
    byte_level_dir: Path, make_model: Callable[..., Transformer]
) -> None:
    tokenizer = load_tokenizer(byte_level_dir)
    first, second, third = (tokenizer.id_of(piece) for piece in ("â", "Ĥ", "¬"))  # the bytes of a euro sign
    assert first is not None and second is not None and third is not None
    model = make_model(vocab_size=tokenizer.vocab_size)
    following = {first: second, second: third, third: first}
    engine = Engine(model)

    def draw(length: int) -> tuple[list[str], Completion]:
        pieces: list[str] = []
        request = Request((third,), SamplingConfig(temperature=0.0, max_tokens=length))
        for piece in complete_all(engine, [request], tokenizer):
            pieces.append(piece.text)
        assert piece.completion is not None
        return pieces, piece.completion

    _always(engine, model, following)
    pieces, whole = draw(5)
    assert pieces == ["", "", "€", "", "\ufffd"] and whole.text == "€\ufffd"
    assert draw(6)[1].text == "€€"


def _always(engine: Engine, model: Transformer, following: dict[int, int]) -> None:
    """Make a model write certain ids after one another, through its embedding and its head alone."""
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        width = model.config.hidden_size
        model.model.norm.weight.fill_(1.0)
        model.model.embed_tokens.weight.zero_()
        model.lm_head.weight.zero_()
        for place, (token, after) in enumerate(following.items()):
            model.model.embed_tokens.weight[token, place % width] = 1.0
            model.lm_head.weight[after, place % width] = 1.0


def test_without_a_tokenizer_there_are_ids_and_no_text(stories: Transformer, spell: Tokenizer) -> None:
    bare = _write(stories, None)
    assert bare.text is None and bare.drawn == _write(stories, spell).drawn
    with pytest.raises(MissingError, match="need a tokenizer"):
        _write(stories, None, stop=("a",))


def test_the_end_token_leaves_no_mark_even_where_the_text_goes_on(shared_data: Path) -> None:
    folder = shared_data / "models" / "stories260K"
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    sampling = SamplingConfig(max_tokens=500, seed=5, ignore_eos=True, temperature=0.0)
    whole = complete(Engine(model), Request((1, 2, 1), sampling), tokenizer)
    assert whole.text == tokenizer.decode([token.id for token in whole.drawn], skip_special=True)


def _requests(count: int, **settings: object) -> list[Request]:
    """Texts of 2, 9, 16, 4, ... tokens."""
    sampling = {"temperature": 1.0, "ignore_eos": True} | settings
    return [
        Request(PROMPT[: 1 + n % 5], SamplingConfig(**sampling, seed=n, max_tokens=2 + 7 * n % 19))  # type: ignore[arg-type]
        for n in range(count)
    ]


@pytest.mark.parametrize("ordered", [True, False])
def test_many_texts_at_once_are_each_what_they_are_alone(
    ordered: bool, stories: Transformer, spell: Tokenizer
) -> None:
    requests = _requests(12)
    alone = [complete(Engine(stories), request, spell) for request in requests]
    engine = Engine(stories, EngineConfig(positions=500, max_texts=5))
    pieces: dict[int, list[Piece]] = {}
    order, ends = [], []
    for piece in complete_all(engine, iter(requests), spell, ordered=ordered):
        pieces.setdefault(piece.index, []).append(piece)
        order.append(piece.index)
        if piece.completion is not None:
            ends.append(piece.index)
    for index, expected in enumerate(alone):
        assert pieces[index][-1].completion == expected
        assert "".join(piece.text for piece in pieces[index]) == expected.text
    assert sorted(ends) == list(range(12))
    assert (order == sorted(order)) == ordered == (ends == sorted(ends))
    assert engine.is_idle and engine.pool.num_free == engine.pool.num_blocks


def test_requests_are_read_as_there_is_room_for_them(stories: Transformer, spell: Tokenizer) -> None:
    read: list[int] = []

    def reading() -> Iterator[Request]:
        for number, request in enumerate(_requests(9)):
            read.append(number)
            yield request

    pieces = complete_all(Engine(stories, EngineConfig(max_texts=3)), reading(), spell)
    next(pieces)
    assert read == [0, 1, 2]
    assert sum(piece.completion is not None for piece in pieces) == 9
    assert read == list(range(9))


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("fault", ["request", "reading", "scores"])
def test_what_is_wrong_with_the_fifth_comes_after_the_four_before_it(
    fault: str, ordered: bool, stories: Transformer, spell: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = _requests(9)
    if fault == "request":
        requests[4] = Request((), SamplingConfig())
    if fault == "scores":
        hidden = stories.hidden

        def spoilt(ids: torch.Tensor, **rest: object) -> torch.Tensor:
            found = hidden(ids, **rest)  # type: ignore[arg-type]
            found[ids == 500] = torch.nan
            return found

        monkeypatch.setattr(stories, "hidden", spoilt)
        requests = [  # greedy, for no other text to come upon that token
            Request((500,) if n == 4 else PROMPT, SamplingConfig(temperature=0.0, max_tokens=3 * n + 3))
            for n in range(9)
        ]

    def reading() -> Iterator[Request]:
        for number, request in enumerate(requests):
            if fault == "reading" and number == 4:
                raise OSError("the pipe broke")
            yield request

    kind = {"request": UsageError, "reading": OSError, "scores": DataError}[fault]
    engine = Engine(stories, EngineConfig(positions=500, max_texts=6))
    ended = []
    with pytest.raises(kind):
        for piece in complete_all(engine, reading(), spell, ordered=ordered):
            if piece.completion is not None:
                ended.append(piece.index)
    assert sorted(ended) == [0, 1, 2, 3]
    assert engine.is_idle and engine.pool.num_free == engine.pool.num_blocks


def test_who_stops_listening_leaves_an_idle_engine(stories: Transformer, spell: Tokenizer) -> None:
    engine = Engine(stories, EngineConfig(positions=500, max_texts=4))
    pieces = complete_all(engine, _requests(9), spell)
    next(pieces)
    assert not engine.is_idle
    pieces.close()  # type: ignore[attr-defined]
    assert engine.is_idle and engine.pool.num_free == engine.pool.num_blocks


@pytest.mark.parametrize("stop", ["Lily", "e g", " play"])
def test_a_stop_string_among_right_guesses_ends_the_text_before_it(
    stop: str, stories: Transformer, spell: Tokenizer
) -> None:
    free = _write(stories, spell)
    ids = [token.id for token in free.drawn]

    class Known:
        count = 12

        def propose(self, texts: Sequence[Text], most: Sequence[int]) -> list[list[int]]:
            return [ids[text.drawn :][: min(room, 12)] for text, room in zip(texts, most, strict=True)]

        def learn(self, text: Text, proposed: int, right: int) -> None:
            assert proposed

        def forget(self, text: Text) -> None:
            pass

    plain = _write(stories, spell, stop=(stop,))
    engine = Engine(stories, proposer=Known())
    sampling = SamplingConfig(temperature=0.0, max_tokens=50, stop=(stop,))
    assert complete(engine, Request(PROMPT, sampling), spell) == plain
    assert engine.counts.accepted_drafts > 0 and engine.is_idle
