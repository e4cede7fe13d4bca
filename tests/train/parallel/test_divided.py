"""Every division of a run learns what one process learns."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from runs import (
    BATCH_ROWS,
    EXPERTS,
    ROWS,
    SEQ_LEN,
    Outcome,
    Run,
    Texts,
    assert_same,
    config_of,
    run_on,
    runs_on,
)
from torch import nn
from torch._dynamo.utils import counters

from llmkit.formats.checkpoint import read_state
from llmkit.model.init import initialise
from llmkit.model.routing import RoutingTape
from llmkit.model.transformer import Transformer
from llmkit.train.config import PretrainConfig, Recipe
from llmkit.train.loss import Batch
from llmkit.train.objective import NextToken
from llmkit.train.parallel.degrees import Degrees
from llmkit.train.parallel.divided import Divided, divide_model
from llmkit.train.parallel.ranks import MeshRanks
from llmkit.train.rewind import put_at_start, put_weights
from llmkit.train.state import load_weights, restore_trainer
from llmkit.train.trainer import Trainer
from tests.train.saved import save_trainer

TWO = {
    "dp": Degrees(dp=2),
    "fsdp": Degrees(fsdp=2),
    "tp": Degrees(tp=2),
    "pp": Degrees(pp=2),
}
FOUR = {
    "hsdp": Degrees(dp=2, fsdp=2),
    "fsdp x tp": Degrees(fsdp=2, tp=2),
    "dp x tp": Degrees(dp=2, tp=2),
    "pp x fsdp": Degrees(pp=2, fsdp=2),
    "pp x dp": Degrees(pp=2, dp=2),
}


@pytest.fixture(scope="module")
def alone() -> Outcome:
    return run_on(None, Run())


VARIED = {
    "an untied head": Run(shape={"tie_word_embeddings": False}, steps=3),
    "Muon": Run(recipe={"optimizer": "muon"}, steps=3),
    "one part a batch": Run(micro=4, steps=3),
    "recomputed layers": Run(divided={"recomputing": "full"}, steps=3),
}


def test_two_processes_learn_what_one_learns(on_ranks: Callable[..., Any], alone: Outcome) -> None:
    found = on_ranks(2, runs_on, [(degrees, Run()) for degrees in TWO.values()])
    assert alone.losses[-1] < alone.losses[0] - 0.5
    assert all(one.weights.keys() == alone.weights.keys() for one in found[0])
    for outcomes in found:
        for outcome in outcomes:
            assert_same(outcome, alone)


def test_four_processes_learn_what_one_learns(on_ranks: Callable[..., Any], alone: Outcome) -> None:
    for outcomes in on_ranks(4, runs_on, [(degrees, Run()) for degrees in FOUR.values()]):
        for outcome in outcomes:
            assert_same(outcome, alone)


def test_shards_and_cut_matrices_keep_half_of_the_weights(
    on_ranks: Callable[..., Any], alone: Outcome
) -> None:
    short = Run(steps=1)
    for dp, fsdp, tp in on_ranks(2, runs_on, [(TWO[name], short) for name in ("dp", "fsdp", "tp")]):
        assert dp.part_bytes == alone.part_bytes
        assert fsdp.part_bytes == alone.part_bytes / 2
        assert 0.5 <= tp.part_bytes / alone.part_bytes < 0.52  # norms are whole


def test_other_heads_optimisers_and_parts_are_divided_alike(on_ranks: Callable[..., Any]) -> None:
    plans = [(degrees, run) for run in VARIED.values() for degrees in TWO.values()]
    expected = {name: run_on(None, run) for name, run in VARIED.items()}
    for outcomes in on_ranks(2, runs_on, plans):
        for (_, run), found in zip(plans, outcomes, strict=True):
            name = next(name for name, one in VARIED.items() if one is run)
            assert_same(found, expected[name])


def test_products_in_float8_are_those_of_one_process_in_replicas_shards_and_stages(
    on_ranks: Callable[..., Any], alone: Outcome
) -> None:
    # of rows one by one: the scale of a tensor is of all tokens in it
    run = Run(steps=6, recipe={"dtype": "bfloat16", "fp8": True}, divided={"dtype": "bfloat16", "fp8": True})
    plain = replace(run, recipe={"dtype": "bfloat16"}, divided={"dtype": "bfloat16"})
    expected, without = run_on(None, run), run_on(None, plain)
    assert expected.losses != without.losses
    assert expected.losses == pytest.approx(without.losses, rel=0.01)
    for how in ("full", "selective"):
        again = run_on(None, replace(run, divided=run.divided | {"recomputing": how}))
        assert again.losses == expected.losses
    for outcomes in on_ranks(2, runs_on, [(TWO[name], run) for name in ("dp", "pp", "fsdp")]):
        for found in outcomes:  # what is summed in another order is rounded to another code here and there
            assert found.losses == pytest.approx(expected.losses, rel=1e-2)
        for found in outcomes[:2]:  # shards travel in bfloat16, which their codes are made of
            assert found.losses[0] == pytest.approx(expected.losses[0], rel=1e-6)


def test_norms_are_of_all_layers_rows_and_positions_whatever_process_has_them(
    on_ranks: Callable[..., Any],
) -> None:
    run = Run(steps=2, norms_every=1)
    expected = [one.norms for one in run_on(None, run).steps]
    plans = [(degrees, run) for degrees in (*TWO.values(), Degrees(cp=2))]
    for outcomes in on_ranks(2, runs_on, plans):
        for (degrees, _), found in zip(plans, outcomes, strict=True):
            for told, wanted in zip([one.norms for one in found.steps], expected, strict=True):
                assert told is not None and wanted is not None
                assert [one["name"] for one in told] == [one["name"] for one in wanted]
                for key in ("gradient", "weight", "update_ratio", "activation_rms", "activation_max"):
                    figures = [[one[key] for one in norms] for norms in (told, wanted)]
                    assert figures[0] == pytest.approx(figures[1], rel=1e-4), (degrees, key)


def test_recomputing_changes_nothing_but_the_memory() -> None:
    plain, full, selective = (
        run_on(None, Run(steps=3, divided={"recomputing": how})) for how in ("none", "full", "selective")
    )
    for other in (full, selective):
        assert other.losses == plain.losses
        for name, weight in plain.weights.items():
            assert np.array_equal(other.weights[name], weight), name


def test_experts_are_balanced_over_the_processes_that_share_a_batch(on_ranks: Callable[..., Any]) -> None:
    short = {name: replace(run, steps=5, micro=2) for name, run in EXPERTS.items()}
    plans = [(degrees, run) for run in short.values() for degrees in TWO.values()]
    expected = {name: run_on(None, run) for name, run in short.items()}  # in parts of as many rows
    for outcomes in on_ranks(2, runs_on, plans):
        for (_, run), found in zip(plans, outcomes, strict=True):
            name = next(name for name, one in short.items() if one is run)
            theirs = expected[name]
            assert_same(found, theirs)
            for one, other in zip(found.steps, theirs.steps, strict=True):
                assert one.experts is not None and other.experts is not None
                assert one.experts.balance_loss == pytest.approx(other.experts.balance_loss, rel=1e-4)
                assert one.experts.z_loss == pytest.approx(other.experts.z_loss, rel=1e-4)
                assert sum(map(sum, one.experts.counts)) == sum(map(sum, other.experts.counts))
            bias = [key for key in found.weights if key.endswith("e_score_correction_bias")]
            for key in bias:
                np.testing.assert_allclose(found.weights[key], theirs.weights[key], atol=1e-7)


def test_a_checkpoint_of_one_division_goes_on_in_another(
    on_ranks: Callable[..., Any], alone: Outcome, tmp_path: Path
) -> None:
    on_ranks(2, runs_on, [(TWO[kind], Run(steps=5, save=tmp_path / kind)) for kind in TWO])
    others = {"dp": "tp", "fsdp": "pp", "tp": "fsdp", "pp": "dp"}
    plans = [(TWO[to], Run(steps=3, resume=tmp_path / kind)) for kind, to in others.items()]
    for outcomes in on_ranks(2, runs_on, plans):
        for found in outcomes:
            assert found.losses == pytest.approx(alone.losses[5:8], rel=1e-5)
    for kind in TWO:
        found = run_on(None, Run(steps=3, resume=tmp_path / kind))
        assert found.losses == pytest.approx(alone.losses[5:8], rel=1e-5)


def test_every_division_writes_the_files_that_it_read(on_ranks: Callable[..., Any], tmp_path: Path) -> None:
    run_on(None, Run(steps=3, save=tmp_path / "alone"))
    plans = [(TWO[kind], Run(steps=0, resume=tmp_path / "alone", save=tmp_path / kind)) for kind in TWO]
    on_ranks(2, runs_on, plans)
    for kind in TWO:
        for name in ("model.safetensors", "optimizer.safetensors", "config.json"):
            assert (tmp_path / kind / name).read_bytes() == (tmp_path / "alone" / name).read_bytes(), kind


def test_the_same_division_goes_on_bit_for_bit(on_ranks: Callable[..., Any], tmp_path: Path) -> None:
    plans = [(TWO[kind], Run(steps=6)) for kind in TWO]
    plans += [(TWO[kind], Run(steps=3, save=tmp_path / kind)) for kind in TWO]
    plans += [(TWO[kind], Run(steps=3, resume=tmp_path / kind)) for kind in TWO]
    for outcomes in on_ranks(2, runs_on, plans):
        for straight, begun, resumed in zip(*(outcomes[at : at + 4] for at in (0, 4, 8)), strict=True):
            assert begun.losses + resumed.losses == straight.losses
            for name, weight in straight.weights.items():
                assert np.array_equal(resumed.weights[name], weight), name


SETTINGS = {
    "a ramp": Run(recipe={"batch_ramp": "2:3"}, steps=4),
    "a z-loss": Run(recipe={"z_loss": 0.01}, steps=3),
    "a base width": Run(shape={"tie_word_embeddings": False}, recipe={"mup_base_width": 16}, steps=4),
}


def test_ramps_z_losses_and_base_widths_are_divided_alike(on_ranks: Callable[..., Any]) -> None:
    plans = [(degrees, run) for run in SETTINGS.values() for degrees in TWO.values()]
    expected = {name: run_on(None, run) for name, run in SETTINGS.items()}
    wrong = []
    for outcomes in on_ranks(2, runs_on, plans):
        for (degrees, run), found in zip(plans, outcomes, strict=True):
            name = next(name for name, one in SETTINGS.items() if one is run)
            alone = expected[name]
            same = np.allclose(found.losses, alone.losses, rtol=1e-5) and all(
                np.allclose(found.weights[one], weight, rtol=1e-3, atol=2e-4)
                for one, weight in alone.weights.items()
                if found.weights
            )
            told = [step.stats for step in found.steps]
            same = same and all(
                one.keys() == other.stats.keys()
                and np.allclose(*([*x.values()] for x in (one, other.stats)), rtol=1e-4)
                for one, other in zip(told, alone.steps, strict=True)
            )
            if not same:
                wrong.append((name, str(degrees)))
    assert wrong == []


def gone_back(degrees: Degrees, folder: Path) -> list[bool]:
    """Whether a trainer that is put back has every part that it had, at its start and at a checkpoint."""
    torch.manual_seed(0)
    config = config_of(Run())
    fresh = Transformer(config)
    initialise(fresh, torch.Generator().manual_seed(3))
    settings: dict[str, Any] = {
        **{"model": config.to_hf(), "initial_sha256": None, "data_sha256": "d", "tokenizer_sha256": None},
        **{"seed": 0, "rows": ROWS, "seq_len": SEQ_LEN, "steps": 20, "batch_rows": BATCH_ROWS, "lr": 0.01},
        **{"min_lr_ratio": 0.1, "schedule": "cosine", "warmup_steps": 2, "decay_ratio": 0.5, "beta1": 0.9},
        **{"beta2": 0.95, "weight_decay": 0.1, "clip": 0.5, "dtype": "float32", "document_mask": True},
    }
    ranks = MeshRanks(degrees, torch.device("cpu"))
    model = Transformer(config)
    model.load_state_dict(fresh.state_dict())
    trainer = Trainer(Divided(model, ranks), Texts(), Recipe(**settings), micro_batch_rows=1)

    def everything() -> dict[str, Any]:
        tensors = {**trainer.divided.whole_tensors(), **trainer.state_tensors()}
        return {name: one.tolist() for name, one in tensors.items() if not one.is_meta} | trainer.state()

    try:
        begin = everything()
        trainer.train_step(), trainer.train_step()
        own = folder / str(degrees)
        own.mkdir(exist_ok=True)
        save_trainer(trainer, own, threads=1)
        then = everything()
        after = [trainer.train_step().loss, everything()]
        put_weights(trainer, load_weights(own, torch.device("cpu")))
        restore_trainer(trainer, own, read_state(own))
        found = [everything() == then, [trainer.train_step().loss, everything()] == after]
        put_at_start(trainer, fresh)
        return [*found, everything() == begin]
    finally:
        trainer.close()


def all_gone_back(folder: Path) -> dict[str, list[bool]]:
    """Every division of two processes."""
    return {name: gone_back(degrees, folder) for name, degrees in TWO.items()}


def test_a_trainer_in_parts_goes_back_as_one_in_one_piece(
    on_ranks: Callable[..., Any], tmp_path: Path
) -> None:
    for found in on_ranks(2, all_gone_back, tmp_path):
        assert found == {name: [True, True, True] for name in TWO}


@pytest.mark.filterwarnings("ignore:.*should not be instantiated")  # what PyTorch's compiler does itself
@pytest.mark.parametrize("name", ["tiny", "tiny-moe"])
def test_a_model_is_compiled_once_and_whole_whichever_experts_its_rows_have(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda module: plain(module, backend="aot_eager"))
    model = Transformer(config_of(Run(name=name)))
    initialise(model, torch.Generator().manual_seed(3))
    ids = torch.arange(2 * SEQ_LEN).view(2, -1).T.reshape(2, -1) % 64
    real = torch.ones_like(ids, dtype=torch.bool)
    real[1, 3:] = False
    torch._dynamo.reset()
    counters.clear()
    recipe: Any = SimpleNamespace(seq_len=SEQ_LEN, dtype="float32", fp8=False)
    divided = divide_model(model, PretrainConfig(compile=True), recipe)
    losses = []
    for step in range(4):
        batch = Batch(ids + step, ids + step + 1, None, ids.numel(), real)
        tape = None if name == "tiny" else RoutingTape(divided.counted(batch))
        loss, _ = divided.loss_pass(NextToken(chunked=False), batch, tape)
        (loss if tape is None else loss + tape.sums()[0].sum()).backward()
        losses.append((loss.item(), NextToken().loss_sum(model, batch)[0].item()))
    assert counters["stats"]["unique_graphs"] == 1
    assert not counters["graph_break"]
    for compiled, eager in losses:
        assert compiled == pytest.approx(eager, rel=1e-6)
