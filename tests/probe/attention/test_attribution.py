"""The parts of a logit: they add up to it, and a head's is what the head's output makes of it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from family_models import LATENT, LOCAL, make_pair
from torch import Tensor

from llmkit.probe.attention.ablate import Target
from llmkit.probe.attention.attribution import attribute_logit

IDS = torch.tensor([5, 9, 5, 9, 11, 3, 5])
GRANITE = {
    **{"embedding_multiplier": 3.0, "logits_scaling": 2.0},
    **{"residual_multiplier": 0.5, "attention_multiplier": 0.2},
}


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("llama", {"attention_bias": True}),
        ("gpt2", {}),
        ("gemma2", {"final_logit_softcapping": None}),
        ("olmo2", {}),
        ("gpt_neox", {}),
        ("cohere", {}),
        ("phi", {}),
        ("granite", GRANITE),
        ("gpt_oss", LOCAL),
        ("deepseek_v2", {**LATENT, "q_lora_rank": None}),
    ],
)
@torch.no_grad()
def test_the_parts_add_up_to_the_logit_of_transformers(
    family: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    pair = make_pair(family, changes, tmp_path)
    found = attribute_logit(pair.ours, IDS, Target(5, 17))
    theirs = float(pair.theirs(IDS[None]).logits[0, 5, 17])
    assert found.logit == pytest.approx(theirs, rel=1e-3, abs=1e-3)
    assert found.total == pytest.approx(theirs, rel=1e-3, abs=1e-3)
    spread = [abs(part) for layer in found.heads for part in layer]
    assert len(spread) == 16 and min(spread) > 0 and max(spread) > 0.01


@torch.no_grad()
def test_a_heads_part_is_its_output_over_the_last_norms_scale_by_the_tokens_row_of_the_head(
    tmp_path: Path,
) -> None:
    pair = make_pair("llama", {}, tmp_path)
    reads: list[Tensor] = []
    theirs = pair.theirs.get_submodule("model.layers.2.self_attn.o_proj")
    theirs.register_forward_pre_hook(lambda _, given: reads.append(given[0]))
    norm = pair.theirs.get_submodule("model.norm")
    norm.register_forward_pre_hook(lambda _, given: reads.append(given[0]))
    pair.theirs(IDS[None])
    mixed, final = reads[0][0, 5], reads[1][0, 5]
    rms = (final.square().mean() + norm.variance_epsilon).sqrt()
    head = theirs.weight[:, 16:32] @ mixed[16:32]  # head 1 of 16 numbers
    by_hand = (head / rms * norm.weight) @ pair.theirs.lm_head.weight[17]
    found = attribute_logit(pair.ours, IDS, Target(5, 17))
    assert found.heads[2][1] == pytest.approx(float(by_hand), rel=1e-3, abs=1e-5)


def test_the_logit_is_taken_before_its_capping(tmp_path: Path) -> None:
    pair = make_pair("gemma2", {"final_logit_softcapping": 3.0}, tmp_path)
    found = attribute_logit(pair.ours, IDS, Target(5, 17))
    assert found.total == pytest.approx(found.logit, rel=1e-3, abs=1e-3)
    with torch.no_grad():
        capped = float(pair.theirs(IDS[None]).logits[0, 5, 17])
    assert capped == pytest.approx(3.0 * float(torch.tanh(torch.tensor(found.logit / 3.0))), rel=1e-3)
    assert found.capped_logit == pytest.approx(capped, rel=1e-3)
    plain = make_pair("gemma2", {"final_logit_softcapping": None}, tmp_path)
    assert attribute_logit(plain.ours, IDS, Target(5, 17)).capped_logit is None
