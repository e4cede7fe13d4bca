"""Experts in training: losses by hand, the bias by its algorithm, loads that even out, resumed to the bit."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from llmkit.formats.checkpoint import read_state
from llmkit.model.init import initialise
from llmkit.model.presets import preset
from llmkit.model.router import Router
from llmkit.model.routing import RoutingTape
from llmkit.model.transformer import Transformer
from llmkit.train.balance import Balancer, ExpertUse
from llmkit.train.cross_entropy import IGNORED
from llmkit.train.loss import build_batch, loss_sum
from llmkit.train.state import load_weights, restore_trainer
from llmkit.train.trainer import Trainer
from tests.train.saved import save_trainer

CPU = torch.device("cpu")
NONE = {"router_aux_loss_coef": 0.0, "router_z_loss_coef": 0.0, "router_bias_update": None}


def _model(name: str, seed: int = 0) -> Transformer:
    sizes = {"vocab_size": 32, "hidden_size": 16, "num_hidden_layers": 2, "max_position_embeddings": 16}
    model = Transformer(
        preset(name, **sizes, num_attention_heads=2, num_key_value_heads=1, initializer_range=0.2)
    )
    initialise(model, torch.Generator().manual_seed(seed))
    return model


@pytest.fixture
def make_trainer(make_recipe: Callable[..., Any], make_rows: Callable[..., Any]) -> Callable[..., Trainer]:
    """A Trainer of a tiny mixture over 20 rows."""

    def make(model: Transformer, micro: int = 8, rows: Any = None, **recipe: Any) -> Trainer:
        rows = rows or make_rows(20)
        fields = {
            "lr": 0.01,
            "batch_rows": 8,
            "rows": len(rows),
            "model": model.config.to_hf(),
            **NONE,
            **recipe,
        }
        return Trainer(copy.deepcopy(model), rows, make_recipe(**fields), micro_batch_rows=micro)

    return make


def _routers(model: Transformer) -> list[Router]:
    return [module for module in model.modules() if isinstance(module, Router)]


def _gradients(trainer: Trainer) -> dict[str, torch.Tensor]:
    """Of the first batch: AdamW's first moment is a tenth of it."""
    moments = trainer.state_tensors().items()
    return {name.removesuffix(".exp_avg"): 10 * one for name, one in moments if name.endswith(".exp_avg")}


