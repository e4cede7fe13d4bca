"""Stop strings, however the text is cut into pieces."""

import random

import pytest

from llmkit.engine.stopping import StopStrings


def _slow(text: str, stops: list[str]) -> tuple[str, str | None]:
    """The text before the stop string that is complete first, found by looking at every beginning."""
    for end in range(len(text) + 1):
        found = [stop for stop in stops if text[:end].endswith(stop)]
        if found:
            longest = max(found, key=len)
            return text[: end - len(longest)], longest
    return text, None


def _run(pieces: list[str], stops: list[str]) -> tuple[str, str | None]:
    one = StopStrings(stops)
    return "".join([*map(one.push, pieces), one.flush()]), one.hit


@pytest.mark.parametrize("seed", range(300))
def test_any_text_in_any_pieces_ends_where_reading_it_letter_by_letter_ends(seed: int) -> None:
    chance = random.Random(seed)
    stops = ["".join(chance.choices("ab", k=chance.randint(1, 4))) for _ in range(chance.randint(0, 3))]
    letters = "".join(chance.choices("abc", k=30))
    cuts = sorted(chance.sample(range(31), 6))
    pieces = [letters[start:end] for start, end in zip([0, *cuts], [*cuts, 30], strict=True)]
    assert _run(pieces, stops) == _run(list(letters), stops) == _slow(letters, stops)


def test_only_what_may_still_become_a_stop_string_is_held_back() -> None:
    one = StopStrings(["END", "\n\n"])
    assert [one.push(piece) for piece in ("a", "bE", "N", "d\n", "x", "E", "N", "D", "more")] == [
        *("a", "b", "", "ENd", "\nx", "", "", "", ""),
    ]
    assert one.hit == "END" and one.flush() == ""


def test_what_was_held_back_comes_out_at_the_end() -> None:
    one = StopStrings(["END"])
    assert one.push("the EN") == "the "
    assert one.flush() == "EN" and one.hit is None


def test_without_stop_strings_everything_passes_at_once() -> None:
    one = StopStrings([])
    assert one.push("abc") == "abc" and one.flush() == ""
