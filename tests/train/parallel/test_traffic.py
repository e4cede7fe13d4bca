"""What is said to be sent is what the collective operations of an update carry."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from runs import BATCH_ROWS, HEADS, SEQ_LEN, Run, config_of, run_on
from torch import Tensor
from torch.distributed import ProcessGroup
from torch.distributed.distributed_c10d import _resolve_process_group
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from llmkit.train.parallel.degrees import Degrees
from llmkit.train.parallel.traffic import Update, sent_bytes
from llmkit.train.trainer import StepResult, Trainer

SMALL_BYTES = 128
"""Losses of a batch, norms, numbers of rows, and gradients of norms over heads, which are not counted."""
FACTORS: dict[str, Callable[[int], float]] = {
    "send": lambda n: 1.0,
    **dict.fromkeys(("allreduce_", "all_reduce"), lambda n: 2 * (n - 1) / n),
    **dict.fromkeys(("all_gather_into_tensor", "allgather_"), lambda n: n - 1.0),
    **dict.fromkeys(("_allgather_base_", "alltoall_base_"), lambda n: (n - 1) / n),
    "_reduce_scatter_base_": lambda n: 2 * (n - 1) / n,  # gloo's is an all-reduce
}
"""What is sent of the largest tensor of an operation between n processes; of an exchange, on average."""
QUIET = ("recv_", "wait_tensor", "_wrap_tensor_autograd", "barrier")
RUN = Run(steps=2)
EXPERTS = Run(steps=2, name="tiny-moe", micro=2)
TWO = {
    **{str(one): (one, RUN) for one in (Degrees(dp=2), Degrees(fsdp=2), Degrees(tp=2), Degrees(pp=2))},
    "rows in pieces": (Degrees(cp=2), RUN),
    "rows in pieces, recomputed": (Degrees(cp=2), replace(RUN, divided={"recomputing": "full"})),
    "recomputed": (Degrees(tp=2), replace(RUN, divided={"recomputing": "full"})),
    "an untied head": (Degrees(tp=2), replace(RUN, shape={"tie_word_embeddings": False})),
    "experts between cut matrices": (Degrees(tp=2), EXPERTS),
    "experts, recomputed": (Degrees(tp=2), replace(EXPERTS, divided={"recomputing": "full"})),
    "untied": (Degrees(pp=2), replace(RUN, shape={"tie_word_embeddings": False})),
    "one stage of three layers": (Degrees(pp=2), replace(RUN, shape={"num_hidden_layers": 3}, micro=2)),
}
TWO |= {name: (Degrees(tp=2), replace(run, steps=2)) for name, run in HEADS.items()}
TWO |= {
    "recomputed latents": (
        Degrees(tp=2),
        replace(HEADS["latents of queries too"], steps=2, divided={"recomputing": "full"}),
    ),
    "stages with experts": (Degrees(pp=2), EXPERTS),
}
FOUR = {
    **{
        str(one): (one, RUN)
        for one in (Degrees(dp=2, fsdp=2), Degrees(dp=2, tp=2), Degrees(pp=2, fsdp=2), Degrees(fsdp=2, tp=2))
    },
    "stages of cut matrices": (Degrees(pp=2, tp=2), RUN),
    "rows in pieces and replicas": (Degrees(cp=2, tp=2), RUN),
    "rows in pieces, in stages": (Degrees(pp=2, cp=2), RUN),
    "more parts": (Degrees(pp=2, fsdp=2), replace(RUN, recipe={"batch_rows": 8})),
}


class Carried(TorchDispatchMode):
    """Adds up what this process sends."""

    bytes = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        namespace, _, name = func._schema.name.partition("::")
        if namespace in ("c10d", "_c10d_functional") and name not in QUIET:
            given = args[1] if name == "alltoall_base_" else args  # what goes out, not what comes in
            size = max(one.nbytes for one in tree_leaves(given) if isinstance(one, Tensor))
            if size > SMALL_BYTES:
                self.bytes += FACTORS[name](_size_of_group(args)) * size
        return func(*args, **(kwargs or {}))


def _size_of_group(arguments: Any) -> int:
    for one in tree_leaves(arguments):
        if isinstance(one, torch.ScriptObject) and "ProcessGroup" in str(one._type()):
            return ProcessGroup.unbox(one).size()
    names = [one for one in tree_leaves(arguments) if isinstance(one, str) and one not in ("sum", "max")]
    return _resolve_process_group(names[-1]).size()


def carried_by(plans: list[tuple[Degrees, Run]]) -> list[float]:
    """Bytes of the second update of each run."""
    learn, told = Trainer.train_step, []

    def train_step(self: Trainer) -> StepResult:
        with Carried() as carried:
            result = learn(self)
        told.append(carried.bytes)
        return result

    Trainer.train_step = train_step  # type: ignore[method-assign]
    try:
        for degrees, run in plans:
            run_on(degrees, run)
    finally:
        Trainer.train_step = learn  # type: ignore[method-assign]
    return told[1::2]


def said_of(degrees: Degrees, run: Run) -> dict[str, int]:
    update = Update(
        rows=run.recipe.get("batch_rows", BATCH_ROWS) // degrees.shares,
        pass_rows=run.micro,
        seq_len=SEQ_LEN // degrees.cp,
        product_bytes=4,
        stream_bytes=4,
        recomputes="recomputing" in run.divided,
    )
    return sent_bytes(config_of(run), degrees, update)


@pytest.mark.parametrize("plans", [TWO, FOUR], ids=["two", "four"])
def test_collective_operations_carry_what_is_said(
    on_ranks: Callable[..., Any], plans: dict[str, tuple[Degrees, Run]]
) -> None:
    world = next(iter(plans.values()))[0].world
    told = zip(*on_ranks(world, carried_by, list(plans.values())), strict=True)
    most = {name: max(each) for name, each in zip(plans, told, strict=True)}
    said = [sum(said_of(*one).values()) for one in plans.values()]
    assert dict(zip(plans, said, strict=True)) == pytest.approx(most, rel=0.01)


@pytest.mark.parametrize(
    "beside",
    [(Degrees(),), (Degrees(dp=2), Degrees(fsdp=2), Degrees(cp=2), Degrees(tp=2))],
    ids=["two", "four"],
)
def test_experts_carry_what_is_said_where_they_are_chosen_alike_often(
    on_ranks: Callable[..., Any], beside: tuple[Degrees, ...]
) -> None:
    plans = [(replace(degrees, ep=2), EXPERTS) for degrees in beside]
    world = plans[0][0].world
    told = zip(*on_ranks(world, carried_by, plans), strict=True)
    mean = {str(plan[0]): sum(each) / world for plan, each in zip(plans, told, strict=True)}
    assert {str(plan[0]): sum(said_of(*plan).values()) for plan in plans} == pytest.approx(mean, rel=0.01)


def test_what_is_sent_is_named() -> None:
    assert said_of(Degrees(), RUN) == {}
    assert [*said_of(Degrees(dp=2), RUN)] == ["gradients"]
    assert [*said_of(Degrees(fsdp=2), RUN)] == ["gradients", "weights"]
    assert [*said_of(Degrees(tp=2), RUN)] == ["gradients", "activations"]  # the former of norms alone
    tied = said_of(Degrees(pp=2), RUN)
    assert tied == {"gradients": 64 * 32 * 4, "activations": BATCH_ROWS * SEQ_LEN * 32 * 4}
    assert said_of(Degrees(pp=2), TWO["untied"][1]) == {"activations": tied["activations"]}


def test_more_processes_send_nearly_the_whole_twice() -> None:
    two, many = said_of(Degrees(dp=2), RUN)["gradients"], said_of(Degrees(dp=4), RUN)["gradients"]
    assert many == pytest.approx(1.5 * two)
