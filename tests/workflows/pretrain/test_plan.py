"""What a run will do: what it takes, by hand, and what is refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from llmkit.errors import ResourceError
from llmkit.model.config import ModelConfig
from llmkit.model.presets import preset
from llmkit.model.transformer import Transformer
from llmkit.train.config import PretrainConfig
from llmkit.train.hardware import Peak
from llmkit.train.optimizer import hidden_matrices
from llmkit.workflows.pretrain import plan as pretrain_plan
from llmkit.workflows.pretrain.data import PretrainData
from llmkit.workflows.pretrain.plan import PretrainPlan, check_resources, memory_bytes, plan_run
from llmkit.workflows.run.setup import set_up
from tests.workflows.small_setup import MODEL, setup_of

MakeData = Callable[..., PretrainData]


@pytest.fixture
def plan(make_data: MakeData, tmp_path: Path) -> PretrainPlan:
    """Six updates of four rows."""
    config = PretrainConfig(device="cpu", steps=6, batch_rows=4, keep=3, threads=1)
    setup = set_up(config, MODEL, make_data(), None)
    return plan_run(setup, config, MODEL, make_data(), tmp_path / "not" / "yet")


def test_a_plans_figures_follow_from_each_other(plan: PretrainPlan) -> None:
    assert plan.parameters == sum(weight.numel() for weight in Transformer(MODEL).parameters())
    assert (plan.batch_tokens, plan.total_tokens) == (4 * 8, 6 * 4 * 8)
    assert plan.epochs == 6 * 4 / 20
    assert plan.total_flops == plan.flops_per_token * 6 * 4 * 8
    assert plan.total_seconds == pytest.approx(6 * plan.step_seconds)
    assert (plan.time_source, plan.threads, plan.resume_step) == ("measured step", 1, 0)
    assert plan.disk_bytes == 4 * plan.checkpoint_bytes  # three kept and one being written
    assert 12 * plan.parameters <= plan.checkpoint_bytes < 12 * plan.parameters + (64 << 10)
    assert plan.disk_free_bytes > 0


def test_planning_writes_nothing_and_gives_the_threads_back(plan: PretrainPlan, make_data: MakeData) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        config = PretrainConfig(device="cpu", steps=1, threads=1)
        plan_run(set_up(config, MODEL, make_data(), None), config, MODEL, make_data(), Path(plan.out))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert not Path(plan.out).exists()


def test_a_step_too_long_to_measure_is_estimated_at_a_share_of_the_peak(
    make_data: MakeData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = PretrainConfig(device="cpu", steps=6, batch_rows=4)
    setup = set_up(config, MODEL, make_data(), None)
    work = setup.flops_per_token * 4 * 8
    monkeypatch.setattr(pretrain_plan, "measure_peak", lambda *_: Peak(work / 2.0, "a slow machine"))
    plan = plan_run(setup, config, MODEL, make_data(), tmp_path)
    assert plan.step_seconds == pytest.approx(2.0 / 0.4)
    assert (plan.time_source, plan.peak_source) == ("estimated at 40% of the peak", "a slow machine")


def test_a_calibrated_plan_has_the_middle_of_steps_however_long_they_take(
    make_data: MakeData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps of 4, 3, 2 and 5 seconds by the clock: the first warms up, and ten seconds are enough."""
    config = PretrainConfig(device="cpu", steps=6, batch_rows=4)
    setup = set_up(config, MODEL, make_data(), None)
    monkeypatch.setattr(pretrain_plan, "estimate_step", lambda *_: (3600.0, "a guess"))
    ticks = iter([0.0, 4.0, 4.0, 7.0, 7.0, 9.0, 9.0, 14.0])
    monkeypatch.setattr(pretrain_plan.time, "perf_counter", lambda: next(ticks))
    steps: list[int] = []
    trainer = SimpleNamespace(train_step=lambda: steps.append(1), close=lambda: steps.append(0))
    found = pretrain_plan.time_step(setup, Peak(1.0, ""), lambda: trainer, calibrate=True)  # type: ignore[arg-type,return-value]
    assert found == (3.0, "median of 3 measured steps") and steps == [1, 1, 1, 1, 0]
    assert pretrain_plan.time_step(setup, Peak(1.0, ""), lambda: trainer) == (3600.0, "a guess")  # type: ignore[arg-type,return-value]


