"""Functions that run on several processes at once, connected by gloo."""

import multiprocessing
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

_PRELOADED = [
    *("torch.distributed.fsdp", "torch.distributed.tensor", "torch._dynamo", "numpy.random"),
    *("llmkit.train.state", "llmkit.train.parallel.fully_sharded", "llmkit.train.parallel.pipeline"),
    *("llmkit.train.parallel.tensor_parallel", "torch._inductor.compile_fx", "pytest"),
]
"""What each process would import: torch's compiler, whose rest a first compiled layer asks for in 2 seconds,
and what the tests' own main module is."""
SECONDS = 300


def _one(
    function: Callable[..., Any], arguments: Any, store: str, rank: int, world: int, results: Any
) -> None:
    import torch
    import torch.distributed as dist

    from llmkit.kernels.library import available, set_threads

    torch.set_num_threads(1)
    if available():
        set_threads(1)
    try:
        dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
        results.put((rank, None, function(*arguments)))
        dist.barrier()
    except BaseException:
        results.put((rank, traceback.format_exc(), None))


@pytest.fixture(scope="session")
def on_ranks() -> Callable[..., list[Any]]:
    """Call a function of a test module in `world` connected processes; what each returned, by rank.

    The processes are forks of one that has imported PyTorch, which takes seconds.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)

    def call(world: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        results = context.SimpleQueue()
        with tempfile.TemporaryDirectory() as folder:
            shared = (function, arguments, str(Path(folder) / "store"))
            processes = [
                context.Process(target=_one, args=(*shared, rank, world, results)) for rank in range(world)
            ]
            for process in processes:
                process.start()
            told: dict[int, Any] = {}
            try:
                while len(told) < world:
                    rank, fault, result = results.get()
                    assert fault is None, f"rank {rank}: {fault}"
                    told[rank] = result
            finally:
                for process in processes:
                    process.join(SECONDS if len(told) == world else 0.1)
                    process.kill()
        return [told[rank] for rank in range(world)]

    return call
