"""llmkit bench tokenize: from jsonl.zst to token arrays and to shards, beside a bare `encode_batch`."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import tokenizers
import zstandard

from llmkit.errors import DataError
from llmkit.formats.documents import Document, read_documents
from llmkit.formats.jsonl import encode_line
from llmkit.formats.provenance import Invocation
from llmkit.probe.bench import BenchReport, bench_rows, noise
from llmkit.probe.config import BenchTokenizeConfig
from llmkit.probe.environment import read_environment
from llmkit.probe.timing import take_turns
from llmkit.progress import SILENT, Progress
from llmkit.text.shingles import batches
from llmkit.tokens.config import PackConfig
from llmkit.tokens.encode import encode_documents
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.workflows.bench.report import check_comparable, read_report, refuse_busy
from llmkit.workflows.pack.pack import PackSources, pack_files

PEER = "tokenizers encode_batch"
OWN = ("llmkit to arrays", "llmkit to shards")
PACKAGES = ("tokenizers", "numpy", "zstandard", "msgspec")
_PEER_CHARACTERS = 1 << 20  # a call: as fast as one call for all, and Ctrl-C need not wait for the last text


class TokenizePlan(msgspec.Struct, frozen=True, kw_only=True):
    """What would be timed."""

    schema: str = "llmkit.bench-tokenize-plan/1"
    cases: tuple[str, ...]
    rounds: int
    documents: int
    bytes: int
    """Of their text."""
    tokenizer_sha256: str


def bench_tokenize(
    inputs: Sequence[Path],
    tokenizer_path: Path,
    config: BenchTokenizeConfig,
    *,
    baseline: Path | None = None,
    progress: Progress = SILENT,
) -> BenchReport:
    """Time both roads over the same documents in turns.

    Peer: texts already in memory, a call for each megabyte, results kept. llmkit: a jsonl.zst file in, token
    arrays or finished shards out.

    Args:
        baseline: an earlier report to compare with afterwards; read now, so that a wrong one costs no time.

    Raises:
        ResourceError: the machine is busy and `config.require_quiet` is on.
        MissingError, DataError: no such baseline, or one of another bench, tokenizer or text.
    """
    tokenizer, documents, work = _work(inputs, tokenizer_path, config, baseline)
    texts, num_bytes = [document.text for document in documents], work["bytes"]
    environment = read_environment(*PACKAGES)
    refuse_busy(environment, config.require_quiet)
    with tempfile.TemporaryDirectory(prefix="llmkit-bench-") as name:
        corpus = Path(name) / "docs.jsonl.zst"
        _write(corpus, documents)
        cases = {
            PEER: lambda: _by_peer(tokenizer.backend, texts),
            OWN[0]: lambda: _to_arrays(corpus, tokenizer),
            OWN[1]: lambda: _to_shards(corpus, tokenizer_path, Path(name) / "shards"),
        }
        timings = take_turns(
            cases, config.rounds, after_round=lambda number: progress.update(number, config.rounds)
        )
    tokens = _to_arrays_of(documents, tokenizer)
    rows = bench_rows(timings, peer=PEER, tokens=tokens, num_bytes=num_bytes)
    work |= {"tokens": tokens, "rounds": config.rounds}
    return BenchReport("tokenize", work, environment, noise(environment, rows), rows)


def plan_tokenize(
    inputs: Sequence[Path], tokenizer_path: Path, config: BenchTokenizeConfig, *, baseline: Path | None = None
) -> TokenizePlan:
    """What `bench_tokenize` would time, after the same checks but that of a quiet machine."""
    _, _, work = _work(inputs, tokenizer_path, config, baseline)
    return TokenizePlan(cases=(PEER, *OWN), rounds=config.rounds, **work)


def _work(
    inputs: Sequence[Path], tokenizer_path: Path, config: BenchTokenizeConfig, baseline: Path | None
) -> tuple[Tokenizer, list[Document], dict[str, Any]]:
    """What is encoded by what, and how the report calls it."""
    if baseline is not None:
        read_report(baseline)
    tokenizer = load_tokenizer(tokenizer_path)
    documents = _sample(inputs, config.max_bytes)
    num_bytes = sum(len(document.text.encode()) for document in documents)
    work = {"documents": len(documents), "bytes": num_bytes, "tokenizer_sha256": tokenizer.sha256}
    if baseline is not None:
        check_comparable(baseline, "tokenize", work, OWN)
    return tokenizer, documents, work


def _sample(inputs: Sequence[Path], max_bytes: int) -> list[Document]:
    documents: list[Document] = []
    size = 0
    for document in read_documents(inputs):
        documents.append(document)
        size += len(document.text.encode())
        if size >= max_bytes:
            break
    if not size:
        raise DataError("no text in the input", hint="name a file or folder with text in it")
    return documents


def _write(path: Path, documents: list[Document]) -> None:
    lines = (encode_line({"id": document.id, "text": document.text}) for document in documents)
    path.write_bytes(zstandard.ZstdCompressor(level=3).compress(b"".join(lines)))


def _by_peer(backend: tokenizers.Tokenizer, texts: list[str]) -> list[list[tokenizers.Encoding]]:
    """Every text's encoding, all of them held: letting go of them takes the library long."""
    parts = batches([len(text) for text in texts], _PEER_CHARACTERS)
    return [backend.encode_batch(texts[part], add_special_tokens=False) for part in parts]


def _to_arrays(corpus: Path, tokenizer: Tokenizer) -> int:
    return sum(len(document.tokens) for document in encode_documents(tokenizer, read_documents([corpus])))


def _to_arrays_of(documents: list[Document], tokenizer: Tokenizer) -> int:
    return sum(len(document.tokens) for document in encode_documents(tokenizer, documents))


def _to_shards(corpus: Path, tokenizer_path: Path, out: Path) -> object:
    sources = PackSources(inputs=[corpus], out=out, tokenizer=tokenizer_path, force=True)
    return pack_files(sources, PackConfig(), invocation=Invocation("bench tokenize"), progress=SILENT)