def test_a_plan_tells_tokens_a_second(plan: PretrainPlan) -> None:
    assert plan.tokens_per_second == pytest.approx(plan.batch_tokens / plan.step_seconds)


def test_memory_is_predicted_by_what_was_measured(make_data: MakeData) -> None:
    """The docstring's sum, by hand, for both kinds of norm and MLP."""
    setup = setup_of(make_data(seq_len=8), micro_batch_rows=4)
    weights = sum(weight.numel() for weight in Transformer(MODEL).parameters())
    config = PretrainConfig()
    kept = round(1.2 * 32 * 2 * (28 * 8 + 4 * 2 * 1 * 4 + 16 * 12)) + 32 * 8 * 48
    assert memory_bytes(setup, config, MODEL) == (325 << 20) + 16 * weights + kept
    watched = PretrainConfig(log_norms=5)
    assert memory_bytes(setup, watched, MODEL) == (325 << 20) + 20 * weights + kept
    gpt2 = ModelConfig(
        **{**{name: getattr(MODEL, name) for name in ("vocab_size", "hidden_size", "intermediate_size")}},
        model_type="gpt2",
        num_hidden_layers=2,
        num_attention_heads=2,
        norm="layer",
        position="learned",
        attention_bias=True,
        output_bias=True,
        mlp_bias=True,
        gated_mlp=False,
        hidden_act="gelu_new",
    )
    weights = sum(weight.numel() for weight in Transformer(gpt2).parameters())
    kept = round(1.2 * 32 * 2 * (20 * 8 + 2 * 2 * 2 * 4 + 4 * 12)) + 32 * 10 * 48
    half = replace(setup, recipe=replace(setup.recipe, dtype="bfloat16"))
    assert memory_bytes(half, config, gpt2) == (325 << 20) + 16 * weights + kept


@pytest.mark.parametrize("name", ["tiny", "tiny-moe-free", "gpt2"])
def test_muon_has_one_moment_of_each_matrix_of_a_layer(make_data: MakeData, name: str) -> None:
    sizes: dict[str, int] = {"hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 2}
    if name != "gpt2":
        sizes["num_key_value_heads"] = 1
    model = preset(name, **sizes, vocab_size=48, max_position_embeddings=32)
    adamw, muon = (setup_of(make_data(), model, optimizer=one) for one in ("adamw", "muon"))
    matrices = sum(one.numel() for one in hidden_matrices(Transformer(model)))
    config = PretrainConfig()
    assert memory_bytes(adamw, config, model) - memory_bytes(muon, config, model) == 4 * matrices > 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("free_bytes", r"run: 3 checkpoints and one being written"),
        ("available_memory_bytes", "training takes"),
    ],
)
def test_a_run_that_cannot_end_well_is_refused(
    make_data: MakeData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    config = PretrainConfig(device="cpu", steps=6, keep=3)
    setup = set_up(config, MODEL, make_data(), None)
    check_resources(setup, config, MODEL, tmp_path / "run")
    monkeypatch.setattr(pretrain_plan, name, lambda _: 1000)
    with pytest.raises(ResourceError, match=rf"{message}.*found 1,000") as caught:
        check_resources(setup, config, MODEL, tmp_path / "run")
    assert "--keep 1" in caught.value.hint or "--micro-batch-rows 1" in caught.value.hint


def test_a_machine_that_does_not_tell_its_memory_is_not_held_back(
    make_data: MakeData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrain_plan, "available_memory_bytes", lambda _: None)
    config = PretrainConfig(device="cpu")
    check_resources(set_up(config, MODEL, make_data(), None), config, MODEL, tmp_path)
