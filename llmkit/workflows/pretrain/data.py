"""What a run learns from and is scored on: shard folders as they are, documents packed into the run's cache.

RUN/cache/0123456789abcdef/     shards of some documents; the name is a digest of their bytes, the
                                tokenizer and the packing, so that the same line finds them again
"""

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from llmkit.errors import DataError, LlmkitError, MissingError, UsageError
from llmkit.formats.digest import digest_bytes, digest_file, digest_inputs
from llmkit.formats.documents import list_files
from llmkit.formats.file_kind import holds_json_lines
from llmkit.formats.provenance import Invocation
from llmkit.formats.shards import INDEX, ShardFolder, ShardIndex
from llmkit.formats.stdin_kind import kind_of_stdin
from llmkit.formats.streams import input_name, is_stream, open_input
from llmkit.formats.token_files import index_of
from llmkit.progress import Progress
from llmkit.tokens.config import PackConfig
from llmkit.tokens.text_sizes import TextSizes
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.train.data import JoinedRows, RowSource

STDIN_SPOOL = ".stdin-"
_NAME = ".name"
"""What the names of files begin with that keep a stream meanwhile."""


@dataclass(frozen=True)
class PretrainData:
    """Rows, and what is known of the text behind them."""

    rows: RowSource
    seq_len: int
    vocab_size: int
    sha256: str
    tokenizer_sha256: str | None
    bytes_per_token: float | None
    special_ids: dict[str, int | None]
    inputs: dict[str, str]
    """Each input's name and digest."""


@dataclass(frozen=True)
class Packing:
    """How documents become rows, should there be any."""

    config: PackConfig
    tokenizer_path: Path | None
    tokenizer: Tokenizer | None
    cache: Path
    """Folder that holds packed documents by their digest."""


def open_data(
    paths: Sequence[Path],
    packing: Packing,
    *,
    seq_len: int | None,
    invocation: Invocation,
    progress: Progress,
) -> PretrainData:
    """Open shard folders, or pack documents and open what comes of it.

    Args:
        paths: shard folders, or else documents (files, folders, `-`).
        packing: for documents.
        seq_len: the row length asked for; None takes what the shards have.
        invocation: recorded in packed shards.
        progress: shows the packing.

    Raises:
        UsageError: shards beside documents, documents without a tokenizer, or seq_len is not theirs.
        DataError: the shards are damaged or belong to another tokenizer.
        MissingError: a path is not there.
    """
    folders = [path for path in paths if is_shard_folder(path)]
    if folders and len(folders) < len(paths):
        other = next(path for path in paths if path not in folders)
        raise UsageError(
            f"{other}: documents beside shards ({folders[0]})",
            hint=f"llmkit pack -t TOKENIZER {other} -o shards2",
        )
    inputs = digest_inputs(folders, lambda folder: digest_file(folder / INDEX))
    if not folders:
        folders = [_pack(paths, packing, invocation, progress)]
        inputs = {folders[0].name: folders[0].name}
    return join_shards(
        [ShardFolder.open(folder) for folder in folders], folders, packing.tokenizer, seq_len, inputs
    )


def is_shard_folder(path: Path) -> bool:
    """Whether a path is a folder that `llmkit pack` wrote."""
    return (path / INDEX).is_file()


def text_sizes(tokenizer: Tokenizer | None, data: PretrainData, vocab_size: int) -> TextSizes | None:
    """Bytes behind `vocab_size` ids: by a tokenizer, else the shards' mean; None where neither is known."""
    if tokenizer is not None:
        return TextSizes.of_tokenizer(tokenizer, vocab_size)
    if data.bytes_per_token is not None:
        return TextSizes.mean(data.bytes_per_token, vocab_size)
    return None


def join_shards(
    shards: list[ShardFolder],
    folders: list[Path],
    tokenizer: Tokenizer | None,
    seq_len: int | None,
    inputs: dict[str, str],
) -> PretrainData:
    """Several shard folders as one, after checking that they belong together."""
    first = shards[0].index
    for folder, one in zip(folders, shards, strict=True):
        _check(folder, one, folders[0], first, tokenizer, seq_len)
    known = [one.index.bytes for one in shards]
    text_bytes = sum(size for size in known if size is not None) if None not in known else None
    tokens = sum(one.index.tokens for one in shards)
    return PretrainData(
        rows=shards[0] if len(shards) == 1 else JoinedRows(shards),
        seq_len=first.seq_len,
        vocab_size=max(one.index.vocab_size for one in shards),
        sha256=digest_bytes("\n".join(inputs.values()).encode()),
        tokenizer_sha256=first.tokenizer_sha256,
        bytes_per_token=text_bytes / tokens if text_bytes is not None and tokens else None,
        special_ids={
            "bos_token_id": first.bos_id,
            "eos_token_id": first.eos_id,
            "pad_token_id": first.pad_id,
        },
        inputs=inputs,
    )


