"""What runs how, and that a user is told why it is not the quickest way."""

from typing import Any

import pytest
import torch

from llmkit.engine.cuda import plan as plan_module
from llmkit.engine.cuda.plan import (
    PagePlan,
    plan_pages,
    varlen_has_pages,
    why_no_graphs,
    why_not_paged,
    why_not_varlen,
)
from llmkit.model.config import ModelConfig
from llmkit.model.config_parts import ExpertsConfig

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


def test_a_cpu_has_no_pages() -> None:
    assert plan_pages(_config(), torch.bfloat16, torch.device("cpu"), 16) == PagePlan(None, 16)


@pytest.mark.usefixtures("hopper")
def test_a_plain_model_has_varlen_graphs_and_pages_that_the_kernel_can_read() -> None:
    plan = plan_pages(_config(), torch.bfloat16, CUDA, 16)
    assert plan == PagePlan("varlen", 256, graphs=True) and plan.spare_blocks == 1
    assert plan.describe() == "varlen attention over pages of 256 tokens, decoding by CUDA graphs"
    assert plan_pages(_config(), torch.bfloat16, CUDA, 257).block_tokens == 512


@pytest.mark.usefixtures("hopper")
@pytest.mark.parametrize(
    ("fields", "dtype", "why"),
    [
        ({}, torch.float32, "varlen needs float16 or bfloat16 (found float32)"),
        (CAPPED, torch.bfloat16, "varlen does not cap scores"),
        ({"head_dim": 12}, torch.float16, "varlen needs a head_dim of a multiple of 8 up to 256 (found 12)"),
        (
            {"head_dim": 264},
            torch.float16,
            "varlen needs a head_dim of a multiple of 8 up to 256 (found 264)",
        ),
    ],
)
def test_what_varlen_cannot_do_is_gathered_in_pages_as_asked(
    fields: dict[str, Any], dtype: torch.dtype, why: str
) -> None:
    plan = plan_pages(_config(**fields), dtype, CUDA, 16)
    assert plan == PagePlan("gathered", 16, graphs=True, reasons=(why,))
    assert plan.describe() == f"gathered attention over pages of 16 tokens, decoding by CUDA graphs ({why})"


def test_gpus_before_ampere_and_torches_before_pages_have_no_varlen(monkeypatch: pytest.MonkeyPatch) -> None:
    found = why_not_varlen(_config(), torch.float16, (7, 5))
    assert found == "varlen needs compute capability 8.0 (found 7.5)"
    assert why_not_varlen(_config(), torch.float16, (8, 0)) is None
    monkeypatch.setattr(plan_module, "varlen_has_pages", lambda: False)
    missing = why_not_varlen(_config(), torch.float16, (8, 0))
    assert missing == f"varlen of torch {torch.__version__} reads no pages"


def test_an_older_varlen_without_a_block_table_is_known_by_its_signature(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch.nn.attention.varlen as varlen

    assert varlen_has_pages()
    monkeypatch.setattr(varlen, "varlen_attn", lambda query, key, value, cu_seq_q, cu_seq_k: query)
    assert not varlen_has_pages()


@pytest.mark.usefixtures("hopper")
def test_experts_are_not_recorded() -> None:
    plan = plan_pages(_config(**EXPERTS), torch.bfloat16, CUDA, 16)
    assert plan.attention == "varlen" and not plan.graphs
    why = "the CPU has to know which experts are chosen"
    assert plan.describe() == f"varlen attention over pages of 256 tokens, no CUDA graphs ({why})"
    assert why_no_graphs(_config()) is None


@pytest.mark.usefixtures("hopper")
def test_rotations_by_length_go_text_by_text() -> None:
    plan = plan_pages(_config(rope_scaling=DYNAMIC), torch.bfloat16, CUDA, 16)
    assert plan.attention is None and plan.spare_blocks == 0
    assert plan.describe() == "attention text by text (rotations depend on the length of each text)"
    assert why_not_paged(_config()) is None
