"""What a process holds of what its passes keep: logits, chunks, cut matrices, layers computed again."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from llmkit.kernels.library import available, level
from llmkit.model.config import ModelConfig
from llmkit.model.presets import preset
from llmkit.train.parallel.degrees import Degrees
from llmkit.train.parallel.ranks import MeshRanks
from llmkit.workflows.run.memory import activation_bytes, attention_scratch_bytes, experts_beside_bytes
from tests.connected import on_ranks
from tests.workflows.run.test_kept import GATED, SHAPES, of_two_layers, one_and_three

__all__ = ["on_ranks"]

MODEL = ModelConfig(
    vocab_size=100, hidden_size=8, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2
)
LOGIT = 4 if available() else 8
"""Bytes of one in float32 with its gradient, which takes its place where kernels make it."""
ONCE = 4 if available() else 0
"""Bytes of each value of hidden_size that kernels keep once."""


def of_two_cut_layers() -> dict[tuple[str, str], float]:
    ranks = MeshRanks(Degrees(tp=2), torch.device("cpu"))
    return {
        (shape, dtype): of_two_layers(shape, dtype, ranks)
        for shape in SHAPES
        if SHAPES[shape].experts is None
        for dtype in ("float32", "bfloat16")
        if SHAPES[shape].num_key_value_heads % 2 == SHAPES[shape].num_attention_heads % 2 == 0
    }


def test_cut_layers_keep_their_part_and_what_their_matrices_read_whole(on_ranks: Callable[..., Any]) -> None:
    for counted in on_ranks(2, of_two_cut_layers):
        assert len({shape for shape, _ in counted}) == 3
        for (shape, dtype), bytes_ in counted.items():
            one, three = (
                activation_bytes(model, 1000, dtype, degrees=Degrees(tp=2)) for model in one_and_three(shape)
            )
            held = 1.2 if SHAPES[shape].norm == "rms" else 1.0
            assert (three - one) / held / 1000 == pytest.approx(bytes_, rel=0.01), (shape, dtype)


def test_layers_count_with_what_the_allocator_wastes_and_logits_as_they_are() -> None:
    layer = (28 - ONCE) * 8 + 4 * 16 + 4 * GATED * 24  # RMSNorm, as many key heads as heads, a gated MLP
    assert activation_bytes(MODEL, 10, "float32") == round(1.2 * 10 * 2 * layer) + 10 * 100 * LOGIT
    layer = (24 - ONCE // 2) * 8 + 2 * 16 + 2 * GATED * 24
    wide = round(1.2 * 10 * 2 * layer) + 10 * 100 * 10
    assert activation_bytes(MODEL, 10, "bfloat16", wide_logits=True) == wide
    on_gpu = activation_bytes(MODEL, 10, "bfloat16", native=False)
    assert on_gpu == round(1.2 * 10 * 2 * (24 * 8 + 2 * 16 + 2 * 4 * 24)) + 10 * 100 * 10
    assert activation_bytes(MODEL, 10, "bfloat16") == wide - (10 * 100 * 8 if available() else 0)


def test_a_head_that_scores_in_chunks_keeps_one_chunk() -> None:
    whole = activation_bytes(MODEL, 10, "float32")
    assert whole - activation_bytes(MODEL, 10, "float32", head_tokens=3) == 7 * LOGIT * 100
    assert activation_bytes(MODEL, 10, "float32", head_tokens=50) == whole


def test_layers_that_compute_again_keep_less_beside_those_at_work() -> None:
    model = replace(MODEL, num_hidden_layers=9)
    whole = (28 - ONCE) * 8 + 4 * 16 + 4 * GATED * 24
    full = activation_bytes(model, 10, "float32", recomputing="full")
    assert full == 10 * (whole + 9 * 4 * 8) + 10 * 100 * LOGIT  # what comes into each
    given = 4 * 8 + 2 * 8 + 2 * 24  # queries, attention, two outputs; keys and values; gate and up
    selective = activation_bytes(model, 10, "float32", recomputing="selective")
    assert selective == 10 * (whole + 9 * (4 * 8 + 4 * given)) + 10 * 100 * LOGIT
    alone = preset("nanogpt-cpu", num_hidden_layers=1)  # one layer has nothing to save
    assert activation_bytes(alone, 10, "float32", recomputing="full") == activation_bytes(
        alone, 10, "float32"
    )


@pytest.mark.skipif(not available(), reason="no native library")
def test_keys_that_lie_as_products_want_them_are_counted_for_each_thread_that_has_some() -> None:
    model = preset("stories15m", hidden_size=256, num_attention_heads=4, num_key_value_heads=2)
    # keys twice and values once, in bfloat16 where it has instructions; both gradients in float32
    wide = 2 if level() == "avx512bf16" else 4
    lines = 4096 * 64 * (3 * wide + 2 * 4)

    def held(rows: int, threads: int, **divided: int) -> float:
        degrees = Degrees(**divided)
        asked = (model, rows, 4096, "bfloat16")
        return attention_scratch_bytes(*asked, threads=threads, degrees=degrees) / lines

    assert held(1, 1) == pytest.approx(1, rel=0.04)  # and squares of 64
    assert held(1, 8) == held(8, 2) == 2 * held(1, 1)  # a row has two key heads
    assert held(1, 8, tp=2) == held(1, 1)
    assert held(4, 8, cp=2) == 0


def test_heads_that_the_kernels_do_not_take_need_no_such_memory() -> None:
    model = preset("stories15m", hidden_size=160, num_attention_heads=4, num_key_value_heads=2)
    assert attention_scratch_bytes(model, 1, 4096, "float32", threads=2) == 0


def test_experts_in_bfloat16_take_copies_of_weights_and_what_products_of_so_many_rows_do() -> None:
    experts = preset("tiny-moe").experts
    assert experts is not None
    # 2,048 tokens to 2 of 8 each: 512 rows on average, up to 2,048; products of 32 to 2,048 rows both ways,
    # and sums over four numbers of rows in each of four octaves; of both stacks
    products = 2 * (2 * 7 + 4 * 4)
    assert experts_beside_bytes(experts, 1000, 2048) == 2000 + products * (550 << 10)
