"""Importance matrices, whose names are those of GGUF files, as moments of a model's matrices, and back.

Shapes: N experts, R rows, C columns.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from llmkit.errors import DataError, some_of
from llmkit.formats.gguf.imatrix import Importance
from llmkit.model.gguf.names import GgufGroup, gguf_groups
from llmkit.model.transformer import Transformer
from llmkit.progress import SILENT, Progress
from llmkit.quant.model import EMBEDDING
from llmkit.quant.moments import Moments
from llmkit.quant.stream import Stream, in_float32, with_float32_ends
from llmkit.quant.workers import ALONE, Workers

_HEAD = "output.weight"


def moments_of(
    model: Transformer, entries: Mapping[str, Importance], wanted: Iterable[str]
) -> dict[str, Moments]:
    """Moments, of which the squares alone are known, by name in `state_dict()`; of stacks by `name[e]`.

    Matrices of which the file says nothing have none: llama.cpp's say nothing of embeddings, nor of heads
    unless asked.

    Args:
        model: whose; on the "meta" device to name only.
        entries: by names of GGUF files.
        wanted: matrices that are to be weighed.

    Raises:
        ConfigError: llama.cpp has no such family.
        DataError: a matrix of a layer is missing, or has other columns: the file is another model's.
    """
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    theirs, groups = dict(_names(model)), _moved(model)
    found: dict[str, Moments] = {}
    missing: list[str] = []
    for name in wanted:
        one = next((entries[their] for their in theirs[name] if their in entries), None)
        if one is None:
            missing += [theirs[name][0]] if name.startswith("model.layers.") else []
            continue
        stack = shapes[name][0] if len(shapes[name]) == 3 else 0
        columns = one.squares.size // max(1, stack)
        if columns != shapes[name][-1] or one.squares.size % max(1, stack):
            raise DataError(
                f"{theirs[name][0]} has {shapes[name][-1]} columns, in the importance matrix {columns}",
                hint="it is of another model; make one of this: --save-imatrix",
            )
        squares = torch.from_numpy(one.squares.reshape(-1, columns).copy())
        if name in groups:
            squares = groups[name].unpack([squares], [1])[0]
        counts = [max(1, int(count)) for count in one.counts] * (max(1, stack) // len(one.counts) or 1)
        for index, row in enumerate(squares):
            key = f"{name}[{index}]" if stack else name
            found[key] = Moments.of_squares(row * counts[index], counts[index])
    if missing:
        raise DataError(
            f"the importance matrix says nothing of {some_of(missing)}",
            hint="it is of another model, or of too little text for all experts; make one: --save-imatrix",
        )
    return found


def importance_of(
    model: Transformer, ids: Tensor, *, workers: Workers = ALONE, progress: Progress = SILENT
) -> dict[str, Importance]:
    """What a text puts into every matrix of the original model, by names of GGUF files.

    Args:
        model: in evaluation mode; its embedding and last norm become float32.
        ids: (N, T) of the text.
        workers: share out passes.
        progress: hears of layers.

    Raises:
        ConfigError: llama.cpp has no such family.
    """
    names, groups = dict(_names(model)), _moved(model)
    found: dict[str, Importance] = {}
    with_float32_ends(model)
    stream = Stream(model, ids, workers)
    layers = model.model.layers
    for layer in range(len(layers)):
        with in_float32(model, layer) as block:
            weights = {
                f"model.layers.{layer}.{name}": value.detach()
                for name, value in block.named_parameters()
                if value.dim() > 1 and not name.endswith("_bias")
            }
            seen = stream.moments(layer, weights, squares_only=True)
            stream.advance(layer)
        for name, weight in weights.items():
            stack = range(len(weight)) if weight.dim() == 3 else None
            parts = [seen.get(name if stack is None else f"{name}[{index}]") for index in stack or (0,)]
            if any(part is not None for part in parts):
                told = _told(parts, weight.shape[-1])
                if name in groups:
                    told = replace(told, squares=groups[name].pack([told.squares])[0])
                found |= dict.fromkeys(names[name], told)
        progress.update(layer + 1, len(layers))
    found[_HEAD] = _told([stream.head_moments(squares_only=True)], model.config.hidden_size)
    return found


def _told(parts: Sequence[Moments | None], columns: int) -> Importance:
    """Of a matrix, or of those of a stack; None: no input came there."""
    squares = [torch.ones(columns) if one is None else one.squares / one.count for one in parts]
    counts = np.array([0 if one is None else one.count for one in parts], np.float32)
    return Importance(torch.stack(squares).numpy(), counts)


def _moved(model: Transformer) -> dict[str, GgufGroup]:
    """The groups of matrices whose columns stand elsewhere in a file, by our names."""
    groups = gguf_groups(model.config, model.state_dict())
    return {group.ours[0]: group for group in groups if group.moves_columns}


def _names(model: Transformer) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Ours, each with those of a file that hold it."""
    for group in gguf_groups(model.config, model.state_dict()):
        for name in group.ours:
            tied = name == EMBEDDING and model.config.tie_word_embeddings
            yield name, (*group.theirs, _HEAD) if tied else group.theirs
