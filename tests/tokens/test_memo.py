"""Remembered units have the ids that the backend gives, whoever asks, however often memory starts afresh."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import tokenizers

from llmkit.tokens import memo
from llmkit.tokens.cuts import ANY_SYMBOL, ONLY_BLANKS, Places
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.memo import UnitMemo, UnknownUnitError
from llmkit.tokens.ordinary import ordinary_backend

LICENSE = (Path(__file__).parents[2] / "LICENSE").read_text(encoding="utf-8")
LETTERS = "abc \n\t'smlL.!12²é\u0301\u00a0_-日🙂"


@pytest.fixture(scope="module")
def backend(byte_level_dir: Path) -> tokenizers.Tokenizer:
    return ordinary_backend(load_tokenizer(byte_level_dir))


def bare(backend: tokenizers.Tokenizer, text: str) -> list[int]:
    ids: list[int] = backend.encode(text, add_special_tokens=False).ids
    return ids


def remembered(units: UnitMemo, text: str) -> list[int]:
    (ids,) = units.encode([text])
    assert ids is not None
    return list(ids.tolist())


@pytest.mark.parametrize("places", [ANY_SYMBOL, ONLY_BLANKS], ids=["any symbol", "only blanks"])
def test_random_texts_have_the_ids_of_the_backend(backend: tokenizers.Tokenizer, places: Places) -> None:
    units = UnitMemo(backend, places)
    chance = random.Random(0)
    for _ in range(3000):
        text = "".join(chance.choice(LETTERS) for _ in range(chance.randrange(33)))
        assert remembered(units, text) == bare(backend, text), repr(text)


class Counting:
    """A backend that keeps what it is asked, a list for each call."""

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        self._backend = backend
        self.calls: list[list[str]] = []

    def encode_batch(self, batch: list[list[str]], **options: bool) -> list[tokenizers.Encoding]:
        self.calls += batch
        return self._backend.encode_batch(batch, **options)


def test_a_second_look_asks_the_backend_nothing(backend: tokenizers.Tokenizer) -> None:
    counting = Counting(backend)
    units = UnitMemo(counting, ANY_SYMBOL)  # type: ignore[arg-type]
    first = remembered(units, LICENSE)
    (asked,) = counting.calls
    assert len(asked) == len(set(asked)) > 500
    assert remembered(units, LICENSE) == first == bare(backend, LICENSE)
    assert len(counting.calls) == 1


def test_what_is_new_in_many_short_texts_is_one_call(backend: tokenizers.Tokenizer) -> None:
    counting = Counting(backend)
    lines = [*LICENSE.splitlines(), "吾輩は猫である。名前はまだ無い。" * 100, "", "the last one"]
    *first, unspaced, empty, last = UnitMemo(counting, ANY_SYMBOL).encode(lines)  # type: ignore[arg-type]
    assert len(counting.calls) == 1
    assert unspaced is None and empty is not None and not len(empty)
    for line, ids in zip([*lines[:-3], lines[-1]], [*first, last], strict=True):
        assert ids is not None and ids.tolist() == bare(backend, line)


def test_a_unit_without_a_token_is_an_error_and_nothing_is_remembered() -> None:
    backend = tokenizers.Tokenizer(tokenizers.models.BPE({"a": 0}, [], unk_token="[UNK]"))
    units = UnitMemo(backend, ANY_SYMBOL)
    with pytest.raises(UnknownUnitError):
        units.encode(["a", "b"])
    assert units._known == {}
    assert remembered(units, "a") == [0]


def test_memory_starts_afresh_when_it_is_full(
    backend: tokenizers.Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memo, "MAX_CHARS", 1000)
    units = UnitMemo(backend, ANY_SYMBOL)
    for line in LICENSE.splitlines() * 2:
        assert remembered(units, line) == bare(backend, line)
        assert sum(map(len, units._known)) <= 1000 + len(line)


def test_a_text_without_spaces_is_not_remembered(backend: tokenizers.Tokenizer) -> None:
    units = UnitMemo(backend, ANY_SYMBOL)
    assert units.encode(["吾輩は猫である。名前はまだ無い。" * 100]) == [None]
    assert units._known == {}


def test_threads_share_one_memory(backend: tokenizers.Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memo, "MAX_CHARS", 3000)
    units = UnitMemo(backend, ANY_SYMBOL)
    lines = LICENSE.splitlines() * 20
    with ThreadPoolExecutor(4) as pool:
        for line, ids in zip(lines, pool.map(lambda line: remembered(units, line), lines), strict=True):
            assert ids == bare(backend, line)


def test_who_finds_no_seat_is_sent_to_the_backend(backend: tokenizers.Tokenizer) -> None:
    seats_taken, go_on = threading.Semaphore(0), threading.Event()

    class Waiting:
        def encode_batch(self, batch: list[list[str]], **options: bool) -> list[tokenizers.Encoding]:
            seats_taken.release()
            go_on.wait(30)
            return backend.encode_batch(batch, **options)

    units = UnitMemo(Waiting(), ANY_SYMBOL)  # type: ignore[arg-type]
    with ThreadPoolExecutor(memo.SEATS) as pool:
        seated = [pool.submit(remembered, units, f"text {number}") for number in range(memo.SEATS)]
        for _ in seated:
            assert seats_taken.acquire(timeout=30)
        assert units.encode(["one more", "and another"]) == [None, None]
        go_on.set()
        assert [one.result() for one in seated] == [
            bare(backend, f"text {number}") for number in range(memo.SEATS)
        ]
    assert remembered(units, "one more") == bare(backend, "one more")
