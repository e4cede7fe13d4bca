"""One run: ids, counts and places by hand, and a listener that is told seldom."""

import io
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from llmkit.formats.documents import Document
from llmkit.workflows.tokenize.run import Run

END, START, STOP = 256, 257, 258
MakeRun = Callable[..., Run]


class Listener:
    """A Progress that remembers."""

    def __init__(self) -> None:
        self.updates: list[tuple[float, dict[str, Any]]] = []

    def update(self, done: float, total: float | None = None, **fields: float | str) -> None:
        self.updates.append((done, fields))

    def note(self, message: str) -> None:
        raise AssertionError(message)


class Flushed(io.BytesIO):
    """A stream that remembers what it held at each flush."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[bytes] = []

    def flush(self) -> None:
        self.seen.append(self.getvalue())


def _chat(text: str) -> Document:
    return Document("c", text, "c.jsonl", 1, {"messages": msgspec.Raw(b"[]")})


def test_ids_come_with_their_documents_and_are_counted_as_they_pass(make_run: MakeRun) -> None:
    run = make_run("é b", "", "xyz", bos=True, eos=True)
    pairs = run.pairs()
    document, ids = next(pairs)
    assert (document.id, ids.tolist()) == ("0.txt", [END, 0xC3, 0xA9, 0x20, 0x62, END])
    assert (run.totals.documents, run.totals.tokens, run.totals.bytes, run.totals.words) == (1, 6, 4, 2)
    assert [ids.tolist() for _, ids in pairs] == [[END, END], [END, *b"xyz", END]]
    assert (run.totals.documents, run.totals.tokens, run.totals.bytes, run.totals.words) == (3, 13, 7, 3)


def test_the_listener_is_told_at_most_once_each_64_kib(make_run: MakeRun) -> None:
    listener = Listener()
    run = make_run(*["x" * 1000] * 500, progress=listener)
    assert sum(1 for _ in run.pairs()) == 500
    done = [one for one, _ in listener.updates]
    assert len(done) == 500_000 // 66_000  # 66 documents of 1000 bytes are the first beyond 64 KiB
    assert all(after - before == 66_000 for before, after in pairwise([0, *done]))
    assert listener.updates[-1][1] == {"tokens": done[-1]}


@pytest.mark.parametrize(("flush", "seen"), [(False, []), (True, [b"a", b"ab"])])
def test_results_are_written_through_when_asked(make_run: MakeRun, flush: bool, seen: list[bytes]) -> None:
    stream = Flushed()
    run = make_run(stream=stream, flush=flush)
    run.emit(b"a")
    run.emit(b"b")
    assert (stream.seen, stream.getvalue()) == (seen, b"ab")


def test_special_tokens_are_meant_in_a_chat_and_where_the_flag_says_so(make_run: MakeRun) -> None:
    text = "<|im_end|>"
    plain, chat = Document("p", text, "p.txt", 0), _chat(text)
    assert [ids.tolist() for _, ids in make_run(plain, chat).pairs()] == [[*text.encode()], [STOP]]
    assert [ids.tolist() for _, ids in make_run(plain, allow_special=True).pairs()] == [[STOP]]
    run = make_run()
    assert (run.count(plain, text), run.count(chat, text)) == (len(text), 1)
    assert run.backend_for(chat).encode("<|im_start|>").ids == [START]


def test_a_count_has_bos_and_eos_and_ids_have_as_many(make_run: MakeRun) -> None:
    for bos, eos in ((False, False), (True, False), (False, True), (True, True)):
        run = make_run("né", bos=bos, eos=eos)
        ((document, ids),) = run.pairs()
        assert run.count(document, "né") == len(ids) == 3 + bos + eos


def test_places_are_of_the_text_and_padded_ones_of_bos_and_eos_too(make_run: MakeRun) -> None:
    run = make_run("é!", bos=True, eos=True)
    ((document, ids),) = run.pairs()
    inner, padded = run.spans(document, ids), run.spans(document, ids, padded=True)
    assert inner.bytes.tolist() == [[0, 1], [1, 2], [2, 3]]
    assert inner.chars.tolist() == [[0, 1], [0, 1], [1, 2]]  # both halves of é touch it
    assert padded.bytes.tolist() == [[0, 0], *inner.bytes.tolist(), [3, 3]]
    assert padded.chars.tolist() == [[0, 0], *inner.chars.tolist(), [2, 2]]
    assert len(padded) == len(ids)


def test_unbuffered_gives_a_result_before_the_next_document_is_read(make_run: MakeRun) -> None:
    read: list[int] = []

    def slowly() -> Any:
        for number in range(3):
            read.append(number)
            yield Document(str(number), "x" * 10, "f", number + 1)

    for unbuffered, ahead in ((True, [0]), (False, [0, 1, 2])):
        run = make_run(unbuffered=unbuffered)
        run.documents = slowly()
        read.clear()
        next(run.pairs())
        assert read == ahead
