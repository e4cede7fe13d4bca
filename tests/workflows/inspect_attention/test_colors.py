"""Shades and colours: brighter is more, and the same without colour."""

import pytest

from llmkit.workflows.inspect_attention.colors import RAMP, UNSEEN, character_of, color_of, shades

NONE = float("-inf")


def brightness(color: tuple[int, int, int]) -> float:
    """Of the picture without its colours: Rec. 709."""
    return 0.2126 * color[0] + 0.7152 * color[1] + 0.0722 * color[2]


def test_weights_go_by_their_root_and_scores_from_lowest_to_highest() -> None:
    assert shades([[0.25, NONE], [1.0, 0.01]], scores=False) == [[0.5, None], [1.0, pytest.approx(0.1)]]
    assert shades([[-3.0, NONE], [1.0, -1.0]], scores=True) == [[0.0, None], [1.0, 0.5]]
    assert shades([[2.0, 2.0]], scores=True) == [[0.0, 0.0]]


def test_more_is_always_brighter() -> None:
    bright = [brightness(color_of(one / 100)) for one in range(101)]
    assert bright == sorted(bright) and bright[0] < 5 and bright[-1] > 230
    assert color_of(1.0) == (252, 255, 164) and color_of(None) == UNSEEN
    places = [RAMP.index(character_of(one / 100)) for one in range(101)]
    assert places == sorted(places) and set(places) == set(range(len(RAMP)))
    assert character_of(None) == " "
