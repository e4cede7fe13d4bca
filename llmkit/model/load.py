"""A model from its folder, config.json and model.safetensors or its shards, or from one GGUF file.

Its tensors are those of `StoredWeights`, in the same memory: what is mapped from the file stays mapped.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from llmkit.model.dtypes import dtype_name, tensor_of
from llmkit.model.part import Part, part_config
from llmkit.model.stored_weights import StoredWeights
from llmkit.model.transformer import Transformer


def load_model(
    folder: Path,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    rope_scaling: Mapping[str, Any] | None = None,
    part: Part | None = None,
) -> Transformer:
    """The model of a folder or a GGUF file, ready to use, in evaluation mode.

    Args:
        folder: holds config.json and safetensors weights; or a GGUF file. Quantised weights become plain
            numbers.
        dtype: of every weight; None keeps what config.json says. Of a GGUF file: as most are stored, and
            float32 where they are quantised.
        device: where to put it.
        rope_scaling: in place of what config.json says, for longer texts.
        part: of the model, which is all that is kept, tensor by tensor; its branches are to be summed, and
            its head is whole.

    Raises:
        MissingError: a file is not there.
        ConfigError: config.json asks for something that is not supported, or there are no such parts.
        DataError: the weights are damaged or are not this config's.
    """
    named = None if dtype is None else dtype_name(dtype)
    weights = StoredWeights(folder, dtype=named, rope_scaling=rope_scaling)
    config = weights.config
    with torch.device("meta"):
        model = Transformer(config if part is None else part_config(config, part.count))
    tensors = {}
    for name in weights.shapes:
        tensor = tensor_of(weights.take(name))
        tensors[name] = (tensor if part is None else part.cut(name, tensor, config)).to(device)
    model.load_state_dict(tensors, assign=True)
    return model.eval()
