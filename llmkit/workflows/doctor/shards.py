"""Packed shards: every frame's checksum, every count, and the tokenizer they were packed with."""

from collections.abc import Iterator
from pathlib import Path

from llmkit.errors import DataError, MissingError
from llmkit.formats.amount_text import plural
from llmkit.formats.shards import DOCUMENTS, Shard, ShardFolder, ShardIndex
from llmkit.formats.streams import open_input
from llmkit.workflows.doctor.findings import Finding, as_finding, finding
from llmkit.workflows.doctor.together import Identity

AGAIN = "pack again, or fetch the file again"


def check_shards(path: Path) -> tuple[list[Finding], Identity | None]:
    """What is wrong with a shard folder or one shard, and what it says of its tokenizer where it opens."""
    findings: list[Finding] = []
    identity = None
    with as_finding(findings, "shards.open", path):
        if path.is_dir():
            folder = ShardFolder.open(path)
            index, problems = folder.index, [*folder.verify(), *_wrong_documents(folder)]
        else:
            shard = Shard(path)
            index, problems = shard.header, list(_damaged_frames(shard))
        identity = Identity(str(path), "shards", index.tokenizer_sha256, ids=index.vocab_size)
        for problem in problems:
            place, separator, what = problem.partition(": ")
            where, what = (place, what) if separator else (str(path), problem)
            findings.append(finding("error", "shards.verify", where, what, AGAIN))
        findings += _check_header(path, index)
    return findings, identity


def _wrong_documents(folder: ShardFolder) -> Iterator[str]:
    """What is wrong with the list of documents, which has a line for each."""
    path = folder.path / DOCUMENTS
    try:
        with open_input(path) as stream:
            found = sum(1 for _ in stream)
    except (DataError, MissingError) as error:
        yield error.problem
        return
    if found != folder.index.documents:
        yield f"{path}: {plural(found, 'document')}, index.json says {folder.index.documents}"


def _damaged_frames(shard: Shard) -> Iterator[str]:
    for number in range(shard.num_frames):
        try:
            shard.frame(number)
        except DataError as error:
            yield error.problem


def _check_header(path: Path, index: ShardIndex) -> list[Finding]:
    findings = []
    for name in ("bos", "eos", "pad"):
        token_id = getattr(index, f"{name}_id")
        if token_id is not None and token_id >= index.vocab_size:
            what = f"{name} is {token_id}, beyond the vocabulary of {index.vocab_size}"
            findings.append(finding("error", f"special.{name}", path, what, "pack again with -t TOKENIZER"))
    if index.tokenizer_sha256 is None:
        what = "no tokenizer's digest: nothing can tell which model it belongs to"
        findings.append(finding("info", "shards.tokenizer", path, what, "pack with -t TOKENIZER"))
    return findings
