"""A model's passes go where its device says."""

from collections.abc import Callable
from typing import Any

from llmkit.engine.cuda.plan import PagePlan
from llmkit.engine.cuda.runner import CudaRunner
from llmkit.engine.runner import Runner
from llmkit.engine.store import KVStore
from llmkit.engine.torch_machinery import torch_machinery, torch_runner

Make = Callable[..., Any]


def test_pages_go_to_the_gpu_s_runner_and_all_others_text_by_text(make_model: Make) -> None:
    model = make_model()
    store = KVStore(model.config, 4, 4)
    assert type(torch_runner(model, store, PagePlan(None), 2)) is Runner
    assert type(torch_runner(model, store, PagePlan("gathered"), 2)) is CudaRunner


def test_on_a_cpu_the_cache_is_as_large_as_asked_for_and_of_the_dtype_asked_for(make_model: Make) -> None:
    model = make_model()
    made = torch_machinery(model, 3, 4, kv_dtype="int8", max_texts=2, in_parts=False)
    assert isinstance(made.store, KVStore) and type(made.runner) is Runner
    assert (len(made.store.by_block[0]), made.store.by_block[0].dtype.itemsize) == (3, 1)
    assert made.plan == PagePlan(None)
