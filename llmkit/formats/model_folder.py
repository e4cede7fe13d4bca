"""The Hugging Face model folder without its tensors: config.json and the headers of its safetensors files.

    config.json                     the shape
    model.safetensors               the weights, or model-00001-of-0000N.safetensors and
    model.safetensors.index.json    which file holds which tensor
    generation_config.json          ids that begin and end a text, sampling defaults

A safetensors file is 8 bytes of header length (little-endian), a JSON header, and the tensors' bytes. Nothing
here maps or reads the tensors themselves.
"""

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from llmkit.errors import DataError, MissingError
from llmkit.formats.json_keys import refuse_twice
from llmkit.formats.jsonl import MALFORMED
from llmkit.formats.streams import STDIO, input_name, open_input

CONFIG = "config.json"
GENERATION_CONFIG = "generation_config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
BELONG_TOGETHER = "the config.json and the safetensors of one model belong together"
"""A hint, where they tell different things."""
MAX_SHARD_BYTES = 5_000_000_000
"""Of the tensors of one file, where nothing else is asked for: a larger model is written in several."""
MAX_HEADER_BYTES = 100_000_000
"""The limit of the safetensors library."""

DTYPE_BITS = {
    **{"BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8},
    **{"I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32},
    **{"I64": 64, "U64": 64, "F64": 64, "C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6},
}

CONFIG_DTYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
"""What config.json calls the dtypes that weights are kept in."""


class TensorInfo(msgspec.Struct, frozen=True):
    """One tensor as its file's header describes it."""

    name: str
    dtype: str
    """safetensors' word: F32, BF16, I8, ..."""
    shape: tuple[int, ...]
    nbytes: int
    file: Path
    offset: int = 0
    """Where its bytes begin in the file."""

    @property
    def numel(self) -> int:
        """Number of values."""
        return math.prod(self.shape)


class Header(msgspec.Struct, frozen=True):
    """The header of one safetensors file."""

    tensors: dict[str, TensorInfo]
    metadata: dict[str, str] = msgspec.field(default_factory=dict)


class _Entry(msgspec.Struct, frozen=True):
    """One tensor in a header, as JSON has it."""

    dtype: str
    shape: tuple[Annotated[int, Meta(ge=0)], ...]
    data_offsets: tuple[int, int]


def read_config(path: Path) -> dict[str, Any]:
    """A model's config.json, from its folder, from the file, or from stdin for `-`.

    Raises:
        MissingError: no such file.
        DataError: it is not a JSON object.
    """
    return read_json_object(path if path == STDIO or not path.is_dir() else path / CONFIG)


def read_generation_config(folder: Path) -> dict[str, Any] | None:
    """A folder's generation_config.json, or None where there is none."""
    path = folder / GENERATION_CONFIG
    return read_json_object(path) if path.exists() else None


def read_json_object(path: Path) -> dict[str, Any]:
    """One JSON object from a file, or from stdin for `-`.

    Python's own dialect is read too: older programs write Infinity, as in a Mamba-2's time_step_limit.

    Raises:
        MissingError: no such file.
        DataError: it is not a JSON object.
    """
    with open_input(path) as stream:
        content = stream.read()
    name = input_name(path)
    try:
        decoded = _decode_object(content)
        refuse_twice(name, content, decoded)
    except MALFORMED as error:
        hint = "pipe one JSON object in" if path == STDIO else f"python -m json.tool {path}"
        what = error if content.strip() else "there is nothing in it"
        raise DataError(f"{name}: not a JSON object ({what})", hint=hint) from None
    return decoded


def _decode_object(content: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except msgspec.DecodeError:
        if b"Infinity" not in content and b"NaN" not in content:
            raise
        with suppress(ValueError):
            decoded = json.loads(content)
            if isinstance(decoded, dict):
                return decoded
        raise


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model folder, in the order of their names.

    Raises:
        MissingError: there are none, or the index names one that is not there.
        DataError: the index is damaged.
    """
    index = folder / INDEX
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if not index.is_file():
        raise _no_weights(folder)
    files = sorted({folder / name for name in _weight_map(index).values()})
    for file in files:
        if not file.is_file():
            raise MissingError(
                f"{file}: no such file, but {INDEX} names it", hint="fetch the whole model again"
            )
    return files


def read_tensors(folder: Path) -> dict[str, TensorInfo]:
    """Every tensor of a model folder, by name, from the headers of its files.

    Raises:
        MissingError: a file is not there.
        DataError: a header is damaged, a tensor is stored twice, or the index tells otherwise than the files.
    """
    tensors: dict[str, TensorInfo] = {}
    for file in weight_files(folder):
        for name, tensor in read_header(file).tensors.items():
            if name in tensors:
                raise DataError(
                    f"{file}: tensor {name} is also in {tensors[name].file.name}",
                    hint="remove the file that does not belong to this model",
                )
            tensors[name] = tensor
    if not (folder / WEIGHTS).is_file():
        for name, file_name in _weight_map(folder / INDEX).items():
            if name not in tensors or tensors[name].file.name != file_name:
                raise DataError(
                    f"{folder / INDEX}: places {name} in {file_name}, which does not hold it",
                    hint="fetch the whole model again",
                )
    return tensors


def read_header(path: Path) -> Header:
    """The header of a safetensors file, checked against the file's length.

    Raises:
        MissingError: no such file.
        DataError: it is not safetensors, or it is cut short.
    """
    try:
        total_bytes = path.stat().st_size
        with path.open("rb") as stream:
            header_bytes = int.from_bytes(stream.read(8), "little")
            if not 2 <= header_bytes <= min(MAX_HEADER_BYTES, total_bytes - 8):
                raise DataError(
                    f"{path}: not a safetensors file, or cut short ({total_bytes} bytes)",
                    hint="fetch or write the file again",
                )
            header = _decode_header(path, stream.read(header_bytes))
    except FileNotFoundError:
        raise MissingError(f"{path}: no such file", hint="check the path") from None
    metadata = _converted(path, header.pop("__metadata__", {}), dict[str, str], "the header's __metadata__")
    entries = {
        name: _converted(path, entry, _Entry, f"the header entry of {name}") for name, entry in header.items()
    }
    tensors = {name: _tensor(path, name, entry, 8 + header_bytes) for name, entry in entries.items()}
    _check_offsets(path, entries, total_bytes - 8 - header_bytes)
    return Header(tensors, metadata)


def _decode_header(path: Path, content: bytes) -> dict[str, Any]:
    try:
        decoded = msgspec.json.decode(content, type=dict[str, Any])
        refuse_twice(str(path), content, decoded)
    except MALFORMED as error:
        raise DataError(
            f"{path}: not a safetensors header ({error})", hint="fetch or write the file again"
        ) from None
    return decoded


def _converted(path: Path, found: Any, wanted: Any, what: str) -> Any:
    try:
        return msgspec.convert(found, wanted)
    except msgspec.ValidationError as error:
        raise DataError(
            f"{path}: {what} is damaged ({error})", hint="fetch or write the file again"
        ) from None


def _tensor(path: Path, name: str, entry: _Entry, data_start: int) -> TensorInfo:
    begin, end = entry.data_offsets
    tensor = TensorInfo(name, entry.dtype, entry.shape, end - begin, path, data_start + begin)
    expected = tensor.numel * DTYPE_BITS.get(tensor.dtype, 0) // 8
    if tensor.dtype in DTYPE_BITS and tensor.nbytes != expected:
        raise DataError(
            f"{path}: {name} takes {tensor.nbytes} bytes, "
            f"but {tensor.dtype} {list(tensor.shape)} takes {expected}",
            hint="fetch or write the file again",
        )
    return tensor


def _check_offsets(path: Path, entries: dict[str, _Entry], data_bytes: int) -> None:
    """Tensors lie end to end and fill the file, as the format asks: a truncated file is found here."""
    position = 0
    for begin, end in sorted(entry.data_offsets for entry in entries.values()):
        if begin != position or end < begin:
            raise DataError(f"{path}: the header has a gap at byte {position}", hint="fetch the file again")
        position = end
    if position != data_bytes:
        what = "is cut short" if data_bytes < position else "has bytes that belong to no tensor"
        raise DataError(
            f"{path}: {what} ({data_bytes} bytes of tensors, the header says {position})",
            hint="fetch or write the file again",
        )


def _weight_map(index: Path) -> dict[str, str]:
    mapping = read_json_object(index).get("weight_map")
    if not isinstance(mapping, dict) or not mapping or not all(_is_plain(name) for name in mapping.values()):
        raise DataError(f"{index}: no usable weight_map", hint="fetch the whole model again")
    return mapping


def _is_plain(name: object) -> bool:
    """A file's name without a folder, so that an index cannot point outside its own."""
    return isinstance(name, str) and name == Path(name).name and name not in ("", "..")


def _no_weights(folder: Path) -> MissingError:
    if not folder.is_dir():
        return MissingError(f"{folder}: no such model folder", hint="check the path")
    pickled = next(_pickles(folder), None)
    if pickled is not None:
        return MissingError(
            f"{folder}: no {WEIGHTS} (found {pickled.name}, a pickle, which is never read: it can run code)",
            hint="ask for the model's safetensors files",
        )
    found = ", ".join(sorted(path.name for path in folder.iterdir())[:6]) or "nothing"
    return MissingError(f"{folder}: no {WEIGHTS} (found: {found})", hint="give the folder of a model")


def _pickles(folder: Path) -> Iterator[Path]:
    for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt"):
        yield from sorted(folder.glob(pattern))


def names_dtype(config: Mapping[str, Any]) -> bool:
    """Whether a config.json says which dtype its weights have."""
    inner = config.get("text_config")
    places = (config, inner) if isinstance(inner, Mapping) else (config,)
    return any(place.get(key) is not None for place in places for key in ("dtype", "torch_dtype"))
