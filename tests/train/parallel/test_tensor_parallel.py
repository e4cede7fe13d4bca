"""Matrices cut by heads and columns."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from runs import HEADS, Outcome, Run, assert_same, config_of, latent_shape, run_on, runs_on
from torch import nn
from torch._dynamo.utils import counters

from llmkit.model.init import initialise
from llmkit.model.transformer import Transformer
from llmkit.train.parallel.degrees import Degrees
from llmkit.train.parallel.divided import Divided
from llmkit.train.parallel.ranks import MeshRanks
from llmkit.train.parallel.tensors import local

SHAPES = {
    "llama": Run(shape={"model_type": "llama"}),
    "qwen3": Run(shape={"model_type": "qwen3", "tie_word_embeddings": False}),
    "gpt2": Run(name="gpt2", shape={"num_key_value_heads": 4}),
    **HEADS,
}


def cut(run: Run) -> tuple[Any, Any, dict[str, tuple[int, ...]]]:
    model = Transformer(config_of(run))
    initialise(model, torch.Generator().manual_seed(1))
    ids = torch.arange(32).view(2, 16)
    with torch.no_grad():
        expected = model(ids)
        divided = Divided(model, MeshRanks(Degrees(tp=2), torch.device("cpu")))
        found = divided.model(ids)
    shapes = {name: tuple(local(one).shape) for name, one in model.named_parameters()}
    return found.numpy(), expected.numpy(), shapes


def test_a_model_that_is_cut_scores_as_a_whole_one(on_ranks: Callable[..., Any]) -> None:
    for run in SHAPES.values():
        (first, expected, _), (second, _, _) = on_ranks(2, cut, run)
        assert first.shape == second.shape == (2, 16, 32)  # of half of the ids each
        np.testing.assert_allclose(np.concatenate((first, second), -1), expected, rtol=1e-5, atol=1e-5)


def test_heads_columns_and_the_vocabulary_are_cut(on_ranks: Callable[..., Any]) -> None:
    _, _, shapes = on_ranks(2, cut, SHAPES["qwen3"])[1]
    layer = {name.removeprefix("model.layers.1."): shape for name, shape in shapes.items()}
    assert layer["self_attn.q_proj.weight"] == (64, 32)
    assert layer["self_attn.k_proj.weight"] == (32, 32)
    assert layer["self_attn.o_proj.weight"] == (32, 64)
    assert layer["mlp.gate_proj.weight"] == (32, 32)
    assert layer["mlp.down_proj.weight"] == (32, 32)
    assert layer["input_layernorm.weight"] == (32,)
    assert shapes["model.embed_tokens.weight"] == shapes["lm_head.weight"] == (32, 32)


GEMMA = {
    **{"model_type": "gemma2", "qk_norm": "none", "norm_placement": "both", "norm_plus_one": True},
    **{"final_logit_softcapping": 5.0, "attn_logit_softcapping": 8.0, "attention_scale": 8**-0.5},
    **{"embedding_scale": 32**0.5, "hidden_act": "gelu_pytorch_tanh"},
}
LEARNT = {
    "tied, norms of heads": Run(),
    "an untied head and a z-loss": Run(shape={"tie_word_embeddings": False}, recipe={"z_loss": 0.01}),
    "soft caps": Run(shape=GEMMA),
    "learnt positions, biases, two rows a part": Run(name="gpt2", shape={"num_key_value_heads": 4}, micro=2),
    "recomputed layers": Run(divided={"recomputing": "full"}),
}
BESIDE = [Degrees(fsdp=2, tp=2), Degrees(pp=2, tp=2), Degrees(dp=2, tp=2), Degrees(cp=2, tp=2)]
LONG, SHORT = 20, 4
"""Updates of the first run, alone and beside shards, into a second epoch; of others, until decay is seen."""


def _beside_alone(run: Run) -> tuple[Run, Outcome]:
    return run, run_on(None, run)


def test_cut_matrices_learn_what_whole_ones_do_alone_and_beside_other_divisions(
    on_ranks: Callable[..., Any],
) -> None:
    """Over rows of several documents; the long run one row at a time, four to an update."""
    runs = list(LEARNT.values())
    long = _beside_alone(replace(runs[0], steps=LONG, micro=1))
    short = [_beside_alone(replace(run, steps=SHORT, micro=2)) for run in runs]
    shards, *others = BESIDE
    first = [long, *short[1:]]
    plans = {Degrees(tp=2): first, shards: first, **dict.fromkeys(others, short)}
    for degrees, pairs in plans.items():
        for outcomes in on_ranks(degrees.world, runs_on, [(degrees, run) for run, _ in pairs]):
            for found, (_, alone) in zip(outcomes, pairs, strict=True):
                assert_same(found, alone)
                told = [[step.stats.get("z_loss", 0.0) for step in one.steps] for one in (found, alone)]
                np.testing.assert_allclose(told[0], told[1], rtol=1e-4)


def test_heads_that_share_something_learn_what_whole_ones_do(on_ranks: Callable[..., Any]) -> None:
    runs = {name: replace(run, steps=3, micro=2) for name, run in HEADS.items()}
    latents = replace(runs["latents of queries too"], divided={"recomputing": "selective"})
    runs["recomputed latents"] = latents
    expected = [run_on(None, run) for run in runs.values()]
    two = [(Degrees(tp=2), run) for run in runs.values()]
    four = [(Degrees(fsdp=2, tp=2), run) for run in runs.values()]
    four += [(Degrees(cp=2, tp=2), latents), (Degrees(pp=2, tp=2), latents)]
    for plans, whole in ((two, expected), (four, [*expected, expected[-1], expected[-1]])):
        for outcomes in on_ranks(plans[0][0].world, runs_on, plans):
            for found, alone in zip(outcomes, whole, strict=True):
                assert_same(found, alone)


def compiled_on(degrees: Degrees, run: Run) -> tuple[Outcome, int]:
    """What came of a run and the number of graphs; without the compiler's slow last step, to machine code."""
    plain = nn.Module.compile
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.Module, "compile", lambda module: plain(module, backend="aot_eager"))
        outcome = run_on(degrees, replace(run, divided={**run.divided, "compiles": True}))
    return outcome, counters["stats"]["unique_graphs"]


