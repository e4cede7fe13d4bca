"""How a pass is shared out, by hand and for any numbers."""

from hypothesis import given
from hypothesis import strategies as st

from llmkit.engine.share import share_pass


def test_texts_that_write_come_before_a_long_one_that_reads() -> None:
    assert share_pass([5000, 1, 1], 0, 512) == [510, 1, 1]


def test_a_short_prompt_is_read_whole_beside_a_long_one() -> None:
    assert share_pass([5000, 3000, 40], 0, 512) == [256, 216, 40]


def test_newcomers_find_room_beside_a_long_prompt_and_no_more_than_they_need() -> None:
    assert share_pass([5000], 9999, 512) == [384]
    assert share_pass([5000], 20, 512) == [492]


def test_alone_a_text_gets_the_whole_pass() -> None:
    assert share_pass([5000], 0, 512) == [512]
    assert share_pass([30], 0, 512) == [30]


@given(st.lists(st.integers(1, 2000), max_size=20), st.integers(0, 5000), st.integers(0, 600))
def test_the_pass_is_never_overdrawn_and_the_oldest_always_moves(
    wanted: list[int], newcomers: int, more: int
) -> None:
    tokens = len(wanted) + more
    shares = share_pass(wanted, newcomers, tokens)
    assert sum(shares) <= tokens
    assert all(0 <= share <= count for share, count in zip(shares, wanted, strict=True))
    assert all(share == 1 for share, count in zip(shares, wanted, strict=True) if count == 1)
    if wanted:
        assert shares[0] >= 1
    if not newcomers:
        assert sum(shares) == min(tokens, sum(wanted))
