"""Texts as they are written: pieces that add up, stop strings that never show, characters that are whole."""

from collections.abc import Callable
from pathlib import Path

import pytest

from llmkit.engine.completion import Completion, complete
from llmkit.engine.config import SamplingConfig
from llmkit.engine.decode import Engine
from llmkit.engine.request import Request
from llmkit.errors import MissingError
from llmkit.model.load import load_model
from llmkit.model.transformer import Transformer
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.tokenizer import Tokenizer

PROMPT = (1, 403, 407, 261, 378)
"""Once upon a time"""


@pytest.fixture
def spell(shared_data: Path) -> Tokenizer:
    return load_tokenizer(shared_data / "models" / "stories260K")


def _write(
    model: Transformer, tokenizer: Tokenizer | None, pieces: list[str] | None = None, **settings: object
) -> Completion:
    sampling = SamplingConfig(**({"temperature": 0.0, "max_tokens": 50} | settings))  # type: ignore[arg-type]
    on_text = pieces.append if pieces is not None else lambda text: None
    return complete(Engine(model), Request(PROMPT, sampling), tokenizer, on_text)


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
        return pieces, complete(engine, request, tokenizer, pieces.append)

    _always(engine, model, following)
    pieces, whole = draw(5)
    assert pieces == ["", "", "€", "", "\ufffd"] and whole.text == "€\ufffd"
    assert draw(6)[1].text == "€€"


def _always(engine: Engine, model: Transformer, following: dict[int, int]) -> None:
    """Make a model write certain ids after one another, through its embedding and its head alone."""
    import torch

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
