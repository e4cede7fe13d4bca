from collections.abc import Callable
from pathlib import Path

import numpy as np

from llmkit.model.load import load_model
from llmkit.workflows.diff.numbers import MADE, model_tensors


def test_each_tensor_is_read_as_the_loaded_model_has_it(tiny_model: Callable[..., Path]) -> None:
    for tied in (True, False):
        folder = tiny_model(f"tied-{tied}", tie_word_embeddings=tied)
        tensors, is_tied = model_tensors(folder)
        state = load_model(folder).float().state_dict()
        assert is_tied == tied and list(tensors) == list(state)
        for name, tensor in tensors.items():
            assert isinstance(tensor, MADE) and tensor.nbytes == 4 * tensor.numel
            assert np.array_equal(tensor.read(), state[name].numpy())
