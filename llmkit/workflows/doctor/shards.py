"""Packed shards: every frame's checksum, every count, and the tokenizer they were packed with."""

from collections.abc import Iterator
from pathlib import Path

from llmkit.errors import DataError
from llmkit.formats.shards import Shard, ShardFolder, ShardIndex
from llmkit.workflows.doctor.together import Identity
from llmkit.workflows.findings import Finding, as_finding, finding

AGAIN = "pack again, or fetch the file again"


def check_shards(path: Path) -> tuple[list[Finding], Identity | None]:
    """What is wrong with a shard folder or one shard, and what it says of its tokenizer where it opens."""
    findings: list[Finding] = []
    identity = None
    with as_finding(findings, "shards.open", path):
        if path.is_dir():
            folder = ShardFolder.open(path)
            index, problems = folder.index, folder.verify()
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
