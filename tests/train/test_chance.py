"""What an update draws."""

import itertools

import torch

from llmkit.train.chance import seed_update


def _drawn(seed: int, step: int, share: int) -> tuple[float, ...]:
    seed_update(seed, step, share)
    return tuple(torch.rand(4).tolist())


def test_an_update_draws_the_same_again_and_every_other_something_else() -> None:
    places = list(itertools.product((0, 1, 2), (0, 1, 12), (0, 1, 2)))
    first = [_drawn(*place) for place in places]
    torch.rand(5)
    assert [_drawn(*place) for place in places] == first
    assert len(set(first)) == len(places)
