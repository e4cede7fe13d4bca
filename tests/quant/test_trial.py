"""Trials against whole forward passes of changed models, in double precision."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from llmkit.errors import DataError
from llmkit.model.transformer import Transformer
from llmkit.quant.divergence import scored_positions
from llmkit.quant.trial import Trials
from tests.quant.small_models import experts, model

IDS = torch.randint(96, (3, 24), generator=torch.Generator().manual_seed(1))
FAMILIES = {
    "llama": {},
    "tied": {"tie_word_embeddings": True},
    "gemma2": {
        **{"model_type": "gemma2", "norm_plus_one": True, "norm_placement": "both", "embedding_scale": 16.0},
        **{"attention_scale": 0.25, "hidden_act": "gelu_pytorch_tanh", "tie_word_embeddings": True},
        **{"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0},
        **{"sliding_window": 8, "sliding_layers": (0, 2)},
    },
    "experts": {"model_type": "qwen3_moe", "qk_norm": "head", "experts": experts()},
}


def plain_divergence(original: Transformer, changed: Transformer) -> float:
    """Mean KL divergence of two whole passes in float64."""
    with torch.no_grad():
        base, own = (copy.deepcopy(one).double()(IDS).log_softmax(-1) for one in (original, changed))
    kld = (base.exp() * (base - own)).sum(-1)
    return float(kld[:, scored_positions(IDS.shape[1])].mean())


def noise_for(weight: Tensor) -> Tensor:
    return weight * (1 + 0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(7)))


@pytest.mark.parametrize("changes", FAMILIES.values(), ids=FAMILIES)
def test_a_changed_layer_moves_the_text_as_a_whole_pass_does(changes: dict[str, Any]) -> None:
    original = model(**changes)
    trials = Trials(original, IDS)
    states = trials.through(0, trials.embedded())
    block = trials.block(1)
    block.self_attn.o_proj.weight.data = noise_for(block.self_attn.o_proj.weight.data)
    moved = trials.divergence(trials.rest(2, trials.through(1, states, block)))
    changed = copy.deepcopy(original)
    output: nn.Module = changed.get_submodule("model.layers.1.self_attn.o_proj")
    assert isinstance(output, nn.Linear)
    output.weight.data = noise_for(output.weight.data)
    assert moved.mean()[0] == pytest.approx(plain_divergence(original, changed), rel=1e-3)
    assert moved.mean()[0] > 1e-5
    assert moved.positions == trials.positions == 3 * 11  # 12 … 22 of 24


@pytest.mark.parametrize("tied", [True, False])
def test_changed_embeddings_and_heads_do_too(tied: bool) -> None:
    original = model(tie_word_embeddings=tied)
    trials = Trials(original, IDS)
    weight = noise_for(original.model.embed_tokens.weight.detach())
    states = trials.rest(0, trials.embedded(weight))
    moved = trials.divergence(states, weight if tied else None)
    changed = copy.deepcopy(original)
    changed.model.embed_tokens.weight.data = weight
    assert moved.mean()[0] == pytest.approx(plain_divergence(original, changed), rel=1e-3)
    if not tied:
        head = noise_for(original.lm_head.weight.detach())
        moved = trials.divergence(trials.rest(0, trials.embedded()), head)
        changed = copy.deepcopy(original)
        changed.lm_head.weight.data = head
        assert moved.mean()[0] == pytest.approx(plain_divergence(original, changed), rel=1e-3)


def test_without_a_change_nothing_moves_and_the_model_is_as_before() -> None:
    original = model()
    before = copy.deepcopy(original.state_dict())
    trials = Trials(original, IDS)
    assert trials.divergence(trials.rest(0, trials.embedded())).mean()[0] == 0.0
    assert all(torch.equal(value, before[name]) for name, value in original.state_dict().items())
    assert isinstance(original.lm_head, nn.Linear)


def test_logits_in_pieces_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    original = model()
    trials = Trials(original, IDS)
    states = trials.embedded()  # as if all layers had been left out: far off
    whole = trials.divergence(states).report()
    monkeypatch.setattr("llmkit.quant.trial._LOGITS", 500)
    monkeypatch.setattr("llmkit.quant.trial._KEPT_LOGITS", 0)
    pieces = Trials(original, IDS).divergence(states).report()
    assert pieces.kld == pytest.approx(whole.kld, rel=1e-5)
    assert whole.kld > 0.01


def test_a_model_in_16_bits_is_computed_in_float32() -> None:
    narrow = model().to(torch.bfloat16)
    wide = copy.deepcopy(narrow).float()
    hidden = [Trials(one, IDS).hidden for one in (narrow, wide)]
    assert torch.equal(*hidden)
    assert next(narrow.parameters()).dtype == torch.bfloat16


def test_rows_too_short_to_score_are_refused() -> None:
    with pytest.raises(DataError, match="rows of 2 tokens have no position"):
        Trials(model(), IDS[:, :2])
