"""Rows in pieces on several processes learn what whole rows learn."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from runs import BATCH_ROWS, SEQ_LEN, Outcome, Run, assert_same, config_of, run_on, runs_on
from torch import Tensor

from llmkit.engine.config import SamplingConfig
from llmkit.engine.engine import Engine, EngineConfig
from llmkit.engine.request import Request
from llmkit.formats.shards import Rows
from llmkit.model.config import ModelConfig
from llmkit.model.routing import RoutingTape
from llmkit.model.transformer import Transformer
from llmkit.train.balance import Balancer
from llmkit.train.loss import build_batch, loss_sum
from llmkit.train.parallel.context_parallel import ZigzagRows, cut_context
from llmkit.train.parallel.degrees import Degrees
from llmkit.train.parallel.divided import Divided
from llmkit.train.parallel.ranks import ALONE, WHOLE_ROWS, MeshRanks, Share
from llmkit.train.parallel.row_cut import cut_rows, own_spans
from llmkit.train.snapshot_copy import copy_snapshot
from llmkit.train.state import Snapshot
from tests.model.conftest import SIZES, SWITCHES

CPU = torch.device("cpu")
LONG = 20  # updates
FOUR = (Degrees(cp=4), Degrees(dp=2, cp=2), Degrees(fsdp=2, cp=2), Degrees(cp=2, tp=2), Degrees(pp=2, cp=2))
FAMILIES: dict[str, dict[str, Any]] = {
    "qwen3": {"num_key_value_heads": 2, "tie_word_embeddings": True},
    "mistral": {"sliding_window": 5, "sliding_layers": (0, 1)},
    "gemma2": {
        **{"attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0, "tie_word_embeddings": True},
        **{"sliding_window": 3, "sliding_layers": (0,)},
    },
    "gpt2": {"tie_word_embeddings": True},
    "gpt_neox": {"rotary_dim": 4},
    "olmo2": {},
    "llama": {
        "rope_scaling": {"rope_type": "dynamic", "factor": 2.0, "original_max_position_embeddings": 8},
    },
}
LATENT = {
    **{"model_type": "deepseek_v3", "vocab_size": 80, "hidden_size": 32, "intermediate_size": 48},
    **{"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4, "q_lora_rank": 12},
    **{"kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "v_head_dim": 6},
    **{"num_experts_per_tok": 2, "n_routed_experts": 4, "moe_intermediate_size": 16},
    **{
        "n_group": 1,
        "topk_group": 1,
        "first_k_dense_replace": 2,
        "max_position_embeddings": 64,
    },  # all layers are dense
}


@pytest.fixture(scope="module")
def alone() -> Outcome:
    return run_on(None, Run(steps=LONG))


def test_two_processes_with_half_of_each_row_learn_what_one_learns(
    on_ranks: Callable[..., Any], alone: Outcome
) -> None:
    assert alone.losses[-1] < alone.losses[0] - 0.5
    for (found,) in on_ranks(2, runs_on, [(Degrees(cp=2), Run(steps=LONG))]):
        assert_same(found, alone)
        assert found.part_bytes == alone.part_bytes  # weights are whole


def test_four_processes_and_other_divisions_beside_learn_it_too(
    on_ranks: Callable[..., Any],
) -> None:
    run = Run(steps=5)
    alone = run_on(None, run)
    for outcomes in on_ranks(4, runs_on, [(degrees, run) for degrees in FOUR]):
        for degrees, found in zip(FOUR, outcomes, strict=True):
            assert_same(found, alone)
            if degrees.fsdp > 1:
                assert found.part_bytes == alone.part_bytes / 4  # shards are cut by both
    eight = Degrees(dp=2, fsdp=2, cp=2)
    short = Run(recipe={"batch_rows": 8}, steps=2)
    expected = run_on(None, short)
    for (found,) in on_ranks(8, runs_on, [(eight, short)]):
        assert found.losses == pytest.approx(expected.losses, rel=1e-5)


SETTINGS = {
    "one text a row": Run(recipe={"document_mask": False}, steps=3),
    "an untied head": Run(shape={"tie_word_embeddings": False}, steps=3),
    "Muon": Run(recipe={"optimizer": "muon"}, steps=3),
    "one part a batch": Run(micro=4, steps=3),
    "all computed again": Run(divided={"recomputing": "full"}, steps=3),
    "some computed again": Run(divided={"recomputing": "selective"}, steps=3),
    "a ramp": Run(recipe={"batch_ramp": "2:3"}, steps=4),
    "a z-loss": Run(recipe={"z_loss": 0.01}, steps=3),
}


def test_settings_of_a_run_mean_the_same_with_rows_in_pieces(on_ranks: Callable[..., Any]) -> None:
    expected = [run_on(None, run) for run in SETTINGS.values()]
    for outcomes in on_ranks(2, runs_on, [(Degrees(cp=2), run) for run in SETTINGS.values()]):
        for found, theirs in zip(outcomes, expected, strict=True):
            assert_same(found, theirs)


def test_a_run_goes_on_with_rows_in_pieces_or_whole_and_in_pieces_bit_for_bit(
    on_ranks: Callable[..., Any], alone: Outcome, tmp_path: Path
) -> None:
    plans = [
        (Degrees(cp=2), Run(steps=8)),
        (Degrees(cp=2), Run(steps=5, save=tmp_path / "pieces")),
        (Degrees(cp=2), Run(steps=3, resume=tmp_path / "pieces")),
        (Degrees(fsdp=2), Run(steps=3, resume=tmp_path / "pieces")),
        (Degrees(tp=2), Run(steps=5, save=tmp_path / "heads")),
        (Degrees(cp=2), Run(steps=3, resume=tmp_path / "heads")),
    ]
    for straight, begun, same, shards, _, from_heads in on_ranks(2, runs_on, plans):
        assert begun.losses + same.losses == straight.losses
        for name, weight in straight.weights.items():
            assert np.array_equal(same.weights[name], weight), name
        for found in (shards, from_heads):
            assert found.losses == pytest.approx(alone.losses[5:8], rel=1e-5)
    whole = run_on(None, Run(steps=3, resume=tmp_path / "pieces"))
    assert whole.losses == pytest.approx(alone.losses[5:8], rel=1e-5)


EXPERTS = {
    "router losses": Run(name="tiny-moe", recipe={"router_aux_loss_coef": 0.1, "router_z_loss_coef": 0.01}),
    "selection bias": Run(name="tiny-moe-free", recipe={"router_bias_update": 1e-3}),
}


def test_routers_are_balanced_over_rows_in_pieces_as_over_whole_ones(on_ranks: Callable[..., Any]) -> None:
    runs = {name: replace(run, steps=3) for name, run in EXPERTS.items()}
    runs["one part a batch"] = replace(runs["router losses"], micro=4)
    expected = [run_on(None, run) for run in runs.values()]
    for degrees in (Degrees(cp=2), Degrees(cp=4), Degrees(fsdp=2, cp=2), Degrees(pp=2, cp=2)):
        parts = degrees.fsdp * degrees.pp
        alike = [run for run in runs.values() if run.micro * parts <= BATCH_ROWS]  # in the same parts
        for outcomes in on_ranks(degrees.world, runs_on, [(degrees, run) for run in alike]):
            for found, theirs in zip(outcomes, expected[: len(alike)], strict=True):
                assert_same(found, theirs)
                for one, other in zip(found.steps, theirs.steps, strict=True):
                    assert one.experts is not None and other.experts is not None
                    assert one.experts.balance_loss == pytest.approx(other.experts.balance_loss, rel=1e-4)
                    assert sum(map(sum, one.experts.counts)) == sum(map(sum, other.experts.counts))


def balanced_by(degrees: Degrees) -> tuple[int, float, float]:
    """Real tokens here of a row that is padding from its sixth on; how far the routers' gradients are off."""
    ranks = MeshRanks(degrees, CPU)
    tokens = np.arange(17, dtype=np.uint32)[None]
    segments = np.where(np.arange(17) < 5, 0, -1).astype(np.int32)[None]
    whole = build_batch(Rows(tokens, segments, segments >= 0), document_mask=True, device=CPU)
    weights: list[Tensor] = []
    for cut, among in ((WHOLE_ROWS, ALONE), (ranks.cut, ranks)):
        torch.manual_seed(0)
        model = Transformer(config_of(EXPERTS["router losses"]))
        if among is ranks:
            cut_context(model, ranks.group("cp"), cut)
        batch = cut_rows(whole, cut)
        recipe: Any = SimpleNamespace(
            router_aux_loss_coef=0.5, router_z_loss_coef=0.25, router_bias_update=None
        )
        assert model.config.experts is not None
        balancer, tape = Balancer(recipe, model.config.experts, among), RoutingTape(batch.real)
        balancer.begin(whole.num_real)
        nats = loss_sum(model, batch, tape)
        (nats * 0.0 + balancer.add(tape)).backward()
        balancer.settle()
        gates = [one for name, one in model.named_parameters() if name.endswith("mlp.gate.weight")]
        gradients = torch.cat([one.grad.flatten() for one in gates if one.grad is not None])
        if among is ranks:
            torch.distributed.all_reduce(gradients)
        weights.append(torch.cat((gradients, torch.tensor([balancer.use().balance_loss]))))
    return batch.num_real, float((weights[0] - weights[1]).abs().max()), float(weights[0].abs().max())


