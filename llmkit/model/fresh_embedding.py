"""A table of rows that are looked up."""

import torch
from torch import nn


def fresh_embedding(rows: int, width: int) -> nn.Embedding:
    """nn.Embedding that draws nothing on the meta device: `normal_` there imports torch._dynamo (1 s)."""
    weight = torch.empty(rows, width)
    if not weight.is_meta:
        nn.init.normal_(weight)
    return nn.Embedding(rows, width, _weight=weight)
