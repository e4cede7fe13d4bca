"""Which of a model's own weights learn, where not all of them do."""

from llmkit.errors import ConfigError
from llmkit.formats.amount_text import plural
from llmkit.model.transformer import Transformer


def trainable_layers(model: Transformer, last: int) -> None:
    """Freeze everything but the last layers and the norm after them.

    No gradient is needed below them, so that neither their activations nor optimiser states are kept.

    Args:
        model: changed in place.
        last: how many.

    Raises:
        ConfigError: the model has not so many.
    """
    layers = model.model.layers
    if not 1 <= last <= len(layers):
        raise ConfigError(
            f"the last {plural(last, 'layer')} cannot be trained: the model has {len(layers)}",
            hint=f"give a number from 1 to {len(layers)}",
        )
    model.requires_grad_(False)
    layers[len(layers) - last :].requires_grad_()
    model.model.norm.requires_grad_()