def test_a_process_with_nothing_but_padding_of_a_row_leaves_its_balance_to_the_others(
    on_ranks: Callable[..., Any],
) -> None:
    first, second = on_ranks(2, balanced_by, Degrees(cp=2))
    assert (first[0], second[0]) == (4, 1)
    four = on_ranks(4, balanced_by, Degrees(cp=4))
    assert [real for real, *_ in four] == [2, 2, 1, 0]
    for _, gap, most in (first, second, *four):
        assert gap < 1e-5 and most > 1e-2


def random_model(config: ModelConfig) -> Transformer:
    """Every parameter at random, norms and biases too."""
    model, generator = Transformer(config), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, one in model.named_parameters():
            one.normal_(1.0 if "norm" in name else 0.0, 0.3, generator=generator)
    return model


def gaps_of(configs: list[ModelConfig], degrees: Degrees) -> list[tuple[float, float]]:
    """The largest differences of logits and of gradients between rows in pieces and whole ones, by model."""
    ranks = MeshRanks(degrees, CPU)
    return [max(_gap(config, ranks, with_segments) for with_segments in (False, True)) for config in configs]


def _gap(config: ModelConfig, ranks: MeshRanks, with_segments: bool) -> tuple[float, float]:
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(0, config.vocab_size, (3, 16), generator=generator)
    weigh = torch.randn(3, 16, config.vocab_size, generator=generator)
    segments = torch.randint(0, 3, ids.shape, generator=generator).sort(1).values if with_segments else None
    whole, cut = random_model(config), random_model(config)
    cut_context(cut, ranks.group("cp"), ranks.cut)
    spans = own_spans(16, ranks.cut)
    places = torch.cat([torch.arange(span.start, span.end) for span in spans])
    expected, found = whole(ids, segments=segments), cut(ids[:, places], segments=segments)
    (expected * weigh).sum().backward()
    (found * weigh[:, places]).sum().backward()
    apart = [(expected[:, places] - found).abs().max().item()]
    most = max(one.grad.abs().max() for one in whole.parameters() if one.grad is not None)
    for one, other in zip(whole.parameters(), cut.parameters(), strict=True):
        assert one.grad is not None and other.grad is not None
        torch.distributed.all_reduce(other.grad)
        apart.append(((one.grad - other.grad).abs().max() / most).item())
    return apart[0], max(apart[1:])


