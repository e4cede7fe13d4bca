"""A model as the keys and tensors of a GGUF file, for `write_gguf`."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llmkit.errors import ConfigError
from llmkit.formats.gguf.blocks import quantise
from llmkit.formats.gguf.header import GgufTensorInfo
from llmkit.formats.gguf.types import GGML_TYPES
from llmkit.formats.gguf.values import MetadataValue, Typed
from llmkit.formats.gguf.write import GgufTensor
from llmkit.model.finite import check_finite
from llmkit.model.gguf.architectures import gguf_architecture
from llmkit.model.gguf.curves import curve_metadata, is_of_curve
from llmkit.model.gguf.metadata import gguf_shape
from llmkit.model.gguf.names import GgufGroup, gguf_groups
from llmkit.model.gguf.shown import HEAD
from llmkit.model.positions import sinusoid_table
from llmkit.model.transformer import Transformer

GGUF_TYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "q8_0": "Q8_0"}
"""ggml's words for what weights may be stored as."""
FILE_TYPES = {"F32": 0, "F16": 1, "Q8_0": 7, "BF16": 32}
"""general.file_type, llama.cpp's LLAMA_FTYPE."""
_EXACT = (
    *("ffn_gate_inp", "ffn_gate_inp_shexp", "position_embd", "exp_probs_b", "attn_sinks", "conv"),
    *("ssm_conv1d", "ssm_a", "ssm_d", "per_layer_model_proj"),
)
"""Tensors that stay float32, beside norms, biases and other single rows: llama.cpp asks for that."""
PLAIN_DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
"""Types of GGUF that are numbers by themselves."""
_EMBEDDING = "model.embed_tokens.weight"
_POSITIONS = "position_embd.weight"
_PIECE_VALUES = 1 << 22


@dataclass(frozen=True)
class GgufModel:
    """What a file of a model holds, its tensors made as they are asked for."""

    metadata: dict[str, MetadataValue]
    tensors: list[GgufTensor]
    lost: list[str]
    """What llama.cpp does otherwise, a sentence each."""


@dataclass(frozen=True)
class CodedMatrix:
    """A matrix, or a stack of them, that has been rounded to a type already."""

    type: str
    """ggml's word."""
    parts: Callable[[], Mapping[str, Tensor]]
    """Makes what its bytes are made of, each with the rows of the matrix in its rows; columns are where the
    file has them."""
    encode: Callable[[Mapping[str, Tensor]], NDArray[np.uint8]]
    """The bytes of parts whose rows are in the file's order."""


def gguf_model(
    model: Transformer,
    dtype: str,
    coded: Mapping[str, CodedMatrix] | None = None,
    types: Mapping[str, str] | None = None,
) -> GgufModel:
    """A model as the content of a GGUF file, without its tokenizer.

    Args:
        model: whose; on the "meta" device to plan only.
        dtype: float32, float16, bfloat16 or q8_0. Matrices whose rows are no whole number of Q8_0's blocks
            of 32 are stored as float16, as llama.cpp does.
        coded: matrices that are stored as they were rounded, by their names in `state_dict()`. Those that
            the file joins have one type.
        types: of tensors that are not coded, by their names in the file, in place of the dtype's.

    Raises:
        ConfigError: llama.cpp has no such family, or computes it otherwise; or no such dtype.
    """
    if dtype not in GGUF_TYPES:
        raise ConfigError(f"no GGUF dtype {dtype!r}", hint=f"one of {', '.join(GGUF_TYPES)}")
    config, ours = model.config, model.state_dict()
    wanted = GGUF_TYPES[dtype]
    coded, types = coded or {}, types or {}
    tensors: list[GgufTensor] = []

    def add(group: GgufGroup) -> None:
        if group.ours[0] in coded:
            tensors.extend(_coded_tensors(group, ours, [coded[name] for name in group.ours]))
        else:
            tensors.extend(_tensors(group, [ours[name] for name in group.ours], wanted, types))

    for group in gguf_groups(config, ours):
        add(group)
    if config.position == "sinusoidal":
        table = sinusoid_table(config.max_position_embeddings, config.hidden_size)
        tensors.append(_plain(_POSITIONS, table))
    if config.tie_word_embeddings and gguf_architecture(config).needs_head:
        add(GgufGroup((_EMBEDDING,), (HEAD,)))
    shape = gguf_shape(config, [_info(tensor) for tensor in tensors])
    tensors[:0] = [_plain(name, torch.tensor(values)) for name, values in shape.tables.items()]
    curves = curve_metadata({name: _number(one) for name, one in ours.items() if is_of_curve(name)})
    metadata = {**shape.metadata, **curves, "general.file_type": Typed("u32", FILE_TYPES[wanted])}
    if wanted == "Q8_0" or coded:
        metadata["general.quantization_version"] = Typed("u32", 2)
    return GgufModel(metadata, tensors, shape.lost)


