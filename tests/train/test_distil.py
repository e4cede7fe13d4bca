"""Distillation against torch's own KL, on all logits at once."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from llmkit.errors import ConfigError, UsageError
from llmkit.model.init import initialise
from llmkit.model.transformer import Transformer
from llmkit.train import distil
from llmkit.train.cross_entropy import IGNORED
from llmkit.train.distil import Distil, distil_losses
from llmkit.train.loss import build_batch

CPU = torch.device("cpu")


@pytest.fixture
def teacher(tiny_model: Transformer) -> Transformer:
    model = Transformer(replace(tiny_model.config, num_hidden_layers=1, intermediate_size=24))
    initialise(model, torch.Generator().manual_seed(7))
    return model


def test_two_tokens_by_hand() -> None:
    student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0986123, 0.0]])  # 1/2 1/2, 3/4 1/4
    # 3/4 ln(3/2) + 1/4 ln(1/2), and 1/2 ln(2/3) + 1/2 ln 2
    assert distil_losses(student, teacher).item() == pytest.approx(0.1308121, abs=1e-6)
    assert distil_losses(student, teacher, direction="reverse").item() == pytest.approx(0.1438410, abs=1e-6)


@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize("chunk", [4, 1000])
def test_the_loss_and_its_gradient_are_torchs_kl_on_the_learnt_tokens(
    tiny_model: Transformer,
    teacher: Transformer,
    make_rows: Callable[..., Any],
    direction: Any,
    chunk: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(distil, "head_chunk", lambda _: chunk)
    batch = build_batch(make_rows(4, documents=2, masked=0.4).rows, document_mask=True, device=CPU)
    learnt = batch.targets != IGNORED
    logits = tiny_model(batch.ids, segments=batch.segments)[learnt]
    student = (logits / 2).log_softmax(-1)
    with torch.no_grad():
        told = (teacher(batch.ids, segments=batch.segments)[learnt] / 2).log_softmax(-1)
    of, against = (told, student) if direction == "forward" else (student, told)
    kl = 4 * F.kl_div(against, of, reduction="sum", log_target=True)
    nll = F.cross_entropy(logits, batch.targets[learnt], reduction="sum")
    (0.75 * kl + 0.25 * nll).backward()
    expected = [one.grad.clone() for one in tiny_model.parameters() if one.grad is not None]
    tiny_model.zero_grad()

    objective = Distil(teacher, temperature=2.0, direction=direction, hard_weight=0.25)
    loss, figures = objective.loss_sum(tiny_model, batch)
    loss.backward()
    assert objective.units(batch) == batch.count
    assert loss.item() == pytest.approx((0.75 * kl + 0.25 * nll).item(), rel=1e-6)
    assert figures == pytest.approx({"kl": kl.item(), "nll": nll.item()}, rel=1e-5)
    for one, gradient in zip(tiny_model.parameters(), expected, strict=True):
        assert one.grad is not None
        torch.testing.assert_close(one.grad, gradient, rtol=1e-4, atol=1e-6)
    assert not any(one.grad is not None for one in teacher.parameters())
    parts = [objective.loss_sum(tiny_model, part)[0].item() for part in batch.split(1)]
    assert sum(parts) == pytest.approx(loss.item(), rel=1e-5)


def test_a_teacher_with_another_vocabulary_is_refused(
    tiny_model: Transformer, make_rows: Callable[..., Any]
) -> None:
    batch = build_batch(make_rows(2).rows, document_mask=True, device=CPU)
    other = Transformer(replace(tiny_model.config, vocab_size=33))
    with pytest.raises(ConfigError, match="33 tokens and the model 32"):
        Distil(other).for_batch(tiny_model, batch, 2)
    with pytest.raises(UsageError, match="temperature"):
        Distil(other, temperature=0)
    with pytest.raises(UsageError, match="weight"):
        Distil(other, hard_weight=2)
