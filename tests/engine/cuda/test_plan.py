"""What runs how, and that a user is told why it is not the quickest way."""

from typing import Any

import pytest
import torch

from llmkit.engine.cuda import plan as plan_module
from llmkit.engine.cuda.plan import (
    PagePlan,
    plan_pages,
    why_no_graphs,
    why_no_kernels,
    why_not_paged,
)
from llmkit.model.config import ModelConfig
from llmkit.model.config_parts import ExpertsConfig
from tests.model.recurrent.conftest import hybrid

BASE: dict[str, Any] = {
    **{"vocab_size": 64, "hidden_size": 64, "intermediate_size": 32, "num_hidden_layers": 2},
    **{"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64},
}
EXPERTS: dict[str, Any] = {
    "model_type": "mixtral",
    "experts": ExpertsConfig(
        num_experts=4, num_experts_per_tok=2, intermediate_size=32, layers=(0, 1), norm_topk_prob=True
    ),
}
CAPPED: dict[str, Any] = {
    **{"model_type": "gemma2", "norm_plus_one": True, "norm_placement": "both", "embedding_scale": 8.0},
    "attention_scale": 0.25,
    **{"hidden_act": "gelu_pytorch_tanh", "attn_logit_softcapping": 50.0, "tie_word_embeddings": True},
}
DYNAMIC = {"rope_type": "dynamic", "factor": 2.0, "original_max_position_embeddings": 32}
CUDA = torch.device("cuda")


def _config(**fields: Any) -> ModelConfig:
    return ModelConfig(**(BASE | fields))


@pytest.fixture
def hopper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(plan_module, "find_spec", lambda name: name)


def test_a_cpu_has_no_pages() -> None:
    assert plan_pages(_config(), torch.bfloat16, torch.device("cpu")) == PagePlan(None)


@pytest.mark.usefixtures("hopper")
@pytest.mark.parametrize("fields", [{}, CAPPED], ids=["llama", "gemma2"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_rule_has_kernels_and_graphs_and_a_block_for_padding(
    fields: dict[str, Any], dtype: torch.dtype
) -> None:
    plan = plan_pages(_config(**fields), dtype, CUDA)
    assert plan == PagePlan("kernels", graphs=True) and plan.spare_blocks == 1
    assert plan.describe(16) == "attention by kernels over pages of 16 tokens, decoding by CUDA graphs"


@pytest.mark.usefixtures("hopper")
def test_without_triton_pages_are_gathered_and_a_user_is_told_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_module, "find_spec", lambda name: None)
    plan = plan_pages(_config(), torch.bfloat16, CUDA)
    why = "kernels need Triton (pip install triton)"
    assert plan == PagePlan("gathered", graphs=True, reasons=(why,))
    assert plan.describe(16) == f"gathered attention over pages of 16 tokens, decoding by CUDA graphs ({why})"


def test_gpus_before_ampere_have_no_kernels() -> None:
    assert why_no_kernels((7, 5)) == "kernels need compute capability 8.0 (found 7.5)"


@pytest.mark.usefixtures("hopper")
def test_experts_are_not_recorded() -> None:
    plan = plan_pages(_config(**EXPERTS), torch.bfloat16, CUDA)
    assert plan.attention == "kernels" and not plan.graphs
    why = "the CPU has to know which experts are chosen"
    assert plan.describe(16) == f"attention by kernels over pages of 16 tokens, no CUDA graphs ({why})"
    assert why_no_graphs(_config()) is None


@pytest.mark.usefixtures("hopper")
def test_rotations_by_length_go_text_by_text() -> None:
    plan = plan_pages(_config(rope_scaling=DYNAMIC), torch.bfloat16, CUDA)
    assert plan.attention is None and plan.spare_blocks == 0
    assert plan.describe(16) == "attention text by text (rotations depend on the length of each text)"
    assert why_not_paged(_config()) is None
    chunks = {"intermediate_size_mlp": 32, "moe_layers": [], "head_dim": 16, "use_qk_norm": False}
    llama4 = ModelConfig.from_hf({"model_type": "llama4_text", **BASE, **chunks})
    assert why_not_paged(llama4) == "windows stand side by side"
    hunyuan = _config(model_type="hunyuan_v1_dense", qk_norm="rotated")
    assert why_not_paged(hunyuan) == "queries and keys go through norms after their rotation"


@pytest.mark.usefixtures("hopper")
def test_a_part_of_a_model_is_not_recorded_and_says_so() -> None:
    plan = plan_pages(_config(), torch.bfloat16, CUDA, torch.bfloat16, True)
    assert plan.attention == "kernels" and not plan.graphs
    assert "no CUDA graphs (processes meet in the middle of a pass)" in plan.describe(16)


def test_layers_of_state_go_text_by_text() -> None:
    assert "states" in str(why_not_paged(hybrid("lfm2").config))
