"""What a path holds, told by its content: the first question of `show` and `doctor`."""

import codecs
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from llmkit.errors import DataError, MissingError, some_of
from llmkit.formats.checkpoint import CHECKPOINTS, STATE
from llmkit.formats.file_kind import is_json_lines
from llmkit.formats.gguf.adapter import ADAPTER, IMATRIX, gguf_kind
from llmkit.formats.gguf.magic import is_gguf
from llmkit.formats.jsonl import MALFORMED
from llmkit.formats.magic import PICKLE, SQLITE, ZIP
from llmkit.formats.metrics import METRICS
from llmkit.formats.model_folder import CONFIG, INDEX, WEIGHTS
from llmkit.formats.not_utf8 import told_by_beginning
from llmkit.formats.output_place import is_special
from llmkit.formats.peft import ADAPTER_CONFIG
from llmkit.formats.streams import STDIO, open_input
from llmkit.model.source import carries_tokenizer

Kind = Literal[
    "model", "gguf", "run", "checkpoint", "config", "safetensors", "adapter", "tokenizer", "shards", "shard",
    "metrics", "records", "text", "imatrix", "dedup-index", "retrieve-index", "report",
]  # fmt: skip
MODELS: tuple[Kind, ...] = ("model", "run", "checkpoint", "gguf")
SHARD_INDEX = "index.json"  # also what `dedup --save-index` calls its own: their schemas differ
_DEDUP_INDEX = "llmkit.dedup-index"
KNOWN = "a model, tokenizer, run, adapter or shard folder, or a file of one"
"""Of Artefact.kind, `gguf` is a model in one file, and an `adapter` may be such a file too; `records` also a
folder of documents in parts; `imatrix` an importance matrix in a GGUF file; `report` what a command said with
--json, or the `llmkit.json` of a folder."""

_SHARD_MAGIC = b"\x50\x2a\x4d\x18"  # the skippable zstd frame 0x184D2A50 that holds a shard's header
PICKLES = {
    ZIP: "a zip or pickle checkpoint, which is never read: it can run code",
    PICKLE: "a pickle, which is never read: it can run code",
}
FOLDERS: tuple[Kind, ...] = ("shards", "dedup-index", "adapter", "model")
"""Kinds of JSON objects that speak for the folder which their file is in."""
_GGUF: dict[str, Kind] = {ADAPTER: "adapter", IMATRIX: "imatrix"}
_DECODER = codecs.getincrementaldecoder("utf-8")
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "*.tiktoken")


@dataclass(frozen=True)
class Artefact:
    """A path and what it holds. `path` is the folder where a file speaks for its folder (an index)."""

    kind: Kind
    path: Path


def recognise(path: Path) -> Artefact:
    """What `path` holds; of stdin (`-`) or a pipe, which is not looked at, records.

    Raises:
        MissingError: there is nothing at the path.
        DataError: it holds nothing that llmkit knows.
    """
    if path != STDIO and not path.exists():
        raise MissingError(f"{path}: no such file or folder", hint=f"give {KNOWN}")
    return _folder(path) if path != STDIO and path.is_dir() else _file(path)


def _folder(path: Path) -> Artefact:
    if (path / ADAPTER_CONFIG).is_file():
        return Artefact("adapter", path)
    if (path / METRICS).is_file():
        return Artefact("run", path)
    if (path / WEIGHTS).is_file() or (path / INDEX).is_file() or _lacks_weights(path):
        return Artefact("checkpoint" if (path / STATE).is_file() else "model", path)
    if _is_dedup_index(path / SHARD_INDEX):
        return Artefact("dedup-index", path)
    if (path / SHARD_INDEX).is_file() or any(path.glob("*.tok.zst")):
        return Artefact("shards", path)
    if corpus_parts(path):
        return Artefact("records", path)
    if holds_tokenizer(path):
        return Artefact("tokenizer", path)
    if (path / CONFIG).is_file():
        return Artefact("config", path / CONFIG)
    if (path / CHECKPOINTS).is_dir():
        return Artefact("run", path)
    names = sorted(entry.name for entry in path.iterdir())
    raise DataError(
        f"{path}: no artefact that llmkit knows (found: {some_of(names, 5) or 'nothing'})",
        hint=f"give {KNOWN}",
    )


def _is_dedup_index(path: Path) -> bool:
    """Whether a file is the note of what `dedup --save-index` has made."""
    content = _object(path.read_bytes()) if path.is_file() else None
    return content is not None and str(content.get("schema", "")).startswith(_DEDUP_INDEX)


def _lacks_weights(path: Path) -> bool:
    """Whether a folder is a model's whose weights are not whole, or not to be read: opening it says why."""
    return (path / CONFIG).is_file() and any(any(path.glob(pattern)) for pattern in _WEIGHTS)


def corpus_parts(path: Path) -> list[Path]:
    """The parts of a folder that `clean`, `dedup` or `mix` has made, in order; none of anything else."""
    return sorted(path.glob("part-[0-9]*.jsonl*")) if path != STDIO and path.is_dir() else []


