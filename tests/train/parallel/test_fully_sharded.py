"""Weights in shards."""

from collections.abc import Callable
from typing import Any

import torch
from runs import Run, Texts, config_of

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
