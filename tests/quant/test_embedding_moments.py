"""What errors in an embedding cost, against the divergence that they are measured to cause."""

import pytest
import torch

from llmkit.model.transformer import Transformer
from llmkit.quant import embedding_moments as module
from llmkit.quant.embedding_moments import embedding_moments
from llmkit.quant.stream import with_float32_ends
from llmkit.quant.workers import Workers
from tests.quant.small_models import model as small_model


@pytest.fixture
def model() -> Transformer:
    return small_model()


def test_half_of_e_f_e_is_the_divergence_that_small_errors_cause(model: Transformer) -> None:
    generator = torch.Generator().manual_seed(0)
    ids, others = torch.randint(model.config.vocab_size, (2, 64, 16), generator=generator)
    moments = embedding_moments(model, ids, model.logits)
    plain = moments.second.clone()
    share = module._DAMPING / (1 + module._DAMPING)
    plain.diagonal().sub_(share * plain.diagonal().mean())  # the mean has it too
    weight = model.model.embed_tokens.weight
    # errors along some directions alone, so that a matrix of another shape would be found out
    basis = torch.linalg.eigh(embedding_moments(model, others, model.logits).second)[1]
    small = 0.004 * weight.detach().std()
    for directions in (basis[:, :40], basis[:, -40:]):
        errors = small * torch.randn(len(weight), 40, generator=generator) @ directions.T
        with torch.no_grad():
            before = model(ids).double().log_softmax(-1)
            weight.add_(errors)
            after = model(ids).double().log_softmax(-1)
            weight.sub_(errors)
        measured = float((before.exp() * (before - after)).sum(-1).mean())
        told = 0.5 * float(((errors @ plain) * errors).sum(1).mean()) / moments.count
        assert told == pytest.approx(measured, rel=0.25)


def test_moments_are_the_same_from_any_number_of_workers_and_leave_the_model_alone(
    model: Transformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_TOKENS", 32)
    ids = torch.randint(model.config.vocab_size, (6, 16), generator=torch.Generator().manual_seed(1))
    half = model.bfloat16()
    with_float32_ends(half)
    head = torch.nn.Linear(256, model.config.vocab_size, bias=False)
    kept = {name: value.clone() for name, value in half.state_dict().items()}
    found = []
    for count in (1, 3):
        with Workers(count) as workers:
            found.append(embedding_moments(half, ids, head, workers))
    assert torch.equal(found[0].second, found[1].second)
    assert found[0].count == 96
    assert all(torch.equal(value, kept[name]) for name, value in half.state_dict().items())


def test_a_long_text_is_drawn_from_all_over(model: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_POSITIONS", 40)
    ids = torch.randint(model.config.vocab_size, (9, 16), generator=torch.Generator().manual_seed(1))
    some = embedding_moments(model, ids, model.logits)
    assert some.count == 32
    assert torch.equal(some.second, embedding_moments(model, ids[[0, 8]], model.logits).second)
