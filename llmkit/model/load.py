"""A model from its folder, config.json and model.safetensors or its shards, or from one GGUF file.

Weights are mapped from the file, not read: tensors that need no change of dtype or layout are the file's own
pages, copied only where they are written to. The others are read and rearranged group by group, so that
what a file has and what the model has are in memory together for one group at a time.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from llmkit.errors import DataError, some_of
from llmkit.formats.gguf_magic import is_gguf
from llmkit.formats.model_folder import CONFIG, CONFIG_DTYPES, TensorInfo, read_config, read_tensors
from llmkit.model.coded_weights import CodedWeights
from llmkit.model.config import ModelConfig
from llmkit.model.dtypes import DTYPES, dtype_of, kept_dtype
from llmkit.model.extend_context import extend_context
from llmkit.model.file_names import stored_weights
from llmkit.model.gguf_load import load_gguf
from llmkit.model.names import Group, groups
from llmkit.model.part import Part, part_config
from llmkit.model.positions import sinusoid_table
from llmkit.model.quantisation import quantisation
from llmkit.model.save import SINUSOIDS
from llmkit.model.stored_quantised import QuantisedInfo, plain_tensors
from llmkit.model.transformer import Transformer

_EMBEDDING = "model.embed_tokens.weight"
_HEADS = ("lm_head.weight", "embed_out.weight")
_TOGETHER = "the config.json and the safetensors of one model belong together"


def load_model(
    folder: Path,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    rope_scaling: Mapping[str, Any] | None = None,
    coded: CodedWeights | None = None,
    part: Part | None = None,
) -> Transformer:
    """The model of a folder or a GGUF file, ready to use, in evaluation mode.

    Args:
        folder: holds config.json and safetensors weights; or a GGUF file (gguf_load.py). Quantised weights
            become plain numbers.
        dtype: of every weight; None keeps what config.json says.
        device: where to put it.
        rope_scaling: in place of what config.json says, for longer texts.
        coded: takes the quantised matrices that the kernels read as they are stored; the model has tensors
            without memory, on the device meta, in their place.
        part: of the model, which is all that is kept, tensor by tensor; its branches are to be summed, and
            its head is whole.

    Raises:
        MissingError: a file is not there.
        ConfigError: config.json asks for something that is not supported, or there are no such parts.
        DataError: the weights are damaged or are not this config's.
    """
    if is_gguf(folder):
        return load_gguf(
            folder, dtype=dtype, device=device, rope_scaling=rope_scaling, coded=coded, part=part
        )
    content = read_config(folder)
    if rope_scaling is not None:
        content = extend_context(content, rope_scaling, str(folder / CONFIG))
    config = ModelConfig.from_hf(content, source=str(folder / CONFIG))
    dtype = dtype or dtype_of(config)
    with torch.device("meta"):
        model = Transformer(config)
    empty = model.state_dict()
    kept = groups(config, empty)
    told = quantisation(content, str(folder / CONFIG))
    turned = {name for group in kept if group.how in ("turned", "joined_turned") for name in group.theirs}
    stored = plain_tensors(stored_weights(read_tensors(folder), config), told, turned)
    _check_names(folder, stored, _expected(kept, empty, config))
    tensors = {
        name: tensor.to(dtype=kept_dtype(name, dtype), device="meta" if tensor.is_meta else device)
        for name, whole in _read_groups(kept, empty, stored, coded)
        for tensor in [whole if part is None else part.cut(name, whole, config)]
    }
    _check_shared(folder, stored, tensors, config)
    if part is not None:
        with torch.device("meta"):
            model = Transformer(part_config(config, part.count))
    model.load_state_dict(tensors, assign=True)
    return model.eval()


def _read_groups(
    kept: Iterable[Group],
    empty: Mapping[str, Tensor],
    stored: Mapping[str, TensorInfo],
    coded: CodedWeights | None,
) -> Iterator[tuple[str, Tensor]]:
    """The model's tensors: mapped where a file has them as they are, else read and rearranged."""
    opened: dict[Path, Any] = {}
    for group in kept:
        found = [stored[name] for name in group.theirs]
        rows = [len(empty[name]) for name in group.ours]
        if coded is not None and coded.take_stored(group, found, rows):
            yield from ((name, empty[name]) for name in group.ours)
        elif group.how == "same" and not isinstance(found[0], QuantisedInfo):
            file = found[0].file
            if file not in opened:
                opened[file] = safe_open(file, framework="pt")
            yield group.ours[0], opened[file].get_tensor(found[0].name)
        else:
            yield from zip(group.ours, group.unpack([read_tensor(one) for one in found], rows), strict=True)