def test_the_loss_that_is_learnt_from_is_the_formulas(
    make_trainer: Callable[..., Trainer], make_rows: Callable[..., Any]
) -> None:
    from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

    model, rows = _model("tiny-moe"), make_rows(8, padding=2)
    trainer = make_trainer(model, rows=rows, clip=0.0, router_aux_loss_coef=0.3, router_z_loss_coef=0.02)
    result = trainer.train_step()

    batch, tape = build_batch(rows.rows, document_mask=True, device=CPU), RoutingTape()
    logits = model(batch.ids, routing=tape)
    ids = torch.from_numpy(rows.rows.tokens.astype(np.int64))
    targets = torch.where(torch.from_numpy(rows.rows.segments[:, 1:]) >= 0, ids[:, 1:], IGNORED)
    plain = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)
    real = torch.from_numpy(rows.rows.segments[:, :-1] >= 0)
    routed = tuple(one[0].logits for one in tape.routes.values())
    balance = load_balancing_loss_func(routed, 8, 2, real)
    assert isinstance(balance, torch.Tensor)
    z = torch.cat([one[real.flatten()] for one in routed]).logsumexp(-1).square().mean()
    (plain + 0.3 * balance + 0.02 * z).backward()

    assert result.loss == pytest.approx(plain.item(), rel=1e-5)  # as comparable as it ever was
    assert result.experts is not None
    assert result.experts.balance_loss == pytest.approx(balance.detach().item(), rel=1e-5)
    assert result.experts.z_loss == pytest.approx(z.detach().item(), rel=1e-5)
    for name, gradient in _gradients(trainer).items():
        torch.testing.assert_close(gradient, model.get_parameter(name).grad, rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.parametrize("setting", ["router_aux_loss_coef", "router_z_loss_coef"])
def test_each_coefficient_changes_the_gradient_of_routers(
    make_trainer: Callable[..., Trainer], setting: str
) -> None:
    model = _model("tiny-moe")
    plain, other = make_trainer(model), make_trainer(model, **{setting: 0.5})
    plain.train_step(), other.train_step()
    name = "model.layers.1.mlp.gate.weight"
    assert not torch.allclose(_gradients(plain)[name], _gradients(other)[name], rtol=0.01)


def test_counts_are_over_the_whole_batch_however_it_is_parted(
    make_trainer: Callable[..., Trainer], make_rows: Callable[..., Any]
) -> None:
    rows = make_rows(8, padding=3)
    model = _model("tiny-moe")
    uses = [make_trainer(model, micro, rows).train_step().experts for micro in (8, 3, 1)]
    assert all(use is not None and use.counts == uses[0].counts for use in uses)  # type: ignore[union-attr]
    assert [sum(layer) for layer in uses[0].counts] == [8 * 6 * 2] * 2  # type: ignore[union-attr]


def test_the_z_loss_of_parts_adds_up_to_the_batchs(make_trainer: Callable[..., Trainer]) -> None:
    model = _model("tiny-moe")
    whole, parts = (make_trainer(model, micro, clip=0.0, router_z_loss_coef=0.5) for micro in (8, 3))
    whole.train_step(), parts.train_step()
    for name, gradient in _gradients(whole).items():
        torch.testing.assert_close(gradient, _gradients(parts)[name], rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.parametrize("count", [float("nan"), float("inf"), 1e300])
def test_counts_that_nobody_wrote_raise_nothing(make_trainer: Callable[..., Trainer], count: float) -> None:
    model = _model("tiny-moe")
    assert model.config.experts is not None
    recipe = make_trainer(model, router_aux_loss_coef=0.5, router_z_loss_coef=0.5).recipe
    balancer = Balancer(recipe, model.config.experts)
    balancer.begin(8)
    totals = torch.full((model.config.experts.num_experts + 1,), count, dtype=torch.float64)
    _, of_probability, _ = balancer.judged(totals, torch.ones(model.config.experts.num_experts))
    assert of_probability.shape == (model.config.experts.num_experts,)


def test_the_bias_moves_by_one_step_towards_experts_below_the_mean(
    make_trainer: Callable[..., Trainer],
) -> None:
    trainer = make_trainer(_model("tiny-moe-free"), micro=3, router_bias_update=0.01)
    use = trainer.train_step().experts
    assert use is not None
    (router,), (counts,) = _routers(trainer.model), use.counts
    mean = sum(counts) / 8
    expected = [0.01 if count < mean else -0.01 if count > mean else 0.0 for count in counts]
    assert router.e_score_correction_bias is not None
    assert router.e_score_correction_bias.tolist() == pytest.approx(expected)
    assert set(expected) > {0.01}


def test_a_step_of_nought_or_a_skipped_update_leaves_the_bias(
    make_trainer: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    still = make_trainer(_model("tiny-moe-free"), router_bias_update=0.0)
    skips = make_trainer(_model("tiny-moe-free"), router_bias_update=0.1)
    monkeypatch.setattr(skips, "_react", lambda *_: True)
    for trainer in (still, skips):
        trainer.train_step()
        bias = _routers(trainer.model)[0].e_score_correction_bias
        assert bias is not None and not bias.any()


def test_a_frozen_router_keeps_its_bias(make_trainer: Callable[..., Trainer]) -> None:
    trainer = make_trainer(_model("tiny-moe-free"), router_bias_update=0.1)
    (router,) = _routers(trainer.model)
    router.weight.requires_grad_(False)
    trainer.train_step()
    bias = router.e_score_correction_bias
    assert bias is not None and not bias.any()


@pytest.mark.parametrize(
    ("name", "recipe"),
    [("tiny-moe", {"router_aux_loss_coef": 0.05}), ("tiny-moe-free", {"router_bias_update": 0.02})],
)
def test_training_lowers_the_loss_and_evens_the_load(
    make_trainer: Callable[..., Trainer], make_rows: Callable[..., Any], name: str, recipe: dict[str, float]
) -> None:
    rows, model = make_rows(20), _model(name)
    rows.rows.tokens[:, 1:] = rows.rows.tokens[:, :1] * 3 % 32  # one word a row, which is then repeated
    with torch.no_grad():
        for router in _routers(model):  # everything to the same experts at first
            router.weight.mul_(0.1)
            router.weight[:2] += 0.3 * model.model.embed_tokens.weight.mean(0).sign()
            if router.e_score_correction_bias is not None:
                router.e_score_correction_bias[:2] = 0.1
    trainer, other = make_trainer(model, rows=rows, **recipe), make_trainer(model, rows=rows)
    ours, theirs = ([one.train_step() for _ in range(60)] for one in (trainer, other))
    assert ours[0].loss > 2.5 > 1.0 > ours[-1].loss

    def uneven(results: list[Any]) -> float:
        counts = np.sum([result.experts.counts for result in results[-10:]], axis=0)  # (layers, N)
        return float((counts.max(1) / counts.mean(1)).mean())

    assert uneven(ours) < 0.8 * uneven(ours[:10])
    assert uneven(ours) < uneven(theirs)


@pytest.mark.parametrize("name", ["tiny-moe", "tiny-moe-free"])
def test_a_resumed_mixture_goes_on_bit_for_bit(
    make_trainer: Callable[..., Trainer], tmp_path: Path, name: str
) -> None:
    recipe = {"router_aux_loss_coef": 0.01, "router_z_loss_coef": 0.001, "router_bias_update": 0.02}
    straight, first = (make_trainer(_model(name), micro=3, **recipe) for _ in range(2))
    expected = [straight.train_step() for _ in range(6)]
    done = [first.train_step() for _ in range(3)]
    save_trainer(first, tmp_path, threads=1)
    second = make_trainer(load_weights(tmp_path, CPU), micro=3, **recipe)
    restore_trainer(second, tmp_path, read_state(tmp_path))
    assert done + [second.train_step() for _ in range(3)] == expected
    ours, theirs = second.model.state_dict(), straight.model.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_validation_counts_no_loss_of_routers() -> None:
    model = _model("tiny-moe")
    rows = torch.randint(0, 32, (2, 9), generator=torch.Generator().manual_seed(0))
    expected = F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten(), reduction="sum")
    from llmkit.formats.shards import Rows

    held = Rows(rows.numpy().astype(np.uint32), np.zeros((2, 9), np.int32), np.ones((2, 9), bool))
    batch = build_batch(held, document_mask=True, device=CPU)
    torch.testing.assert_close(loss_sum(model, batch), expected)


def test_loads_are_over_the_mean_of_each_layer() -> None:
    use = ExpertUse(2.0, ((3, 1, 0, 0), (2, 2, 2, 2)))
    assert use.loads == [[3.0, 1.0, 0.0, 0.0], [1.0] * 4]
    assert use.max_load == 3.0
    assert ExpertUse(0.0, ()).max_load == 1.0


def test_a_dense_model_has_nothing_to_balance(
    make_trainer: Callable[..., Trainer], tiny_model: Transformer
) -> None:
    assert make_trainer(tiny_model).train_step().experts is None


def test_a_model_of_a_mixtures_family_without_experts_in_any_layer_has_nothing_to_balance(
    make_trainer: Callable[..., Trainer],
) -> None:
    mixture = preset("tiny-moe-free", vocab_size=32, max_position_embeddings=16, num_hidden_layers=1)
    assert mixture.model_type == "dots1" and mixture.experts is not None and mixture.sparse is None
    assert make_trainer(Transformer(mixture)).train_step().experts is None
