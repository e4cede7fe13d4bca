"""Notes on rows: segments and loss as arrays, against rows drawn out token by token."""

import numpy as np
import pytest

from llmkit.formats.row_notes import RowNotes, gather


def notes() -> RowNotes:
    """Three rows of 6: AABBB., CCCCCC, D.....; no loss on the first A, the last B, and C 2 to 4."""
    return RowNotes(
        used=np.array([5, 6, 1]),
        segment_rows=np.array([0, 2, 3, 4]),
        starts=np.array([0, 2, 0, 0]),
        documents=np.array([7, 3, 9, 3]),
        offsets=np.array([0, 0, 12, 3]),
        run_rows=np.array([0, 2, 3, 3]),
        run_starts=np.array([0, 4, 2]),
        run_lengths=np.array([1, 1, 3]),
    )


SEGMENTS = ["00111.", "000000", "0....."]
LOSS = ["-11 1-. ".replace(" ", ""), "11---1", "1....."]


def drawn(rows: list[int]) -> tuple[list[list[int]], list[list[bool]]]:
    segments = [[-1 if letter == "." else int(letter) for letter in SEGMENTS[row]] for row in rows]
    return segments, [[letter == "1" for letter in LOSS[row]] for row in rows]


@pytest.mark.parametrize("rows", [[0, 1, 2], [2, 0], [1], [1, 1, 0], []])
def test_rows_are_expanded_in_the_order_asked_for(rows: list[int]) -> None:
    segments, loss = notes().expand(np.array(rows, np.int64), 6)
    expected_segments, expected_loss = drawn(rows)
    assert segments.tolist() == expected_segments and loss.tolist() == expected_loss


def test_some_rows_taken_are_those_rows() -> None:
    part = notes().take(np.array([2, 0]))
    assert part.documents.tolist() == [3, 7, 3] and part.offsets.tolist() == [3, 0, 0]
    assert part.segment_rows.tolist() == [0, 1, 3] and part.used.tolist() == [1, 5]
    assert (part.run_starts.tolist(), part.run_rows.tolist()) == ([0, 4], [0, 0, 2])


def test_what_is_written_is_read_back() -> None:
    again = RowNotes.decode(notes().encode())
    for name in RowNotes.__dataclass_fields__:
        assert np.array_equal(getattr(again, name), getattr(notes(), name)), name


def test_a_flipped_byte_never_gives_other_notes() -> None:
    payload, caught = notes().encode(), 0
    for position in range(len(payload)):
        damaged = bytearray(payload)
        damaged[position] ^= 0x10
        try:  # some bits of a zstd header say nothing of the content
            assert RowNotes.decode(bytes(damaged)).encode() == payload
        except ValueError:
            caught += 1
    assert caught >= len(payload) - 2


def test_arrays_that_do_not_fit_together_are_refused() -> None:
    fields = {name: getattr(notes(), name) for name in RowNotes.__dataclass_fields__}
    for name in ("starts", "used", "run_lengths"):
        with pytest.raises(ValueError, match="fit together"):
            RowNotes.decode(RowNotes(**{**fields, name: fields[name][:-1]}).encode())


def test_items_of_rows_are_gathered_by_their_bounds() -> None:
    bounds, items = gather(np.array([0, 2, 2, 5]), np.array([2, 0, 1]))
    assert bounds.tolist() == [0, 3, 5, 5] and items.tolist() == [2, 3, 4, 0, 1]
