"""A model's passes go where its weights and its device say."""

from collections.abc import Callable
from typing import Any

import pytest

from llmkit.engine.choose_runner import choose_runner
from llmkit.engine.cuda.plan import PagePlan
from llmkit.engine.cuda.runner import CudaRunner
from llmkit.engine.native import NativeRunner
from llmkit.engine.native_weights import pack_model
from llmkit.engine.runner import Runner
from llmkit.engine.store import KVStore
from llmkit.kernels.library import available

Make = Callable[..., Any]


def test_packed_weights_go_to_the_kernels_pages_to_the_gpu_s_and_all_others_through_the_modules(
    make_model: Make,
) -> None:
    model = make_model()
    store = KVStore(model.config, 4, 4)
    assert type(choose_runner(model, store, PagePlan(None), max_texts=2)) is Runner
    assert type(choose_runner(model, store, PagePlan("gathered"), max_texts=2)) is CudaRunner
    if not available():
        pytest.skip("no native library")
    native = pack_model(model)
    assert type(choose_runner(model, store, PagePlan(None), max_texts=2, native=native)) is NativeRunner
