"""Updates: against PyTorch's own pieces, in parts and whole, with bad batches, and resumed."""

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from llmkit.errors import LlmkitError
from llmkit.formats.checkpoint import read_state
from llmkit.model.transformer import Transformer
from llmkit.train.guard import MOST_LEFT_OUT, BadUpdateError, Spike
from llmkit.train.order import RowOrder
from llmkit.train.parallel.divided import Divided
from llmkit.train.schedule import learning_rate
from llmkit.train.state import load_weights, restore_trainer
from llmkit.train.trainer import Trainer
from tests.train.saved import save_trainer


@pytest.fixture
def make_trainer(
    make_recipe: Callable[..., Any], make_rows: Callable[..., Any], tiny_model: Transformer
) -> Callable[..., Trainer]:
    """A Trainer over 20 rows, with some settings changed."""

    def make(
        model: Transformer | None = None,
        *,
        rows: Any = None,
        micro: int = 4,
        on_nonfinite: Any = "stop",
        on_spike: Any = "ignore",
        compile_model: bool = False,
        **recipe: Any,
    ) -> Trainer:
        rows = rows or make_rows(20, documents=2, masked=0.2)
        fields = {
            "lr": 0.01,
            "batch_rows": 4,
            "rows": len(rows),
            "model": tiny_model.config.to_hf(),
            **recipe,
        }
        return Trainer(
            Divided(copy.deepcopy(model or tiny_model), compiles=compile_model),
            rows,
            make_recipe(**fields),
            micro_batch_rows=micro,
            on_nonfinite=on_nonfinite,
            on_spike=on_spike,
        )

    return make


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_updates_are_those_of_pytorchs_own_adamw_clipping_and_mean_loss(
    make_trainer: Callable[..., Trainer], make_rows: Callable[..., Any], tiny_model: Transformer
) -> None:
    rows = make_rows(20)
    trainer = make_trainer(rows=rows, clip=0.5)
    model = copy.deepcopy(tiny_model)
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}],
        betas=(0.9, 0.95),
    )
    order = RowOrder(20, seed=0)
    for step in range(5):
        result = trainer.train_step()
        tokens = torch.from_numpy(rows.rows.tokens[order.take(step * 4, 4)].astype(np.int64))
        loss = F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(trainer.recipe, step)
        optimizer.step()
        optimizer.zero_grad()
        assert result.loss == pytest.approx(loss.item(), rel=1e-5)
        assert result.grad_norm == pytest.approx(norm.item(), rel=1e-4)
    for name, parameter in trainer.model.named_parameters():
        torch.testing.assert_close(parameter, model.get_parameter(name), rtol=1e-4, atol=1e-5)


def test_one_pass_over_eight_rows_equals_eight_passes_over_one(make_trainer: Callable[..., Trainer]) -> None:
    whole, parts = make_trainer(micro=8, batch_rows=8), make_trainer(micro=1, batch_rows=8)
    for _ in range(3):
        one, other = whole.train_step(), parts.train_step()
        assert one.loss == pytest.approx(other.loss, rel=1e-6)
        assert one.grad_norm == pytest.approx(other.grad_norm, rel=1e-5)
    for name, tensor in weights(whole).items():
        torch.testing.assert_close(tensor, weights(parts)[name], rtol=1e-4, atol=1e-5)


def test_the_loss_falls_on_text_that_can_be_learnt(
    make_trainer: Callable[..., Trainer], make_rows: Callable[..., Any]
) -> None:
    rows = make_rows(20)
    rows.rows.tokens[:] = np.arange(9) % 4
    trainer = make_trainer(rows=rows)
    losses = [trainer.train_step().loss for _ in range(60)]
    assert losses[0] > 3.0
    assert losses[-1] < 0.1


def test_the_same_seed_gives_the_same_weights_and_another_seed_another_order(
    make_trainer: Callable[..., Trainer],
) -> None:
    trainers = [make_trainer(), make_trainer(), make_trainer(seed=1)]
    for trainer in trainers:
        for _ in range(5):
            trainer.train_step()
    assert same(weights(trainers[0]), weights(trainers[1]))
    assert not same(weights(trainers[0]), weights(trainers[2]))


def test_a_saved_and_restored_trainer_goes_on_bit_for_bit(
    make_trainer: Callable[..., Trainer], tmp_path: Path
) -> None:
    straight, first = make_trainer(), make_trainer()
    expected = [straight.train_step() for _ in range(10)]
    done = [first.train_step() for _ in range(5)]
    save_trainer(first, tmp_path, threads=1)
    second = make_trainer(load_weights(tmp_path, torch.device("cpu")))
    restore_trainer(second, tmp_path, read_state(tmp_path))
    assert done + [second.train_step() for _ in range(5)] == expected
    assert same(weights(second), weights(straight))
    assert same(second.state_tensors(), straight.state_tensors())
    assert second.state() == straight.state()


def poison(trainer: Trainer, *steps: int) -> None:
    """Make the gradient of some steps not a number."""
    original = trainer.divided.finish_gradients

    def finish() -> list[Tensor]:
        gradients = original()
        if trainer.step + 1 in steps:
            gradients[0].fill_(math.nan)
        return gradients

    trainer.divided.finish_gradients = finish  # type: ignore[method-assign]


