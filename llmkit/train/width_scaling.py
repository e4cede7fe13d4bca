"""Maximal update parametrisation: what is tuned on a narrow model holds for a wide one (2203.03466, table 3).

With m = hidden_size / base width: matrices whose fan-in grows with the width learn at 1 / m of the rate, and
fresh ones have a variance of 1 / fan-in; embeddings learn at the full rate and begin as they do at the base
width; the head begins with a variance of 1 / fan-in^2. It is the form of the table without factors in the
forward pass, so that the model is like any other. Attention heads are to keep their size: a wider model has
more of them.
"""

import torch
from torch import nn

from llmkit.errors import ConfigError
from llmkit.model.config import ModelConfig
from llmkit.model.transformer import Transformer
from llmkit.train.config import OptimizerName


def check_width_scaling(base_width: int, model: ModelConfig, optimizer: OptimizerName) -> None:
    """Refuse what the table has no row for.

    Raises:
        ConfigError: the head is the embedding matrix, or Muon updates the matrices.
    """
    flag = f"--mup-base-width {base_width}"
    if model.tie_word_embeddings:
        raise ConfigError(
            f"{flag}: the head and the embeddings are scaled apart, and are one matrix here",
            hint="add --no-tie-word-embeddings",
        )
    if optimizer != "adamw":
        raise ConfigError(
            f"{flag} scales the rates of AdamW",
            hint="leave it out: Muon's updates have one size at every width",
        )


def rate_share(base_width: int | None, model: nn.Module) -> float:
    """What of the learning rate is for matrices whose fan-in grows with the width; 1 without a base width."""
    if base_width is None:
        return 1.0
    assert isinstance(model, Transformer)
    return base_width / model.config.hidden_size


def range_at_width(base_range: float, base_width: int, hidden_size: int) -> float:
    """The deviation of fresh matrices at a width, of one that was found at the base width."""
    return base_range * (base_width / hidden_size) ** 0.5


@torch.no_grad()
def scale_fresh(model: Transformer, base_width: int) -> None:
    """Give fresh embeddings and a fresh head their spread; all other matrices have it, as 1 / sqrt(width)."""
    root = (model.config.hidden_size / base_width) ** 0.5
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            module.weight.mul_(root)
    model.lm_head.weight.div_(root)