def test_every_kind_of_attention_meets_the_keys_of_the_whole_row(
    on_ranks: Callable[..., Any],
) -> None:
    configs = {
        name: ModelConfig(**{"model_type": name, **SIZES, **SWITCHES[name], **fields})
        for name, fields in FAMILIES.items()
    }
    configs["latent"] = ModelConfig.from_hf(LATENT)
    for world in (2, 4):
        for found in on_ranks(world, gaps_of, list(configs.values()), Degrees(cp=world)):
            wrong = {name: gap for name, gap in zip(configs, found, strict=True) if max(gap) > 2e-5}
            assert wrong == {}


def gathered_by(degrees: Degrees) -> tuple[list[float], list[float], set[float]]:
    """Keys that are their own positions, gathered; and what the gradient of their sum by rank is."""
    ranks = MeshRanks(degrees, CPU)
    rows = ZigzagRows(ranks.group("cp"), ranks.cut)
    places = torch.cat([torch.arange(span.start, span.end) for span in rows.spans(4)]).float()
    k = places.view(1, 1, -1, 1).clone().requires_grad_()
    found, values = rows.gather(k, -k.detach().expand(1, 1, 4, 2))
    ((ranks.rank + 1) * found * found.detach()).sum().backward()
    assert k.grad is not None and values.shape == (1, 1, 4 * degrees.cp, 2)
    factors = k.grad.flatten()[places > 0] / places[places > 0]
    return found.flatten().tolist(), values[0, 0, :, 1].tolist(), set(factors.tolist())


