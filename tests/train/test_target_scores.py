"""Scores of the targets that carry loss against the plain loss, on whole models."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from llmkit.model.adapters.add_lora import add_lora
from llmkit.model.adapters.config import LoraConfig
from llmkit.model.config_parts import ExpertsConfig
from llmkit.model.init import initialise
from llmkit.model.routing import RoutingTape
from llmkit.model.transformer import Transformer
from llmkit.train import target_scores
from llmkit.train.cross_entropy import IGNORED
from llmkit.train.loss import build_batch, loss_sum
from llmkit.train.target_scores import learnt_places, only_scoring, target_logps, target_nats

CPU = torch.device("cpu")
CHANGES: dict[str, dict[str, Any]] = {
    "plain": {},
    "tied": {"tie_word_embeddings": True},
    "capped": {"final_logit_softcapping": 2.0, "logit_scale": 0.5},
}


@pytest.fixture(params=CHANGES)
def model(request: pytest.FixtureRequest, tiny_model: Transformer) -> Transformer:
    config = copy.copy(tiny_model.config)
    for name, value in CHANGES[request.param].items():
        object.__setattr__(config, name, value)  # no family has this mixture
    model = Transformer(config)
    initialise(model, torch.Generator().manual_seed(1))
    return model


def grads(model: Transformer) -> dict[str, torch.Tensor]:
    found = {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}
    model.zero_grad()
    return found


@pytest.mark.parametrize("chunk", [3, 1000])
def test_nats_and_gradients_are_those_of_the_plain_loss(
    model: Transformer, make_rows: Callable[..., Any], chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target_scores, "head_chunk", lambda _: chunk)
    batch = build_batch(make_rows(5, documents=2, masked=0.4).rows, document_mask=True, device=CPU)
    plain = loss_sum(model, batch)
    plain.backward()
    expected = grads(model)
    assert set(expected) == {name for name, _ in model.named_parameters()}
    for loss in (target_nats(model, batch), -target_logps(model, batch).sum()):
        assert loss.item() == pytest.approx(plain.item(), rel=1e-6)
        loss.backward()
        found = grads(model)
        for name, gradient in expected.items():
            torch.testing.assert_close(found[name], gradient, rtol=1e-5, atol=3e-6, msg=name)


def test_a_frozen_head_gives_the_gradients_of_the_rest(
    tiny_model: Transformer, make_rows: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target_scores, "head_chunk", lambda _: 3)
    tiny_model.lm_head.requires_grad_(False)
    batch = build_batch(make_rows(5, masked=0.4).rows, document_mask=True, device=CPU)
    loss_sum(tiny_model, batch).backward()
    expected = grads(tiny_model)
    for loss in (target_nats(tiny_model, batch), -target_logps(tiny_model, batch).sum()):
        loss.backward()
        for name, gradient in grads(tiny_model).items():
            torch.testing.assert_close(gradient, expected[name], rtol=1e-5, atol=1e-6, msg=name)


def test_each_target_has_its_own_log_probability(
    tiny_model: Transformer, make_rows: Callable[..., Any]
) -> None:
    batch = build_batch(make_rows(3, masked=0.5).rows, document_mask=True, device=CPU)
    for temperature in (1.0, 0.7):
        table = (tiny_model(batch.ids).double() / temperature).log_softmax(-1)
        expected = [
            table[row, place, batch.targets[row, place]].item()
            for row in range(3)
            for place in range(8)
            if batch.targets[row, place] != IGNORED
        ]
        found = target_logps(tiny_model, batch, temperature=temperature)
        assert found.tolist() == pytest.approx(expected, abs=1e-5)
    assert len(learnt_places(batch)) == batch.count == len(expected)


def test_with_bfloat16_arithmetic_chunks_learn_what_one_pass_learns(
    tiny_model: Transformer, make_rows: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = build_batch(make_rows(5).rows, document_mask=True, device=CPU)
    monkeypatch.setattr(target_scores, "head_chunk", lambda _: 3)
    found = []
    for scores in (loss_sum, target_nats, target_logps):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = scores(tiny_model, batch).sum()
        loss.abs().backward()
        found.append(grads(tiny_model))
    for name, gradient in found[0].items():
        for other in found[1:]:
            close = torch.nn.functional.cosine_similarity(gradient.flatten(), other[name].flatten(), dim=0)
            assert close > 0.999, name


def test_scoring_inside_autocast_takes_no_gradient_from_what_is_learnt_after_it(
    tiny_model: Transformer, make_rows: Callable[..., Any]
) -> None:
    batch = build_batch(make_rows(2).rows, document_mask=True, device=CPU)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with only_scoring(tiny_model) as scorer:
            assert not scorer.training
            assert not target_nats(scorer, batch).requires_grad
        assert tiny_model.training
        target_nats(tiny_model, batch).backward()
    assert set(grads(tiny_model)) == {name for name, _ in tiny_model.named_parameters()}


@pytest.mark.parametrize("kept", [(), ("embed_tokens",)])
@pytest.mark.parametrize(
    ("targets", "tied"),
    [(("lm_head", "q_proj"), False), (("q_proj", "down_proj"), False), (("q_proj", "down_proj"), True)],
)
def test_adapters_learn_what_one_pass_teaches_them(
    tiny_model: Transformer,
    make_rows: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    targets: tuple[str, ...],
    kept: tuple[str, ...],
    tied: bool,
) -> None:
    model = Transformer(replace(tiny_model.config, tie_word_embeddings=tied))
    initialise(model, torch.Generator().manual_seed(1))
    add_lora(model, LoraConfig(r=2, targets=targets, modules_to_save=kept), 0)
    with torch.no_grad():
        for one in model.parameters():
            one += 0.05 * one.requires_grad
    monkeypatch.setattr(target_scores, "head_chunk", lambda _: 3)
    batch = build_batch(make_rows(5, masked=0.4).rows, document_mask=True, device=CPU)
    loss_sum(model, batch).backward()
    expected = grads(model)
    for loss in (target_nats(model, batch), -target_logps(model, batch).sum()):
        loss.backward()
        found = grads(model)
        assert set(found) == set(expected)
        for name, gradient in expected.items():
            torch.testing.assert_close(found[name], gradient, rtol=1e-5, atol=1e-5, msg=name)


@pytest.mark.parametrize("trained", [True, False])
def test_logits_of_a_batch_are_never_held_whole(
    tiny_model: Transformer,
    make_rows: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    make_largest: Callable[[], Any],
    trained: bool,
) -> None:
    model = Transformer(replace(tiny_model.config, vocab_size=3000))
    model.lm_head.requires_grad_(trained)
    monkeypatch.setattr(target_scores, "head_chunk", lambda _: 4)
    batch = build_batch(make_rows(5).rows, document_mask=True, device=CPU)  # 40 targets
    for scores in (target_nats, target_logps):
        with make_largest() as largest:
            scores(model, batch).sum().backward()
        assert largest.values == 3000 * 16  # the embeddings; a chunk is 3000 * 4
    with make_largest() as largest:
        loss_sum(model, batch).backward()
    assert largest.values == 3000 * 40


def test_the_tape_hears_of_the_pass_that_is_learnt_from(
    tiny_model: Transformer, make_rows: Callable[..., Any]
) -> None:
    config = replace(
        tiny_model.config,
        model_type="qwen3_moe",
        experts=ExpertsConfig(num_experts=4, num_experts_per_tok=2, intermediate_size=8, layers=(0, 1)),
    )
    model = Transformer(config)
    initialise(model, torch.Generator().manual_seed(1))
    batch = build_batch(make_rows(2).rows, document_mask=True, device=CPU)
    tape = RoutingTape()
    target_nats(model, batch, tape)
    assert [int(counts.sum()) for counts in tape.expert_counts().values()] == [2 * 8 * 2] * 2