def _number(tensor: Tensor) -> float:
    """Of a model without memory, 0."""
    return 0.0 if tensor.is_meta else float(tensor)


def _tensors(
    group: GgufGroup, ours: list[Tensor], wanted: str, types: Mapping[str, str]
) -> Iterator[GgufTensor]:
    shapes = group.shapes([tuple(one.shape) for one in ours])
    for index, (name, shape) in enumerate(zip(group.theirs, shapes, strict=True)):
        kind = types.get(name) or _type_of(name, shape, wanted)
        yield GgufTensor(name, shape, kind, _maker(group, ours, index, kind))


def _coded_tensors(
    group: GgufGroup, ours: Mapping[str, Tensor], coded: list[CodedMatrix]
) -> Iterator[GgufTensor]:
    """Tensors whose rows go where the file has them, part by part."""
    shapes = group.shapes([tuple(ours[name].shape) for name in group.ours])

    def maker(index: int) -> Callable[[], Iterator[NDArray[Any]]]:
        def make() -> Iterator[NDArray[Any]]:
            made = [one.parts() for one in coded]
            rows = {key: [one[key] for one in made] for key in made[0]}
            packed = {key: parts if group.moves_columns else group.pack(parts) for key, parts in rows.items()}
            yield coded[0].encode({key: parts[index] for key, parts in packed.items()})

        return make

    for index, (name, shape) in enumerate(zip(group.theirs, shapes, strict=True)):
        yield GgufTensor(name, shape, coded[0].type, maker(index))


def _maker(
    group: GgufGroup, ours: list[Tensor], index: int, kind: str
) -> Callable[[], Iterator[NDArray[Any]]]:
    """Makes a tensor when its turn comes: no other is in memory then."""

    def make() -> Iterator[NDArray[Any]]:
        exact = [one.float() for one in ours] if group.is_computed else ours
        values = group.pack(exact)[index]
        check_finite(group.theirs[index], values, PLAIN_DTYPES.get(kind))
        return pieces(values, kind)

    return make


def _type_of(name: str, shape: tuple[int, ...], wanted: str) -> str:
    *_, module, kind = ("", *name.split("."))
    if kind not in ("weight", "bias"):
        module = kind
    if len(shape) < 2 or kind == "bias" or module in _EXACT or module.endswith("_norm"):
        return "F32"
    return matrix_type(shape, wanted)


def matrix_type(shape: tuple[int, ...], wanted: str) -> str:
    """The type that a matrix is stored as: F16 where its rows do not fill blocks of the wanted one."""
    return wanted if GGML_TYPES[wanted].row_nbytes(shape[-1]) is not None else "F16"


def _plain(name: str, values: Tensor) -> GgufTensor:
    return GgufTensor(name, tuple(values.shape), "F32", lambda: pieces(values, "F32"))


def pieces(tensor: Tensor, type_name: str) -> Iterator[NDArray[Any]]:
    """The bytes of a tensor as a ggml type, some rows at a time."""
    rows = tensor.reshape(1, -1) if tensor.dim() < 2 else tensor.flatten(0, -2)
    step = max(1, _PIECE_VALUES // max(1, rows.shape[1]))
    for part in rows.split(step):
        if part.dtype == torch.bfloat16 and type_name == "BF16":
            yield np.asarray(part.contiguous().view(torch.uint16))
        elif part.dtype == torch.float16 and type_name == "F16":
            yield np.asarray(part.contiguous())
        else:
            yield quantise(np.asarray(part.float().contiguous()), type_name)


def _info(tensor: GgufTensor) -> GgufTensorInfo:
    return GgufTensorInfo(tensor.name, tensor.shape[::-1], tensor.type, tensor.nbytes, 0)
