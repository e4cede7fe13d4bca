"""Packed shards: every frame's checksum, every count, and the tokenizer they were packed with."""

from pathlib import Path

from llmkit.formats.shards import ShardFolder
from llmkit.workflows.doctor_together import Identity
from llmkit.workflows.findings import Finding, as_finding, finding


def check_shards(folder: Path) -> tuple[list[Finding], Identity | None]:
    """What is wrong with a shard folder, and what it says of its tokenizer where it opens."""
    findings: list[Finding] = []
    identity = None
    with as_finding(findings, "shards.open", folder):
        shards = ShardFolder.open(folder)
        index = shards.index
        identity = Identity(str(folder), "shards", index.tokenizer_sha256, ids=index.vocab_size)
        for problem in shards.verify():
            what = problem.removeprefix(f"{folder}: ")
            findings.append(
                finding("error", "shards.verify", folder, what, "pack again, or fetch the folder again")
            )
        for name in ("bos", "eos", "pad"):
            token_id = getattr(index, f"{name}_id")
            if token_id is not None and token_id >= index.vocab_size:
                what = f"{name} is {token_id}, beyond the vocabulary of {index.vocab_size}"
                findings.append(
                    finding("error", f"special.{name}", folder, what, "pack again with -t TOKENIZER")
                )
        if index.tokenizer_sha256 is None:
            what = "no tokenizer's digest: nothing can tell whether a model belongs to it"
            findings.append(finding("info", "shards.tokenizer", folder, what, "pack with -t TOKENIZER"))
    return findings, identity
