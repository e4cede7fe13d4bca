"""A snapshot in memory of its own, so that training goes on while it is written."""

import copy
from dataclasses import replace

from torch import Tensor, nn

from llmkit.train.state import Snapshot


def copy_snapshot(snapshot: Snapshot) -> Snapshot:
    """A copy in the memory of the CPU, wherever the model is; nothing that training changes is shared."""
    copies: dict[int, object] = {}  # what deepcopy takes for copied already: the tensors need no second one
    for parameter in snapshot.model.parameters():
        copies[id(parameter)] = nn.Parameter(_apart(parameter), requires_grad=False)
    for buffer in snapshot.model.buffers():
        copies[id(buffer)] = _apart(buffer)
    return replace(
        snapshot,
        model=copy.deepcopy(snapshot.model, copies),
        tensors={name: _apart(tensor) for name, tensor in snapshot.tensors.items()},
    )


def _apart(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True)