def test_keys_come_in_the_order_of_the_row_and_gradients_go_back(on_ranks: Callable[..., Any]) -> None:
    for keys, values, factors in on_ranks(2, gathered_by, Degrees(cp=2)):
        assert keys == list(range(8)) and values == [-float(one) for one in range(8)]
        assert factors == {1.0 + 2.0}  # from both processes


def test_what_travels_is_left_out_of_what_is_compiled() -> None:
    plain, compiled = Transformer(config_of(Run())), Transformer(config_of(Run()))
    for model, breaks in ((plain, False), (compiled, True)):
        cut_context(model, None, Share(0, 2), breaks=breaks)  # type: ignore[arg-type]
        assert isinstance(model.model.row_parts, ZigzagRows)
        assert getattr(model.model.row_parts.gather, "_torchdynamo_disable", False) is breaks


def written_by(degrees: Degrees) -> tuple[list[int], list[int], bool]:
    """What the first process alone writes with a model in training, beside one that never saw a process."""
    ranks = MeshRanks(degrees, CPU)
    torch.manual_seed(0)
    model = Transformer(config_of(Run()))
    plain = Transformer(model.config)
    plain.load_state_dict(model.state_dict())
    divided = Divided(model, ranks)
    copied = copy_snapshot(Snapshot(divided.whole_model(), {}, None)).model  # type: ignore[arg-type]
    same = all(
        torch.equal(one, other) for one, other in zip(copied.parameters(), plain.parameters(), strict=True)
    )
    texts = []
    for one in (divided.whole_model(), plain) if ranks.is_first else ():
        engine = Engine(one.eval(), EngineConfig(positions=SEQ_LEN, max_texts=1))
        request = Request((5, 6, 7), SamplingConfig(max_tokens=6, temperature=0.0))
        texts.append([drawn.id for drawn in engine.run(request)])
    return (*texts, same) if texts else ([], [], same)


def test_the_first_process_writes_samples_and_copies_alone(on_ranks: Callable[..., Any]) -> None:
    first, second = on_ranks(2, written_by, Degrees(cp=2))
    assert first[0] == first[1] and len(first[0]) > 0
    assert first[2] and second[2]