def holds_tokenizer(folder: Path) -> bool:
    """Whether there is a tokenizer's file in a folder, or a tokenizer in a GGUF file."""
    if is_gguf(folder):
        return carries_tokenizer(folder)
    return any(any(folder.glob(pattern)) for pattern in _TOKENIZER_FILES)


def _file(path: Path) -> Artefact:
    if _is_read_once(path) or is_json_lines(path):
        return _json_lines(path)
    if is_gguf(path):
        return Artefact(_gguf(path), path)
    with path.open("rb") as stream:
        head = stream.read(64)
    for magic, what in PICKLES.items():
        if head.startswith(magic):
            raise DataError(f"{path}: {what}", hint=f"give {KNOWN}")
    if head.startswith(SQLITE):
        return Artefact("retrieve-index", path)
    if head.startswith(_SHARD_MAGIC) or path.name.endswith(".tok.zst"):
        return Artefact("shard", path)
    if path.suffix == ".safetensors" or (head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 27):
        return Artefact("safetensors", path)
    if path.suffix in (".tiktoken", ".model"):
        return Artefact("tokenizer", path)
    return _content(path)


def _gguf(path: Path) -> Kind:
    """What a GGUF file is; of a damaged one opening it says what is wrong."""
    try:
        return _GGUF.get(gguf_kind(path), "gguf")
    except DataError:
        return "gguf"


def _is_read_once(path: Path) -> bool:
    """Whether a look at it would take something away; not where /dev/stdin is a file."""
    return path == STDIO or is_special(path)


def _json_lines(path: Path) -> Artefact:
    """JSON lines; a pipe is not looked at, so that all of it can still be read."""
    if _is_read_once(path):
        return Artefact("records", path)
    with open_input(path) as stream:
        first = _object(stream.readline())
    return Artefact("metrics" if first is not None and is_metrics(first) else "records", path)


def _content(path: Path) -> Artefact:
    """A JSON object, JSON lines under another name, or text with a suffix that says so."""
    with open_input(path) as stream:
        head = stream.readline(1 << 20)
        if head.lstrip().startswith(b"{"):
            rest = stream.read(1)
            if rest and _object(head) is not None:
                return _json_lines(path)
            return _json_object(path, _object(head + rest + stream.read()))
    if {suffix.lower() for suffix in path.suffixes} & {".txt", ".md"}:
        return Artefact("text", path)
    raise DataError(
        f"{path}: no artefact that llmkit knows (found: {_shown(head)})",
        hint=told_by_beginning(path, head) or f"give {KNOWN}",
    )


def _shown(head: bytes) -> str:
    """The beginning of a file for a person: text, or the bytes of what is none."""
    with suppress(UnicodeDecodeError):
        text = " ".join(_DECODER().decode(head[:40]).split())  # a letter that is cut in two is left out
        if text.isprintable():
            return text or "nothing"
    return f"bytes {head[:8].hex(' ')}"


def is_metrics(record: dict[str, Any]) -> bool:
    """Whether a record is a line of a metrics file: a step with its loss, or an event of the run."""
    return isinstance(record.get("step"), int) and ("loss" in record or "event" in record)


def _json_object(path: Path, content: dict[str, Any] | None) -> Artefact:
    if content is None:
        raise DataError(f"{path}: not JSON, or cut short", hint=f"python -m json.tool {path}")
    kind = kind_of_object(content)
    if kind in (None, "metrics") and path.name == "vocab.json":  # `step` and `loss` are words, too
        kind = "tokenizer" if all(isinstance(one, int) for one in content.values()) else kind
    if kind is None:
        raise unknown_object(str(path), content)
    return Artefact(kind, path.parent if kind in FOLDERS else path)


def kind_of_object(content: dict[str, Any]) -> Kind | None:
    """What a JSON object is, of which a file consists; None: nothing that llmkit knows."""
    schema = str(content.get("schema", ""))
    if schema.startswith("llmkit.shard"):
        return "shards"
    if schema.startswith(_DEDUP_INDEX):
        return "dedup-index"
    if schema.startswith("llmkit."):  # before the rest: a report may have a `model` that is an object
        return "report"
    if "added_tokens" in content or isinstance(content.get("model"), dict):
        return "tokenizer"
    if "peft_type" in content:
        return "adapter"
    if "weight_map" in content:
        return "model"
    if "model_type" in content or "architectures" in content:
        return "config"
    return "metrics" if is_metrics(content) else None


def unknown_object(name: str, content: dict[str, Any]) -> DataError:
    """The error of a JSON object of which `kind_of_object` knows nothing."""
    found = ", ".join(list(content)[:5]) or "no keys"
    return DataError(f"{name}: JSON that llmkit does not know (found: {found})", hint=f"give {KNOWN}")


def _object(content: bytes) -> dict[str, Any] | None:
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except MALFORMED:
        return None