def read_tensor(info: TensorInfo) -> Tensor:
    """One stored tensor in memory of its own, past the pages that others may have mapped.

    A quantised matrix becomes numbers.

    Raises:
        DataError: its tensors are damaged.
    """
    if isinstance(info, QuantisedInfo):
        return torch.from_numpy(info.read())
    dtype = DTYPES[CONFIG_DTYPES[info.dtype]]
    if not info.numel:
        return torch.empty(info.shape, dtype=dtype)
    content = bytearray(info.nbytes)
    with info.file.open("rb") as stream:
        stream.seek(info.offset)
        stream.readinto(content)
    return torch.frombuffer(content, dtype=dtype).view(info.shape)


def _expected(
    kept: Iterable[Group], empty: Mapping[str, Tensor], config: ModelConfig
) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors that the files of this model hold."""
    shapes: dict[str, tuple[int, ...]] = {}
    for group in kept:
        packed = group.shapes([tuple(empty[name].shape) for name in group.ours])
        shapes |= dict(zip(group.theirs, packed, strict=True))
    if config.position == "sinusoidal":
        shapes[SINUSOIDS] = (config.max_position_embeddings, config.hidden_size)
    return shapes


def _check_names(
    folder: Path, stored: Mapping[str, TensorInfo], expected: Mapping[str, tuple[int, ...]]
) -> None:
    missing = sorted(expected.keys() - stored.keys())
    surplus = sorted(stored.keys() - expected.keys() - set(_HEADS))  # a tied head may be stored all the same
    if missing or surplus:
        what = f"lack {some_of(missing)}" if missing else f"have {some_of(surplus)}"
        raise DataError(f"{folder}: the weights {what}, which config.json tells otherwise", hint=_TOGETHER)
    for name, shape in expected.items():
        if stored[name].shape != shape:
            raise DataError(
                f"{folder}: {name} is {list(stored[name].shape)}, config.json asks for {list(shape)}",
                hint=_TOGETHER,
            )
        if stored[name].dtype not in CONFIG_DTYPES:
            raise DataError(
                f"{folder}: {name} is stored as {stored[name].dtype}, which is not supported yet",
                hint=f"ask for the model's {', '.join(DTYPES)} weights",
            )


def _check_shared(
    folder: Path, stored: Mapping[str, TensorInfo], tensors: Mapping[str, Tensor], config: ModelConfig
) -> None:
    """What is stored twice or could be computed must agree with what the config says it is."""
    head = next((name for name in _HEADS if name in stored), None)
    if config.tie_word_embeddings and head is not None:
        embedding = tensors[_EMBEDDING]
        embedding = read_tensor(stored[_EMBEDDING]) if embedding.is_meta else embedding
        if not torch.equal(read_tensor(stored[head]).to(embedding), embedding):
            raise DataError(
                f"{folder}: {head} differs from the embedding that tie_word_embeddings says it is",
                hint='set "tie_word_embeddings": false in config.json',
            )
    if config.position == "sinusoidal":
        table = read_tensor(stored[SINUSOIDS])
        if not torch.allclose(table.float(), sinusoid_table(*table.shape), atol=1e-2):
            raise DataError(
                f"{folder}: {SINUSOIDS} is not the sinusoids that position_embedding_type names",
                hint="remove position_embedding_type from config.json to load it as learned positions",
            )
