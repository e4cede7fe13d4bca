"""Heads taken out, against the same columns of transformers' o_proj set to zero."""

from pathlib import Path

import pytest
import torch
from family_models import make_pair
from torch import Tensor
from torch.nn import functional as F

from llmkit.errors import UsageError
from llmkit.probe.attention.ablate import Target, ablate_heads, target_of, without_head

IDS = torch.tensor([5, 9, 5, 9, 11, 3, 5])
WATCHED = Target(position=3, id=11)


def differences(whole: Tensor, changed: Tensor) -> tuple[float, float, float, float]:
    """Loss, KL, logit and probability, by the book."""
    p, q = whole.double().log_softmax(-1), changed.double().log_softmax(-1)
    loss = F.nll_loss(q[:-1], IDS[1:]) - F.nll_loss(p[:-1], IDS[1:])
    kl = F.kl_div(q, p, log_target=True, reduction="batchmean")
    logit = changed[3, 11] - whole[3, 11]
    return float(loss), float(kl), float(logit), float(q[3, 11].exp() - p[3, 11].exp())


@pytest.mark.parametrize(
    ("family", "changes"),
    [("llama", {}), ("gemma2", {}), ("gpt2", {}), ("gpt_oss", {"num_local_experts": 4})],
)
@torch.no_grad()
def test_a_head_at_zero_is_its_columns_of_o_proj_at_zero_in_transformers(
    family: str, changes: dict[str, int], tmp_path: Path
) -> None:
    pair = make_pair(family, changes, tmp_path)
    layer, head = 1, 2
    (ours,) = ablate_heads(pair.ours, IDS, [(layer, head)], WATCHED)
    whole = pair.theirs(IDS[None]).logits[0]
    if family == "gpt2":  # a Conv1D: rows are what is read
        weight = pair.theirs.get_submodule(f"transformer.h.{layer}.attn.c_proj").weight
        weight[16 * head : 16 * (head + 1)] = 0.0
    else:
        weight = pair.theirs.get_submodule(f"model.layers.{layer}.self_attn.o_proj").weight
        weight[:, 16 * head : 16 * (head + 1)] = 0.0
    changed = pair.theirs(IDS[None]).logits[0]
    found = (ours.loss_change, ours.kl, ours.logit_change, ours.probability_change)
    assert found == pytest.approx(differences(whole, changed), rel=2e-3, abs=2e-5)
    assert (ours.layer, ours.head) == (layer, head) and ours.kl > 1e-4


@torch.no_grad()
def test_a_head_at_its_mean_is_a_constant_added_to_the_layer(tmp_path: Path) -> None:
    ours = make_pair("llama", {}, tmp_path).ours
    o_proj = ours.get_submodule("model.layers.1.self_attn.o_proj")
    read: list[Tensor] = []
    handle = o_proj.register_forward_pre_hook(lambda _, given: read.append(given[0]))
    ours(IDS[None])
    handle.remove()
    (mean,) = ablate_heads(ours, IDS, [(1, 2)], WATCHED, by="mean")
    (zero,) = ablate_heads(ours, IDS, [(1, 2)], WATCHED)
    whole = ours(IDS[None])[0]
    columns = o_proj.weight[:, 32:48]
    constant = columns @ read[0][0, :, 32:48].mean(0)
    columns.zero_()
    o_proj.bias = torch.nn.Parameter(constant)
    by_hand = differences(whole, ours(IDS[None])[0])
    assert (mean.loss_change, mean.kl) == pytest.approx(by_hand[:2], rel=1e-3, abs=1e-5)
    assert mean.kl != pytest.approx(zero.kl, rel=1e-3)


@torch.no_grad()
def test_a_latent_head_is_taken_out_by_the_width_of_its_values(tmp_path: Path) -> None:
    from family_models import LATENT

    ours = make_pair("deepseek_v2", {**LATENT, "q_lora_rank": None}, tmp_path).ours
    without = without_head(ours, IDS, 1, 2)
    ours.get_submodule("model.layers.1.self_attn.o_proj").weight[:, 24:36] = 0.0  # v_head_dim is 12
    torch.testing.assert_close(without, ours.hidden(IDS[None])[0])


def test_what_is_watched_is_the_token_given_the_next_one_or_the_most_probable(tmp_path: Path) -> None:
    ours = make_pair("llama", {}, tmp_path).ours
    assert target_of(ours, IDS, 3) == Target(3, 11)
    assert target_of(ours, IDS, -2, token=1) == Target(5, 1)
    assert target_of(ours, IDS) == Target(6, int(ours(IDS[None])[0, -1].argmax()))
    with pytest.raises(UsageError, match="no token 96"):
        target_of(ours, IDS, token=96)


def test_one_token_has_no_loss_and_a_head_that_is_not_there_is_refused(tmp_path: Path) -> None:
    ours = make_pair("llama", {}, tmp_path).ours
    (one,) = ablate_heads(ours, IDS[:1], [(0, 0)], Target(0, 3))
    assert one.loss_change is None and one.kl > 0
    with pytest.raises(UsageError, match=r"no head 4\.0 \(found 4 layers of 4 heads\)"):
        list(ablate_heads(ours, IDS, [(4, 0)], WATCHED))
