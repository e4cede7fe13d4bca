"""Conversations are split by weight, stay where they are, and leave a version that fails."""

from collections import Counter

import pytest

from llmkit.server.errors import ApiError
from llmkit.server.router.rollout import (
    Outcomes,
    RollbackConfig,
    checked_weights,
    choose_version,
    must_roll_back,
)

NAMES = [f"key\0conversation {number}" for number in range(4000)]


def test_five_in_a_hundred_conversations_get_the_version_of_weight_five() -> None:
    counts = Counter(choose_version({"v1": 95.0, "v2": 5.0}, name) for name in NAMES)
    assert counts["v2"] == pytest.approx(200, abs=4 * (4000 * 0.05 * 0.95) ** 0.5)  # four standard deviations


def test_a_larger_weight_moves_no_conversation_back() -> None:
    before, after = (
        [choose_version({"v1": 100 - share, "v2": share}, name) for name in NAMES] for share in (5.0, 20.0)
    )
    assert {pair for pair in zip(before, after, strict=True)} == {("v1", "v1"), ("v1", "v2"), ("v2", "v2")}


def test_a_version_of_weight_zero_gets_none() -> None:
    assert {choose_version({"a": 0.0, "b": 1.0, "c": 0.0}, name) for name in NAMES} == {"b"}


@pytest.mark.parametrize(
    ("new", "old", "back"),
    [
        ((20, 2), (100, 0), True),
        ((20, 1), (100, 0), False),  # no more than the margin
        ((19, 19), (100, 0), False),  # too few to judge
        ((20, 4), (100, 20), False),  # the old one fails as often
        ((20, 2), (0, 0), True),
    ],
)
def test_a_new_version_is_judged_by_the_old_one(
    new: tuple[int, int], old: tuple[int, int], back: bool
) -> None:
    assert must_roll_back(new, old, RollbackConfig()) is back


def test_what_was_long_ago_does_not_count() -> None:
    outcomes = Outcomes()
    for now in (0.0, 100.0, 121.0):
        outcomes.add(now, failed=now == 0.0)
    assert outcomes.count(121.0) == (2, 0)


@pytest.mark.parametrize("told", [{"v3": 1.0}, {"v1": -1.0}, {"v1": 0.0}, {"v1": float("nan")}, {}])
def test_weights_that_cannot_be_are_refused(told: dict[str, float]) -> None:
    with pytest.raises(ApiError) as caught:
        checked_weights(told, {"v1": 0, "v2": 0})
    assert (caught.value.status, caught.value.param) == (400, "weights")


def test_who_is_not_named_gets_nothing() -> None:
    assert checked_weights({"v2": 3.0}, {"v1": 0, "v2": 0}) == {"v1": 0.0, "v2": 3.0}