def test_a_gradient_that_is_not_finite_stops_the_run_before_it_touches_the_weights(
    make_trainer: Callable[..., Trainer],
) -> None:
    trainer = make_trainer()
    poison(trainer, 3)
    trainer.train_step(), trainer.train_step()
    before = weights(trainer)
    with pytest.raises(LlmkitError, match=r"step 3: the loss or its gradient is not finite") as caught:
        trainer.train_step()
    assert "--on-nonfinite skip" in caught.value.hint
    assert same(weights(trainer), before)


def test_skipping_leaves_the_update_out_and_goes_on(make_trainer: Callable[..., Trainer]) -> None:
    trainer = make_trainer(on_nonfinite="skip")
    poison(trainer, 3)
    trainer.train_step(), trainer.train_step()
    before = weights(trainer)
    assert trainer.train_step().skipped == "nonfinite"
    assert same(weights(trainer), before)
    assert trainer.train_step().skipped is None
    assert (trainer.step, trainer.skipped) == (4, 1)
    assert not same(weights(trainer), before)


@pytest.mark.parametrize("reaction", ["ignore", "skip", "stop"])
def test_a_spike_is_learnt_from_skipped_or_the_end(
    make_trainer: Callable[..., Trainer], reaction: str
) -> None:
    trainer = make_trainer(on_spike=reaction)
    trainer.guard.restore({"losses": [0.01, 0.02] * 50, "grad_norms": [1e9, 2e9] * 50})
    before = weights(trainer)
    if reaction == "stop":
        with pytest.raises(LlmkitError, match=r"is a spike .*usual: loss below") as caught:
            trainer.train_step()
        assert "--on-spike skip" in caught.value.hint
    else:
        assert trainer.train_step().skipped == ("spike" if reaction == "skip" else None)
    assert same(weights(trainer), before) == (reaction != "ignore")


@pytest.mark.parametrize("reaction", ["stop", "rewind"])
def test_a_spike_that_ends_a_run_is_no_part_of_what_is_usual_and_leaves_no_trace(
    make_trainer: Callable[..., Trainer], reaction: str
) -> None:
    trainer = make_trainer(on_spike=reaction)
    trainer.guard.restore({"losses": [0.01, 0.02] * 50, "grad_norms": [1e9, 2e9] * 50})
    loss_limit, norm_limit = trainer.guard.limits()
    assert loss_limit is not None and loss_limit < 0.05
    before, tensors = trainer.state(), trainer.state_tensors()
    with pytest.raises((BadUpdateError, Spike)) as caught:
        trainer.train_step()
    if isinstance(caught.value, BadUpdateError):
        assert f"usual: loss below {loss_limit:.4g}, norm below {norm_limit:.4g})" in caught.value.problem
    assert trainer.state() == before and same(trainer.state_tensors(), tensors)
    assert all(parameter.grad is None for parameter in trainer.model.parameters())


def test_updates_are_left_out_so_often_in_a_row_and_one_more_ends_the_run(
    make_trainer: Callable[..., Trainer],
) -> None:
    trainer = make_trainer(on_nonfinite="skip")
    bad = range(3, 3 + MOST_LEFT_OUT + 1)
    poison(trainer, 1, *bad)
    counts = []
    for _ in range(2 + MOST_LEFT_OUT):
        trainer.train_step()
        counts.append(trainer.left_out)
    assert counts == [1, 0, *range(1, MOST_LEFT_OUT + 1)]
    before = trainer.state()
    assert before["left_out"] == MOST_LEFT_OUT
    with pytest.raises(BadUpdateError, match=r"not finite .* after 32 updates in a row") as caught:
        trainer.train_step()
    assert caught.value.left_out == MOST_LEFT_OUT
    assert trainer.state() == before
    again = make_trainer(on_nonfinite="skip")
    poison(again, *bad)
    again.restore(before, trainer.state_tensors())
    with pytest.raises(BadUpdateError, match="after 32 updates in a row"):
        again.train_step()


def test_clipping_bounds_the_update_and_zero_leaves_it(make_trainer: Callable[..., Trainer]) -> None:
    clipped, free = make_trainer(clip=1e-3), make_trainer(clip=0.0)
    assert clipped.train_step().grad_norm == free.train_step().grad_norm > 1e-3
    # AdamW's first moment is a tenth of the gradient it was given
    first = torch.cat(
        [t.flatten() for name, t in clipped.state_tensors().items() if name.endswith("exp_avg")]
    )
    other = torch.cat([t.flatten() for name, t in free.state_tensors().items() if name.endswith("exp_avg")])
    assert first.norm().item() == pytest.approx(1e-4, rel=1e-3)
    assert other.norm().item() > 1e-2


def test_weight_decay_is_on_matrices_alone(make_trainer: Callable[..., Trainer]) -> None:
    groups = make_trainer(weight_decay=0.3).optimizer.groups
    assert {
        (parameter.dim() >= 2, group.weight_decay) for group in groups for parameter in group.parameters
    } == {
        (True, 0.3),
        (False, 0.0),
    }


def test_bfloat16_arithmetic_keeps_float32_weights_and_nearly_the_loss(
    make_trainer: Callable[..., Trainer],
) -> None:
    exact, rough = make_trainer(), make_trainer(dtype="bfloat16")
    one, other = exact.train_step(), rough.train_step()
    assert one.loss != other.loss
    assert other.loss == pytest.approx(one.loss, rel=0.02)
    assert {tensor.dtype for tensor in weights(rough).values()} == {torch.float32}
