"""Experts of a layer in one tensor, as transformers 5 has them in memory, seen as a matrix each. No torch.

`save_pretrained(save_original_format=False)` writes them so, and whoever saves a state_dict; published files
have a matrix for each expert.
"""

from collections.abc import Mapping

from llmkit.formats.model_folder import TensorInfo
from llmkit.model.config import ModelConfig
from llmkit.model.names import groups
from llmkit.model.shapes import tensor_shapes


def each_expert(stored: Mapping[str, TensorInfo], config: ModelConfig) -> dict[str, TensorInfo]:
    """What a model's files hold, stacks of experts cut into the tensors that its family's files have.

    Args:
        stored: by name; a stack has the name that the model gives it.
        config: of the model.
    """
    found = dict(stored)
    if config.experts is None:
        return found
    shapes = tensor_shapes(config)
    for group in groups(config, [name for name in shapes if ".mlp." in name]):
        first = group.ours[0]
        if first in group.theirs or stored.get(first) is None or stored[first].shape != shapes[first]:
            continue
        info = found.pop(first)
        nbytes = info.nbytes // len(group.theirs)
        pieces = zip(group.theirs, group.shapes([info.shape]), strict=True)
        for number, (name, shape) in enumerate(pieces):
            offset = info.offset + number * nbytes
            found[name] = TensorInfo(name, info.dtype, shape, nbytes, info.file, offset)
    return found
