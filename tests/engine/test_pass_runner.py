"""What a pass has of a text, and the scores of each."""

import numpy as np

from llmkit.engine.pass_runner import known_ids, parted
from llmkit.engine.scheduler import Work
from tests.written_texts import known


def test_known_tokens_go_before_guesses_and_only_as_many_of_these_as_are_planned() -> None:
    text = known(0, [1, 2, 3, 4], drafts=[7, 8, 9])
    assert known_ids(Work(text, 2, 4, 2)) == [3, 4, 7, 8]
    assert known_ids(Work(text, 0, 2, 0)) == [1, 2]


def test_scores_are_views_in_the_order_of_texts_and_none_where_nothing_is_asked() -> None:
    scores = np.arange(12, dtype=np.float32).reshape(4, 3)
    first, none, last = parted(scores, [1, 0, 3])
    assert none is None and first is not None and last is not None
    assert np.shares_memory(first, scores)
    assert np.array_equal(first, scores[:1]) and np.array_equal(last, scores[1:])
    assert parted(scores[:0], [0, 0]) == [None, None]
