"""States of texts as tensors, and which of them a pass reads together."""

import torch

from llmkit.engine.state_store import StateStore
from llmkit.model.layout import Span
from tests.model.recurrent.conftest import hybrid


def store() -> StateStore:
    return StateStore(hybrid("lfm2").config, 4, torch.float32, "cpu")


def test_texts_with_one_new_token_each_go_together_and_all_others_alone() -> None:
    spans = [Span(5, 1), Span(9, 1), Span(0, 6), Span(2, 3), Span(7, 1)]
    kept = store()
    rows = [*kept.rows(0, kept.groups(spans, [3, 1, 0, 2, 3]))]
    assert [(one.part, one.texts) for one in rows] == [
        *((slice(0, 2), 2), (slice(2, 8), 1), (slice(8, 11), 1), (slice(11, 12), 1)),
    ]


def test_a_text_is_read_in_pieces_that_end_where_its_state_is_copied() -> None:
    spans = [Span(5, 1), Span(9, 1), Span(0, 5), Span(2, 1), Span(7, 1), Span(8, 1)]
    kept = StateStore(hybrid("lfm2").config, 12, torch.float32, "cpu")
    groups = kept.groups(spans, [3, 1, 0, 2, 4, 5], [-1, -1, *(-1, -1, 6, 7, -1), -1, 8, 9])
    assert [(one.part.start, one.part.stop) for one in groups] == [
        *((0, 2), (2, 5), (5, 6), (6, 8), (8, 10)),
    ]
    for slot in range(12):
        kept.begin(slot)
    for number, rows in enumerate(kept.rows(0, groups), 1):
        rows.keep([torch.full((rows.texts, 2, 32), float(number))])
    # a copy is of the state as it was then: slots 0 and 2 have become others since
    assert kept.layers[0][0][:, 0, 0].tolist() == [4, 1, 4, 1, 5, 5, 2, 3, 5, 5, 0, 0]


def test_what_is_kept_is_found_in_the_same_slots_and_in_no_other() -> None:
    kept = store()
    for slot in range(4):
        kept.begin(slot)
    (rows,) = kept.rows(2, kept.groups([Span(1, 1), Span(1, 1)], [3, 1]))
    rows.keep([torch.stack((torch.full((2, 32), 3.0), torch.full((2, 32), 1.0)))])
    (tensor,) = kept.layers[2]
    assert tensor[:, 0, 0].tolist() == [0.0, 1.0, 0.0, 3.0]
    assert not kept.layers[0][0].any()
    (again,) = kept.rows(2, kept.groups([Span(2, 1), Span(2, 1)], [1, 3]))
    assert again.before[0][:, 0, 0].tolist() == [1.0, 3.0]
    kept.copy(3, 0)
    assert tensor[:, 1, 1].tolist() == [3.0, 1.0, 0.0, 3.0]
    kept.begin(3)
    assert tensor[:, 1, 1].tolist() == [3.0, 1.0, 0.0, 0.0]


def test_bytes_are_those_of_all_layers_and_slots() -> None:
    assert store().nbytes == 2 * 4 * 2 * 32 * 4
