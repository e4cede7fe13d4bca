"""A model's passes go where its weights are."""

from collections.abc import Callable
from typing import Any

import pytest

from llmkit.engine.machinery import make_machinery
from llmkit.engine.module_weights import pack_model
from llmkit.engine.native.native import NativeRunner
from llmkit.engine.native.store import NativeStore
from llmkit.engine.runner import Runner
from llmkit.kernels.library import available

Make = Callable[..., Any]


@pytest.mark.skipif(not available(), reason="no native library")
def test_packed_weights_go_to_the_kernels_and_modules_to_torch(make_model: Make) -> None:
    model = make_model()
    packed = make_machinery(pack_model(model), 4, 4, max_texts=2)
    assert isinstance(packed.store, NativeStore) and type(packed.runner) is NativeRunner
    assert type(make_machinery(model, 4, 4, max_texts=2).runner) is Runner
    assert {kind.dtype for kind in packed.store.kinds} == {"float32"}  # the model's
    assert {kind.dtype for kind in make_machinery(pack_model(model), 4, 4, kv_dtype="int8").store.kinds} == {
        "float32",
        "int8",
    }
