"""Plans of GGUF files: the mixtures of llama-quantize, tensor by tensor, with its fallbacks and its sizes."""

import math
from collections.abc import Mapping

import numpy as np

from llmkit.errors import ConfigError, UsageError, nearest
from llmkit.estimate.architecture_of import architecture_of
from llmkit.estimate.gguf_mix import BASE_TYPES, gguf_types
from llmkit.formats.gguf.blocks import stored_nbytes
from llmkit.formats.gguf.types import GGML_TYPES
from llmkit.formats.gguf.values import MetadataValue, Typed
from llmkit.formats.gguf.write import GgufTensor, gguf_nbytes
from llmkit.model.config import ModelConfig
from llmkit.model.gguf.names import GgufGroup, gguf_groups
from llmkit.model.gguf.save import GgufModel, gguf_model
from llmkit.model.transformer import Transformer
from llmkit.quant.ggml_grids import GGML_GRIDS
from llmkit.quant.grid import Grid
from llmkit.quant.plan import FALLBACK, PlanUnit, QuantPlan, Shape, kind_of, layer_of

ALIASES = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}
"""llama-quantize's own short names."""
FILE_TYPES = {
    **{"Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "Q2_K": 10, "Q3_K_S": 11, "Q3_K_M": 12},
    **{"Q3_K_L": 13, "Q4_K_S": 14, "Q4_K_M": 15, "Q5_K_S": 16, "Q5_K_M": 17, "Q6_K": 18, "Q2_K_S": 21},
    **{"IQ4_NL": 25, "IQ4_XS": 30, "F32": 0, "F16": 1, "BF16": 32},
    **{"IQ2_XXS": 19, "IQ2_XS": 20, "IQ3_XS": 22, "IQ3_XXS": 23, "IQ1_S": 24, "IQ3_S": 26, "IQ3_M": 27},
    **{"IQ2_S": 28, "IQ2_M": 29, "IQ1_M": 31, "TQ1_0": 36, "TQ2_0": 37, "MXFP4_MOE": 38},
}
"""general.file_type, llama.cpp's LLAMA_FTYPE: of narrow models those too whose own blocks are not written."""
VERSION = {"general.quantization_version": Typed("u32", 2)}
"""What a file with grids says beside; counted in the size of a plan."""
_ALIGNMENT = 32
PLAIN_TYPES = ("F16", "BF16", "F32")
"""Types without a grid, file types too."""
_UNROUNDED = "F16"
"""What matrices are stored as that no grid can be laid over, where grids are asked for."""


def file_type_number(file_type: str) -> int:
    """general.file_type of a name that `gguf_plan` knows."""
    name = file_type.upper()
    return FILE_TYPES[ALIASES.get(name, name)]


def gguf_plan(
    model: Transformer,
    file_type: str,
    *,
    imatrix: bool = False,
    metadata: Mapping[str, MetadataValue] | None = None,
) -> QuantPlan:
    """The plan of a file type of llama-quantize.

    Args:
        model: whose; on the "meta" device to plan only.
        file_type: Q4_K_M, Q6_K, …
        imatrix: whether errors are weighed by what a text puts in: llama.cpp chooses other types then.
        metadata: what the file says beside the model's shape, above all its tokenizer; for the exact size.

    Raises:
        UsageError: no such file type, or one with types that cannot be written here.
        ConfigError: llama.cpp has no such family.
    """
    known = {**{name: name for name in BASE_TYPES}, **ALIASES}
    wanted = known.get(file_type.upper())
    if wanted is None:
        writable = [name for name, of in known.items() if BASE_TYPES[of] in (*GGML_GRIDS, *PLAIN_TYPES)]
        close = nearest(file_type.upper(), writable)
        raise UsageError(
            f"no GGUF file type {file_type!r}",
            hint=f"did you mean {close}?" if close else f"one of {', '.join(writable)}",
        )
    whole = gguf_model(model, "float16")
    types = _types(model.config, wanted, imatrix)
    tensors = {tensor.name: tensor for tensor in whole.tensors}
    ours = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    units = []
    for group in gguf_groups(model.config, ours):
        units.append(_unit(group, ours, tensors, types, file_type.upper(), model.config))
    planned = {name for unit in units for name in unit.files}
    kept = [tensor for tensor in whole.tensors if tensor.name not in planned]
    rest = _header_nbytes(whole, metadata) + sum(_nbytes(tensor.shape, tensor.type) for tensor in kept)
    return QuantPlan(tuple(units), _nbytes, rest)


def _unit(
    group: GgufGroup,
    ours: Mapping[str, Shape],
    tensors: Mapping[str, GgufTensor],
    types: Mapping[str, str],
    file_type: str,
    config: ModelConfig,
) -> PlanUnit:
    files = {name: tensors[name].shape for name in group.theirs}
    if group.ours[0] == "model.embed_tokens.weight" and config.tie_word_embeddings:
        files |= {name: tensors[name].shape for name in ("output.weight",) if name in tensors}
    parameters = sum(math.prod(ours[name]) for name in group.ours)
    first = next(iter(files))
    stored, reason, can_round = tensors[first].type, "", False
    if stored != "F32":
        can_round = group.how != "latent"
        stored, reason = _UNROUNDED, FALLBACK + "a file keeps its two halves by columns and by rows"
        if file_type in PLAIN_TYPES:
            stored, reason = file_type, ""
        elif can_round:
            head = "token_embd.weight" if config.tie_word_embeddings else "output.weight"
            stored, reason = _chosen(files, types, file_type, head)
    grid = GGML_GRIDS.get(stored)
    return PlanUnit(
        names=group.ours,
        files=files,
        layer=layer_of(group.ours[0]),
        kind=kind_of(group.ours[0]),
        parameters=parameters,
        grid=grid,
        stored_as=stored,
        nbytes=sum(_nbytes(shape, stored) for shape in files.values()),
        reason=reason,
        can_round=can_round,
        order=_order(ours[group.ours[0]][-1], group) if group.moves_columns else None,
    )


def _order(columns: int, group: GgufGroup) -> tuple[int, ...]:
    """Of each column of a file's matrix the one of the model's."""
    return tuple(group.pack([np.arange(columns)[None]])[0][0].tolist())


def _chosen(
    files: Mapping[str, Shape], types: Mapping[str, str], file_type: str, head: str
) -> tuple[str, str]:
    """The type of a unit of matrices, and why."""
    found = {types[_role(name, types)] for name in files}
    stored = max(found, key=lambda name: GGML_TYPES[name].nbytes / GGML_TYPES[name].values)
    columns, first = max(shape[-1] for shape in files.values()), next(iter(files))
    reason = ""
    block = GGML_TYPES[BASE_TYPES[ALIASES.get(file_type, file_type)]].values
    if first == head and stored == "Q8_0" != file_type:  # which would be Q6_K
        block = GGML_TYPES["Q6_K"].values
    if columns % block:
        reason = f"{FALLBACK}a row of {columns} is no whole number of blocks of {block}"
    return _writable(stored, first, file_type), reason


def _role(name: str, types: Mapping[str, str]) -> str:
    """The name that `types` has a tensor of a file under: fused gates and ups are ups there."""
    if name in types:
        return name
    other = name.replace("ffn_gate_up", "ffn_up").replace("ffn_gate", "ffn_up")
    if other not in types:
        raise ConfigError(f"no type is known for {name}", hint="ask for a plain one: --tensor")
    return other


def _writable(type_name: str, name: str, file_type: str) -> str:
    if type_name not in GGML_GRIDS and type_name not in PLAIN_TYPES:
        raise UsageError(
            f"{file_type} stores {name} as {type_name}, which is not written here",
            hint=f"choose a file type made of {', '.join(GGML_GRIDS)}",
        )
    return type_name


def _types(config: ModelConfig, file_type: str, imatrix: bool) -> dict[str, str]:
    """What llama-quantize chooses, by the names of a file's matrices."""
    found = {}
    for tensor, kind in gguf_types(architecture_of(config), file_type, imatrix=imatrix):
        if tensor.quantised:
            place = "" if tensor.layer is None else f"blk.{tensor.layer}."
            found[f"{place}{tensor.name}.weight"] = kind.name
    if "output.weight" not in found and "token_embd.weight" in found:
        found["output.weight"] = found["token_embd.weight"]
    return found


def _header_nbytes(whole: GgufModel, metadata: Mapping[str, MetadataValue] | None) -> int:
    """Of a file before its tensors: types are numbers there, so that all plans have one header."""
    data = sum(_nbytes(tensor.shape, tensor.type) for tensor in whole.tensors)
    return gguf_nbytes({**whole.metadata, **VERSION, **(metadata or {})}, whole.tensors) - data


def _nbytes(shape: Shape, stored: Grid | str) -> int:
    """Of a tensor in a file, padded."""
    nbytes = stored_nbytes(stored if isinstance(stored, str) else stored.name, shape)
    return -(-nbytes // _ALIGNMENT) * _ALIGNMENT
