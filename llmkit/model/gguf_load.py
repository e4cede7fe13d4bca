"""A model from one GGUF file: its config, and its tensors as numbers of the dtype asked for.

Tensors that are stored as asked, in the model's own layout, are the file's own pages, copied only where they
are written to. The others are read and rearranged one group at a time.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from llmkit.errors import DataError, some_of
from llmkit.formats.gguf_data import GgufData
from llmkit.model.coded_weights import CodedWeights
from llmkit.model.config import ModelConfig
from llmkit.model.dtypes import dtype_of, kept_dtype
from llmkit.model.extend_context import extend_context
from llmkit.model.gguf_config import HEAD
from llmkit.model.gguf_file import gguf_file_config
from llmkit.model.gguf_names import GgufGroup, gguf_groups
from llmkit.model.gguf_rope import TABLES
from llmkit.model.part import Part, part_config
from llmkit.model.transformer import Transformer

_STORED = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}


def load_gguf(
    path: Path,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    rope_scaling: Mapping[str, Any] | None = None,
    coded: CodedWeights | None = None,
    part: Part | None = None,
) -> Transformer:
    """The model of a GGUF file, ready to use, in evaluation mode; quantised weights become plain numbers.

    Args:
        path: of the file.
        dtype: of every weight; None: as most are stored, and float32 where they are quantised.
        device: where to put it.
        rope_scaling: in place of what the file says, for longer texts.
        coded: takes the quantised matrices that the kernels read as they are stored; see `load_model`.
        part: see `load_model`.

    Raises:
        MissingError: no such file.
        ConfigError: its architecture, or something in it, is not supported.
        DataError: it is damaged, one of several, or its tensors are not what its keys say.
    """
    data = GgufData(path)
    content = gguf_file_config(data)
    if rope_scaling is not None:
        content = extend_context(content, rope_scaling, str(path))
    config = ModelConfig.from_hf(content, source=str(path))
    dtype = dtype or dtype_of(config)
    with torch.device("meta"):
        model = Transformer(config)
    empty = model.state_dict()
    kept = gguf_groups(config, empty, data.tensors)
    _check_names(data, _expected(kept, empty), config)
    if part is not None:
        with torch.device("meta"):
            model = Transformer(part_config(config, part.count))
    read = _read_groups(data, kept, empty, dtype, torch.device(device), coded)
    tensors = {name: one if part is None else part.cut(name, one, config) for name, one in read}
    model.load_state_dict(tensors, assign=True)
    return model.eval()


def check_gguf(path: Path) -> None:
    """Whether a file has the tensors that its keys speak of; no weight is read.

    Raises:
        MissingError, ConfigError, DataError: as `load_gguf`.
    """
    data = GgufData(path)
    config = ModelConfig.from_hf(gguf_file_config(data), source=str(path))
    with torch.device("meta"):
        empty = Transformer(config).state_dict()
    _check_names(data, _expected(gguf_groups(config, empty, data.tensors), empty), config)


def _read_groups(
    data: GgufData,
    kept: Iterable[GgufGroup],
    empty: Mapping[str, Tensor],
    dtype: torch.dtype,
    device: torch.device,
    coded: CodedWeights | None,
) -> Iterator[tuple[str, Tensor]]:
    mapped = _mapped(data)
    for group in kept:
        wanted = kept_dtype(group.ours[0], dtype)
        if coded is not None and coded.take_gguf(group, data, [len(empty[name]) for name in group.ours]):
            yield from ((name, empty[name].to(wanted)) for name in group.ours)
            continue
        first = data.info(group.theirs[0])
        if group.how == "same" and first.type == _STORED.get(wanted):
            part = mapped[first.offset : first.offset + first.nbytes].view(wanted)
            found = [part]
        else:
            exact = torch.float32 if group.how == "plus_one" else wanted
            parts = [_read(data, name, exact) for name in group.theirs]
            found = group.unpack(parts, [len(empty[name]) for name in group.ours])
        for name, tensor in zip(group.ours, found, strict=True):
            yield name, tensor.to(dtype=wanted, device=device).view(empty[name].shape)


def _mapped(data: GgufData) -> Tensor:
    """The file's bytes, private to this process: what is written to them never reaches the file."""
    return torch.from_file(str(data.path), shared=False, size=data.path.stat().st_size, dtype=torch.uint8)


def _read(data: GgufData, name: str, dtype: torch.dtype) -> Tensor:
    """One tensor in memory of its own; beside it there is one piece of it."""
    tensor = torch.empty(data.shape(name), dtype=dtype)
    place, begin = tensor.view(-1), 0
    for piece in data.pieces(name, "float16" if dtype == torch.float16 else "float32"):
        place[begin : begin + piece.size] = torch.from_numpy(piece.reshape(-1))
        begin += piece.size
    return tensor


def _expected(kept: Iterable[GgufGroup], empty: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors that a file of this model holds."""
    shapes: dict[str, tuple[int, ...]] = {}
    for group in kept:
        packed = group.pack([empty[name] for name in group.ours])
        shapes |= {name: tuple(tensor.shape) for name, tensor in zip(group.theirs, packed, strict=True)}
    return shapes


def _check_names(data: GgufData, expected: Mapping[str, tuple[int, ...]], config: ModelConfig) -> None:
    surplus = [name for name in data.tensors if name not in expected and not _is_extra(name, config)]
    missing = [name for name in expected if name not in data.tensors]
    if missing or surplus:
        what = f"lacks {some_of(missing)}" if missing else f"has {some_of(surplus)}"
        raise DataError(
            f"{data.path}: it {what}, unlike {config.model_type} models of its keys",
            hint="convert the model again from where it was published",
        )
    for name, shape in expected.items():
        found = data.shape(name)
        if _squeezed(found) != _squeezed(shape):
            raise DataError(
                f"{data.path}: {name} is {list(found)}, its keys ask for {list(shape)}",
                hint="convert the model again from where it was published",
            )


def _is_extra(name: str, config: ModelConfig) -> bool:
    """What is no weight of the model: tables of positions, a tied head, layers that predict further."""
    parts = name.split(".")
    if name == HEAD and config.tie_word_embeddings:
        return True
    if name in TABLES or (len(parts) > 2 and parts[2] in ("attn_rot_embd", "rope_freqs")):
        return True
    return parts[0] == "blk" and parts[1].isdigit() and int(parts[1]) >= config.num_hidden_layers


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)
