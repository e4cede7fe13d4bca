"""Only the last layers learn."""

from collections.abc import Callable

import pytest
import torch

from llmkit.errors import ConfigError
from llmkit.model.config import ModelConfig
from llmkit.model.trainable import trainable_layers
from llmkit.model.transformer import Transformer


def test_the_last_layer_and_the_last_norm_alone_get_gradients(
    make_config: Callable[..., ModelConfig], make_model: Callable[..., Transformer]
) -> None:
    model = make_model(make_config(num_hidden_layers=3))
    trainable_layers(model, 1)
    model(torch.arange(8).view(1, 8)).sum().backward()
    learnt = {name for name, one in model.named_parameters() if one.grad is not None}
    assert learnt == {
        name for name, _ in model.named_parameters() if name.startswith(("model.layers.2.", "model.norm."))
    }


@pytest.mark.parametrize("last", [0, 3])
def test_more_layers_than_there_are_is_refused(
    last: int, make_config: Callable[..., ModelConfig], make_model: Callable[..., Transformer]
) -> None:
    with pytest.raises(ConfigError, match="the model has 2"):
        trainable_layers(make_model(make_config()), last)
