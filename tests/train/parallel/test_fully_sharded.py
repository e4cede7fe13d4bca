"""Weights in shards."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from runs import EXPERTS, Run, Texts, config_of, run_on

from llmkit.model.router import Router
from llmkit.model.transformer import Transformer
from llmkit.train.loss import build_batch
from llmkit.train.objective import NextToken
from llmkit.train.parallel.degrees import Degrees
from llmkit.train.parallel.divided import Divided
from llmkit.train.parallel.ranks import MeshRanks


def sharded(dtype: str) -> tuple[bool, set[str], str]:
    ranks = MeshRanks(Degrees(fsdp=2), torch.device("cpu"))
    divided = Divided(Transformer(config_of(Run())), ranks, dtype=dtype)
    travelled: set[str] = set()
    layer = divided.model.model.layers[0].mlp.gate_proj
    layer.register_forward_hook(lambda module, *_: travelled.add(str(module.weight.dtype)))
    batch = build_batch(Texts(2).rows, document_mask=True, device=torch.device("cpu"))
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == "bfloat16"):
        loss, _ = divided.loss_pass(NextToken(chunked=False), batch)
    loss.backward()
    halves = all(
        one.to_local().numel() <= -(-one.shape[0] // 2) * one[0].numel() for one in divided.model.parameters()
    )
    (dtype_of_gradients,) = {str(one.dtype) for one in divided.finish_gradients()}
    return halves, travelled, dtype_of_gradients


def test_half_of_each_weight_is_kept_in_float32_and_travels_in_the_dtype_of_the_arithmetic(
    on_ranks: Callable[..., Any],
) -> None:
    for dtype in ("float32", "bfloat16"):
        for halves, travelled, gradients in on_ranks(2, sharded, dtype):
            assert halves
            assert travelled == {f"torch.{dtype}"}
            assert gradients == "torch.float32"


def routed() -> tuple[set[torch.dtype], list[float], list[float]]:
    """The types of routers' weights in an update in bfloat16; its loss with and without recomputation."""
    met: set[torch.dtype] = set()
    forward = Router.forward

    def watched(self: Router, x: torch.Tensor) -> Any:
        met.add(self.weight.dtype)
        return forward(self, x)

    run = replace(EXPERTS["router losses"], recipe={**EXPERTS["router losses"].recipe, "dtype": "bfloat16"})
    plain = replace(run, steps=3, divided={"dtype": "bfloat16"})
    again = replace(plain, divided={"dtype": "bfloat16", "recomputing": "full"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Router, "forward", watched)
        outcomes = [run_on(Degrees(fsdp=2), one) for one in (plain, again)]
    return met, *(one.losses for one in outcomes)


def test_a_router_is_float32_where_all_else_travels_in_bfloat16(on_ranks: Callable[..., Any]) -> None:
    for met, plain, again in on_ranks(2, routed):
        assert met == {torch.float32}
        assert again == plain
