"""Colours of cells."""

from llmkit.commands.eval.needle_colors import shade_of


def test_shades_go_from_red_over_yellow_to_green() -> None:
    assert [shade_of(score) for score in (0, 50, 100)] == [(214, 72, 60), (250, 214, 102), (66, 160, 92)]
    assert shade_of(25) == ((214 + 250) // 2, (72 + 214) // 2, (60 + 102) // 2)
