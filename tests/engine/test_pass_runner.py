"""What a pass has of a text, and the scores of each."""

import numpy as np

from llmkit.engine.pass_runner import known_ids, parted, state_copies
from llmkit.engine.scheduler import Work
from tests.written_texts import known


def test_known_tokens_go_before_guesses_and_only_as_many_of_these_as_are_planned() -> None:
    text = known(0, [1, 2, 3, 4], drafts=[7, 8, 9])
    assert known_ids(Work(text, 2, 4, 2)) == [3, 4, 7, 8]
    assert known_ids(Work(text, 0, 2, 0)) == [1, 2]


def test_a_state_is_left_behind_the_last_known_token_and_each_guess_but_the_last() -> None:
    texts = [known(number, [1, 2, 3, 4], drafts=[7, 8, 9]) for number in range(2)]
    works = [Work(texts[0], 2, 4, 2), Work(texts[1], 0, 3, 0)]
    assert [[*work.unsure] for work in works] == [[4, 5], []]
    assert state_copies(works) == []
    texts[0].earlier = dict(zip(works[0].unsure, (20, 30), strict=True))
    # of the positions 2 to 5 and 0 to 2: behind 3 four are read, behind 4 five
    assert state_copies(works) == [-1, 20, 30, -1, -1, -1, -1]


def test_scores_are_views_in_the_order_of_texts_and_none_where_nothing_is_asked() -> None:
    scores = np.arange(12, dtype=np.float32).reshape(4, 3)
    first, none, last = parted(scores, [1, 0, 3])
    assert none is None and first is not None and last is not None
    assert np.shares_memory(first, scores)
    assert np.array_equal(first, scores[:1]) and np.array_equal(last, scores[1:])
    assert parted(scores[:0], [0, 0]) == [None, None]