def _check(
    folder: Path,
    shards: ShardFolder,
    first_folder: Path,
    first: ShardIndex,
    tokenizer: Tokenizer | None,
    seq_len: int | None,
) -> None:
    index = shards.index
    if len(shards) == 0:
        raise DataError(f"{folder}: no rows", hint="pack more text, or shorter rows: llmkit pack --seq-len N")
    if tokenizer is not None and index.tokenizer_sha256 not in (None, tokenizer.sha256):
        raise DataError(
            f"{folder}: packed with another tokenizer "
            f"(found sha256 {index.tokenizer_sha256[:12]}, the given one has {tokenizer.sha256[:12]})",
            hint="give the tokenizer the shards were packed with, or pack again with this one",
        )
    if index.seq_len != first.seq_len or index.tokenizer_sha256 != first.tokenizer_sha256:
        raise DataError(
            f"{folder}: rows of {index.seq_len} tokens and tokenizer {str(index.tokenizer_sha256)[:12]} "
            f"(found in {first_folder}: {first.seq_len} and {str(first.tokenizer_sha256)[:12]})",
            hint="pack both with the same --seq-len and tokenizer",
        )
    if seq_len is not None and index.seq_len != seq_len:
        raise UsageError(
            f"{folder}: rows of {index.seq_len} tokens, where --seq-len or --data has {seq_len}",
            hint=f"llmkit pack --seq-len {seq_len}, or leave --seq-len out",
        )


def _pack(paths: Sequence[Path], packing: Packing, invocation: Invocation, progress: Progress) -> Path:
    """The packed rows of some documents, from the cache where they are there already."""
    from llmkit.workflows.pack.pack import PackSources, pack_files

    if packing.tokenizer is None or packing.tokenizer_path is None:
        raise UsageError(
            f"{paths[0]}: documents need a tokenizer",
            hint="add -t TOKENIZER, or give a folder that llmkit pack wrote",
        )
    with spooled_files(paths, packing.cache) as (files, digest):
        key = {"documents": digest, "tokenizer": packing.tokenizer.sha256, "packing": packing.config.key}
        target = packing.cache / digest_bytes(msgspec.json.encode(key, order="sorted"))[:16]
        if not is_shard_folder(target):
            progress.note(f"packing {len(files)} file{'s' * (len(files) != 1)} into {target}")
            sources = PackSources(inputs=files, out=target, tokenizer=packing.tokenizer_path)
            try:
                pack_files(sources, packing.config, invocation=invocation, progress=progress)
            except DataError as error:
                error.hint = error.hint.replace("--skip-bad", "llmkit pack --skip-bad")  # no flag of a run
                raise
    return target


@contextmanager
def spooled_files(paths: Sequence[Path], cache: Path) -> Iterator[tuple[list[Path], str]]:
    """The files behind the paths and a digest of their bytes; a stream is kept in a file meanwhile.

    What is found wrong in that file is told of the stream: the file is gone then. Its name is kept beside it,
    for `told_name`.
    """
    digest = hashlib.sha256()
    files: list[Path] = []
    spools: dict[Path, str] = {}
    try:
        for path in list_files(paths):
            if is_stream(path):
                cache.mkdir(parents=True, exist_ok=True)
                spool = cache / f"{STDIN_SPOOL}{os.getpid()}-{len(spools)}.jsonl"
                name = input_name(path)
                spools |= {spool: name, spool.with_suffix(".txt"): name, spool.with_suffix(_NAME): name}
                spool.with_suffix(_NAME).write_bytes(os.fsencode(name))
                with open_input(path) as source, spool.open("wb") as sink:
                    shutil.copyfileobj(source, sink, 1 << 20)
                path = spool if _starts_as_json(spool) else spool.rename(spool.with_suffix(".txt"))
            how = "records" if holds_json_lines(path) else "text"  # the same bytes can be read as either
            digest.update(f"{how} {digest_file(path)}\n".encode())
            if (beside := index_of(path)) is not None:
                digest.update(f"index {digest_file(beside)}\n".encode())
            files.append(path)
        yield files, digest.hexdigest()
    except LlmkitError as error:
        for spool, name in spools.items():
            error.problem = error.problem.replace(str(spool), name)
            error.hint = error.hint.replace(str(spool), "FILE")
        error.args = (error.problem,)
        raise
    finally:
        for leftover in spools:
            leftover.unlink(missing_ok=True)


def told_name(path: Path) -> str:
    """What people are told a file is called: one that a stream is kept in has the name of the stream."""
    if path.name.startswith(STDIN_SPOOL):
        return os.fsdecode(path.with_suffix(_NAME).read_bytes())
    return str(path)


def _starts_as_json(path: Path) -> bool:
    with path.open("rb") as stream:
        return kind_of_stdin(stream)[0] == "jsonl"


def check_tokenizer(path: Path, found: str, data: PretrainData) -> None:
    """Refuse a tokenizer that is not the data's.

    Raises:
        DataError: the digests differ.
    """
    if data.tokenizer_sha256 is not None and found != data.tokenizer_sha256:
        raise DataError(
            f"{path}: another tokenizer than the training data's "
            f"(found sha256 {found[:12]}, the data has {data.tokenizer_sha256[:12]})",
            hint="pack all of it with one tokenizer",
        )


def require(path: Path) -> Path:
    """A path that has to be there.

    Raises:
        MissingError: it is not.
    """
    if not path.exists():
        raise MissingError(f"{path}: no such file or folder", hint="check the path")
    return path