def test_compiled_layers_learn_the_same_and_are_one_graph_to_train_and_one_to_look(
    on_ranks: Callable[..., Any],
) -> None:
    plans = {
        Degrees(fsdp=2, tp=2): replace(HEADS["norms over all heads"], divided={"recomputing": "selective"}),
        Degrees(cp=2): Run(divided={"recomputing": "full"}),
    }
    for degrees, plan in plans.items():
        run = replace(plan, steps=3, micro=2)
        alone = run_on(None, run)
        for found, graphs in on_ranks(degrees.world, compiled_on, degrees, run):
            assert_same(found, alone)
            assert graphs == 2, (degrees, run)


def between_matrices(run: Run) -> list[tuple[str, tuple[int, ...]]]:
    """What comes out of each norm, embedding and head in a pass over two rows of 16 positions."""
    model = Transformer(config_of(run))
    Divided(model, MeshRanks(Degrees(tp=2), torch.device("cpu")))
    seen: list[tuple[str, tuple[int, ...]]] = []
    for name, module in model.named_modules():
        if name.endswith(("norm", "embed_tokens", "o_proj", "down_proj", "lm_head")):
            module.register_forward_hook(
                lambda _, given, out, name=name: seen.append((name, tuple(out.shape)))
            )
    model(torch.arange(32).view(2, 16))
    return seen


def test_the_stream_between_matrices_has_half_of_the_positions_and_no_process_all_logits(
    on_ranks: Callable[..., Any],
) -> None:
    for seen in on_ranks(2, between_matrices, Run()):
        shapes = {name.rpartition(".")[2]: shape for name, shape in seen}
        assert shapes.pop("lm_head") == (2, 16, 32)
        assert shapes.pop("q_norm")[1:] == (16, 2, 32) and shapes.pop("k_norm")[1:] == (16, 1, 32)
        assert set(shapes.values()) == {(2, 8, 32)}


FLOAT8 = {
    "heads": Run(),
    "biases": Run(name="gpt2", shape={"num_key_value_heads": 4}),
    "latents, a shared expert": Run(name="tiny-moe-free", shape=latent_shape(32, 32, rope=32, values=8)),
}
"""Sides of their matrices are multiples of 32."""


def test_products_in_float8_are_those_of_whole_matrices_and_rows(on_ranks: Callable[..., Any]) -> None:
    """In float32 besides, of two updates: later a code that is rounded the other way is seen."""
    runs = [replace(run, steps=2, recipe={"fp8": True}, divided={"fp8": True}) for run in FLOAT8.values()]
    expected = [run_on(None, run) for run in runs]
    plain = [run_on(None, replace(run, steps=2)).losses for run in FLOAT8.values()]
    for degrees in (Degrees(tp=2), Degrees(fsdp=2, tp=2)):
        for outcomes in on_ranks(degrees.world, runs_on, [(degrees, run) for run in runs]):
            for found, whole, others in zip(outcomes, expected, plain, strict=True):
                assert found.losses[0] == pytest.approx(whole.losses[0], rel=1e-6)
                assert found.losses[1] == pytest.approx(whole.losses[1], rel=5e-5)
                assert found.steps[0].grad_norm == pytest.approx(whole.steps[0].grad_norm, rel=1e-3)
                assert found.losses != pytest.approx(others, rel=1e-4)


def test_runs_in_float8_learn_alike_whole_and_cut(on_ranks: Callable[..., Any]) -> None:
    run = Run(steps=6, recipe={"dtype": "bfloat16", "fp8": True}, divided={"dtype": "bfloat16", "fp8": True})
    expected = run_on(None, run).losses
    plain = run_on(None, replace(run, recipe={"dtype": "bfloat16"}, divided={"dtype": "bfloat16"})).losses
    for found in on_ranks(2, runs_on, [(Degrees(tp=2), run)]):
        assert found[0].losses == pytest.approx(expected, rel=5e-3)
        assert found[0].losses != pytest.approx(plain, rel=1e-6)
    for found in on_ranks(4, runs_on, [(Degrees(fsdp=2, tp=2), run)]):
        assert found[0].losses == pytest.approx(expected, rel=1e-2)
