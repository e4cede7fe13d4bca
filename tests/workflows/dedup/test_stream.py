"""Documents on one stream."""

import io

import msgspec
import pytest

from llmkit.errors import ResourceError
from llmkit.formats.documents import Document
from llmkit.formats.jsonl import BadLine
from llmkit.workflows.dedup.options import DedupConfig
from llmkit.workflows.dedup.stream import stream_documents
from llmkit.workflows.dedup.write import DocumentWriter


def documents(*texts: str) -> list[Document]:
    return [Document(str(n), text, "a.jsonl", n, {"id": msgspec.Raw(b"1")}) for n, text in enumerate(texts)]


def test_each_document_is_written_before_the_next_is_read() -> None:
    out, rejects, sizes = io.BytesIO(), io.BytesIO(), []
    config = DedupConfig(by="exact")
    writer = DocumentWriter(config, out, rejects)
    facts = stream_documents(
        documents("a", "b", "a", "a", "b"), writer, config,
        memory_bytes=1 << 20, after=lambda _: sizes.append(out.tell()),
    )  # fmt: skip
    assert 0 < sizes[0] < sizes[1] == sizes[2] == sizes[4]
    assert facts.sizes == (3, 2) and facts.by_source == {("a.jsonl", "a.jsonl"): 3}
    assert [
        line["_reject"]["dup_of"] for line in map(msgspec.json.decode, rejects.getvalue().splitlines())
    ] == [*"001"]


def test_digests_that_do_not_fit_are_an_error_that_names_the_way_out() -> None:
    config = DedupConfig(by="exact")
    writer = DocumentWriter(config, io.BytesIO(), None)
    with pytest.raises(ResourceError, match="--memory"):
        stream_documents(
            documents(*map(str, range(100))), writer, config, memory_bytes=5000, after=lambda _: None
        )


def test_bad_lines_pass_by() -> None:
    config = DedupConfig(by="line")
    writer = DocumentWriter(config, io.BytesIO(), None)
    stream_documents([BadLine(b"x", "f", 1, "p")], writer, config, memory_bytes=1 << 20, after=lambda _: None)
    assert writer.tally.bad_lines == 1
