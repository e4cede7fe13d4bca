"""A trainer put back to an earlier step, as a resume would, in the memory that it has."""

import torch

from llmkit.model.transformer import Transformer
from llmkit.train.guard import Guard
from llmkit.train.parallel.tensors import local, part_of
from llmkit.train.trainer import Trainer


def let_go(trainer: Trainer) -> None:
    """Let go of moments and gradients."""
    trainer.optimizer.zero_grad()
    trainer.optimizer.state.clear()


def put_weights(trainer: Trainer, model: Transformer) -> None:
    """Give a trainer the weights of a whole model, and let go of moments and gradients.

    Moments come with `Trainer.restore`; here they make room for what that reads.
    """
    let_go(trainer)
    weights = model.state_dict()
    with torch.no_grad():
        for name, tensor in trainer.model.state_dict().items():
            local(tensor).copy_(part_of(weights[name].to(tensor.device), tensor))


def put_at_start(trainer: Trainer, model: Transformer) -> None:
    """Put a trainer where it was before its first update.

    Args:
        trainer: at any step.
        model: with the weights of the beginning.
    """
    put_weights(trainer, model)
    trainer.restore({"step": 0, "tokens": 0, "skipped": 0, "guard": Guard().state()}, {})
