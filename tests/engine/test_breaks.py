"""What breaks repetitions: where a text ends in tokens, beside a search through all of it as one."""

import random
from pathlib import Path

import pytest

from llmkit.engine.breaks import Breaks, breaks_of
from llmkit.engine.config import SamplingConfig
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.tokenizer import Tokenizer

TEXT = 'the License: "as is"\nUser: the Work * and the\n\nUser: License\n'


@pytest.fixture(scope="module")
def tokenizer(byte_level_dir: Path) -> Tokenizer:
    return load_tokenizer(byte_level_dir)


def by_search(tokenizer: Tokenizer, tokens: list[int], texts: tuple[str, ...]) -> list[bool]:
    """For each token whether one of the texts ends in it."""
    ends, found = 0, []
    whole = b"".join(tokenizer.token_bytes(one) for one in tokens)
    for token in tokens:
        begin, ends = ends, ends + len(tokenizer.token_bytes(token))
        places = range(begin + 1, ends + 1)
        found.append(any(whole[:place].endswith(text.encode()) for text in texts for place in places))
    return found


@pytest.mark.parametrize(
    "texts", [("\n", ":", '"', "*"), ("User:",), ("\nUser", "e"), ("the Work * and the",), ("é", "ß")]
)
def test_a_break_ends_in_the_tokens_in_which_it_ends_in_the_text(
    tokenizer: Tokenizer, texts: tuple[str, ...]
) -> None:
    chance = random.Random(0)
    for _ in range(40):
        letters = [TEXT[chance.randrange(len(TEXT)) :][: chance.randint(1, 30)] for _ in range(12)] + ["éß"]
        tokens = tokenizer.encode("".join(chance.sample(letters, 10)))
        if chance.random() < 0.5:
            tokens = chance.choices(tokens, k=300)  # parts of characters, in any order
        expected, breaks = by_search(tokenizer, tokens, texts), Breaks(tokenizer, texts)
        tail, found = b"", []
        for place, token in enumerate(tokens):
            assert breaks.tail(tokens[:place]) == tail
            found.append(breaks.end_in(token, tail))
            tail = (tail + breaks.spell(token))[-breaks.reach :] if breaks.reach else b""
            assert breaks.within(token) == any(one.encode() in tokenizer.token_bytes(token) for one in texts)
        assert found == expected
        for count in range(0, len(tokens) + 1, 7):
            last = max((place for place in range(count) if expected[place]), default=None)
            assert breaks.after_last(tokens[:count]) == (count if last is None else count - 1 - last)


def test_a_special_token_is_its_own_text(tokenizer: Tokenizer) -> None:
    (end,) = tokenizer.encode("<|im_end|>")
    assert Breaks(tokenizer, ("im_end",)).after_last([5, end, 6, 7]) == 2


def test_they_are_for_those_who_look_for_repetitions_and_have_a_tokenizer(tokenizer: Tokenizer) -> None:
    on = SamplingConfig(dry_multiplier=0.8)
    assert breaks_of(SamplingConfig(), tokenizer) is breaks_of(on, None) is None
    assert breaks_of(SamplingConfig(dry_multiplier=0.8, dry_sequence_breakers=()), tokenizer) is None
    found = breaks_of(on, tokenizer)
    assert found is not None and all(found.within(tokenizer.encode(one)[0]) for one in ("\n", ":", '"', "*"))
