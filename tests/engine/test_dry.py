"""DRY: beside its definition, read off word by word, on random texts of few tokens."""

import random
from collections.abc import Sequence

import numpy as np
import pytest

from llmkit.engine.breaks import Breaks
from llmkit.engine.config import SamplingConfig
from llmkit.engine.dry import Dry, repeated
from llmkit.engine.sampling import Sampler
from llmkit.engine.shaping import Scores

V = 6
LOGITS: Scores = np.random.default_rng(0).standard_normal(V, np.float32)
LOGITS.flags.writeable = False


class Letters(Breaks):
    """Token 0 is `a`, and so on; some have two letters."""

    SPELLING = (b"a", b"b", b"c", b"de", b"", b"ed")

    def __init__(self, *texts: str) -> None:
        class Tokenizer:
            def token_bytes(self, token: int) -> bytes:
                return Letters.SPELLING[token]

        super().__init__(Tokenizer(), texts)  # type: ignore[arg-type]


def by_definition(
    config: SamplingConfig, tokens: Sequence[int], breaks: Sequence[str] = ()
) -> dict[int, float]:
    """What is taken off each token."""
    seen = list(tokens if config.dry_penalty_last_n < 0 else tokens[-config.dry_penalty_last_n :])
    since, text = len(seen), b""  # tokens after the one in which a break ended last
    for count, letter in enumerate(seen, start=1):
        before, text = len(text), text + Letters.SPELLING[letter]
        if any(text.find(one.encode(), max(0, before - len(one) + 1)) >= 0 for one in breaks):
            since = len(seen) - count
    taken: dict[int, float] = {}
    for token in range(V):
        if any(one.encode() in Letters.SPELLING[token] for one in breaks):
            continue
        longest = 0
        for length in range(1, since + 1):
            again = [*seen[len(seen) - length :], token]
            if not any(seen[place : place + length + 1] == again for place in range(len(seen) - length)):
                break  # no longer one is there: it would end with this one
            longest = length
        if longest >= config.dry_allowed_length:
            exponent = longest - config.dry_allowed_length
            taken[token] = config.dry_multiplier * config.dry_base**exponent
    return taken


@pytest.mark.parametrize("last", [-1, 1, 7, 40])
@pytest.mark.parametrize("allowed", [1, 2, 4])
@pytest.mark.parametrize("breaks", [(), ("a",), ("c", "ab"), ("bde", "ed", "ca")])
def test_it_is_its_definition_from_the_prompt_on_and_after_each_token(
    breaks: tuple[str, ...], allowed: int, last: int
) -> None:
    config = SamplingConfig(
        dry_multiplier=0.8, dry_base=1.5, dry_allowed_length=allowed, dry_penalty_last_n=last
    )
    chance = random.Random(f"{breaks} {allowed} {last}")
    taken = 0
    for _ in range(25):
        letters = chance.sample(range(V), chance.randint(1, 3))
        tokens = chance.choices(letters, k=chance.randint(0, 30))
        dry = Dry(config, tokens, Letters(*breaks) if breaks else None)
        for _ in range(20):
            expected = LOGITS.astype(np.float64)
            for token, cost in by_definition(config, tokens, breaks).items():
                expected[token] -= cost
                taken += 1
            np.testing.assert_allclose(dry.apply(LOGITS), expected, rtol=1e-6, atol=1e-6)
            tokens += chance.choices(letters)
            dry.add(tokens[-1])
    assert taken or last == 1


@pytest.mark.parametrize("kinds", [1, 2, 5])
def test_what_is_repeated_at_each_place_is_found_in_texts_of_any_length(kinds: int) -> None:
    chance = random.Random(kinds)
    for length in range(40):
        tokens = [chance.randrange(kinds) for _ in range(length)]
        expected = [
            max(n for n in range(place + 1) if tokens[place - n : place] == tokens[length - n :])
            for place in range(length)
        ]
        assert repeated(tokens).tolist() == expected


def test_the_longer_a_repetition_the_more_its_next_token_costs_by_hand() -> None:
    config = SamplingConfig(dry_multiplier=0.8, dry_base=1.75, dry_allowed_length=2)
    zero = np.zeros(V, np.float32)
    assert Dry(config, [0, 1, 2, 5, 1]).apply(zero).tolist() == [0.0] * V  # one token is no repetition
    assert Dry(config, [0, 1, 2, 0, 1]).apply(zero)[2] == np.float32(-0.8)
    assert Dry(config, [3, 0, 1, 2, 3, 0, 1]).apply(zero)[2] == np.float32(-0.8 * 1.75)


def test_a_very_long_repetition_takes_a_number_off_and_an_only_token_can_still_be_drawn() -> None:
    config = SamplingConfig(dry_multiplier=5.0, dry_base=10.0)
    found = Dry(config, [0] * 5000).apply(np.zeros(V, np.float32))
    assert found[0] == np.float32(-1e30) and not found[1:].any()
    only = np.full(V, -np.inf, np.float32)
    only[0] = 1.0
    assert Sampler(SamplingConfig(dry_multiplier=5.0, dry_base=10.0), [0] * 5000, V).draw(only) == 0


def test_greedy_turns_away_from_a_loop() -> None:
    logits = np.array([1.0, -9.0, 0.5], np.float32)
    loop, dry = SamplingConfig(temperature=0.0), SamplingConfig(temperature=0.0, dry_multiplier=1.0)
    plain, turning = Sampler(loop, [1], 3), Sampler(dry, [1], 3)
    assert [plain.draw(logits) for _ in range(8)] == [0] * 8
    assert [turning.draw(logits) for _ in range(4)] == [0, 0, 0, 2]  # after 0 0, another 0 costs 1


def test_it_is_off_where_nothing_is_taken_off_or_nothing_looked_at() -> None:
    assert not SamplingConfig().has_dry
    assert not SamplingConfig(dry_multiplier=1.0, dry_penalty_last_n=0).has_dry
    assert SamplingConfig(dry_multiplier=1.0).has_dry
