"""Plans of GGUF files: types against llama.cpp's published sizes, bytes against files that are written."""

from dataclasses import replace
from io import BytesIO
from typing import Any

import pytest
import torch
from gguf_models import CASES, case_config, random_model

from llmkit.errors import UsageError
from llmkit.estimate.architecture_of import architecture_of
from llmkit.estimate.scheme_names import parse_scheme
from llmkit.formats.gguf.write import GgufTensor, gguf_nbytes, write_gguf
from llmkit.model.gguf.save import GgufModel, gguf_model
from llmkit.quant.plan import FALLBACK, PlanUnit, QuantPlan
from llmkit.quant.plan_gguf import FILE_TYPES, VERSION, gguf_plan
from tests.quant.small_models import (
    DELTA,
    GRANITE_H,
    NEMOTRON_H,
    config,
    experts,
    model,
    on_meta,
)

LLAMA_3_8B: dict[str, Any] = {
    **{"vocab_size": 128_256, "hidden_size": 4096, "intermediate_size": 14_336, "num_hidden_layers": 32},
    **{"num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 8192},
}


def fallbacks(plan: QuantPlan) -> list[PlanUnit]:
    """Matrices that do not have what was asked for."""
    return [unit for unit in plan.units if unit.reason.startswith(FALLBACK)]


def file_tensors(plan: QuantPlan, whole: GgufModel) -> list[GgufTensor]:
    """A file's tensors with the types of the plan; their data is still that of the model."""
    types = {name: unit.stored_as for unit in plan.units for name in unit.files}
    return [replace(tensor, type=types.get(tensor.name, tensor.type)) for tensor in whole.tensors]


@pytest.mark.parametrize(
    ("file_type", "nbytes", "bits"),
    [  # tensor bytes and BPW of the files that llama.cpp's users publish
        *(("Q8_0", 8_532_934_656, 8.5008), ("Q6_K", 6_588_170_240, 6.5633)),
        *(("Q5_K_M", 5_725_151_232, 5.7036), ("Q4_K_M", 4_912_898_048, 4.8944)),
        *(("Q4_K_S", 4_684_832_768, 4.6672), ("IQ4_XS", 4_476_526_592, 4.4597)),
        *(("Q3_K_L", 4_314_120_192, 4.2979), ("Q2_K", 3_171_295_232, 3.1593)),
    ],
)
def test_llama_3_8b_has_the_size_of_published_files(file_type: str, nbytes: int, bits: float) -> None:
    plan = gguf_plan(on_meta(**LLAMA_3_8B), file_type)
    assert sum(unit.nbytes for unit in plan.units) == nbytes
    assert round(plan.bits_per_weight, 4) == bits
    assert fallbacks(plan) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"tie_word_embeddings": True},
        {"model_type": "phi3", "sliding_window": None},
        {"model_type": "qwen3", "qk_norm": "head"},
        {"model_type": "qwen3_moe", "qk_norm": "head", "experts": experts()},
        DELTA,
        GRANITE_H,
        NEMOTRON_H,
    ],
    ids=["tied", "phi3", "qwen3", "experts", "delta", "granite", "nemotron_h"],
)
@pytest.mark.parametrize("file_type", ["Q4_K_M", "Q3_K_M", "Q5_0"])
def test_kv_estimate_foretells_the_same_bytes(changes: dict[str, Any], file_type: str) -> None:
    plan = gguf_plan(on_meta(**changes), file_type)
    stored = parse_scheme(file_type.lower()).stored(architecture_of(config(**changes)))
    assert sum(unit.nbytes for unit in plan.units) == sum(part.nbytes for part in stored)


def test_a_written_file_has_the_bytes_of_the_plan() -> None:
    made = model()
    whole, file = gguf_model(made, "q8_0"), BytesIO()
    write_gguf(file, {**whole.metadata, "tokenizer.ggml.model": "gpt2"}, whole.tensors)
    plan = gguf_plan(made, "Q8_0", metadata={"tokenizer.ggml.model": "gpt2"})
    assert plan.nbytes == len(file.getvalue())


def test_the_tensors_of_a_plan_make_a_file_of_its_size() -> None:
    made = on_meta(**LLAMA_3_8B)
    plan, whole = gguf_plan(made, "Q4_K_M"), gguf_model(made, "float16")
    tensors = file_tensors(plan, whole)
    assert gguf_nbytes({**whole.metadata, **VERSION}, tensors) == plan.nbytes
    types = {tensor.name: tensor.type for tensor in tensors}
    assert (types["blk.0.attn_v.weight"], types["blk.8.attn_v.weight"]) == ("Q6_K", "Q4_K")
    assert (types["output.weight"], types["output_norm.weight"]) == ("Q6_K", "F32")


def test_fused_queries_keys_and_values_share_a_grid() -> None:
    plan = gguf_plan(on_meta(model_type="phi3", sliding_window=None), "Q4_K_M")
    unit = next(unit for unit in plan.units if unit.kind == "q_proj" and unit.layer == 1)
    assert [name.rsplit(".", 2)[1] for name in unit.names] == ["q_proj", "k_proj", "v_proj"]
    assert list(unit.files) == ["blk.1.attn_qkv.weight"]


def test_columns_are_rounded_where_the_file_has_them() -> None:
    plan = gguf_plan(on_meta(**DELTA), "Q4_K_M")
    (name,) = plan.orders
    assert name == "model.layers.0.linear_attn.out_proj.weight"
    assert plan.orders[name].view(16, 16)[:, 0].tolist() == [*range(0, 256, 32), *range(16, 256, 32)]
    (unit,) = (unit for unit in plan.units if unit.name == name)
    assert (unit.stored_as, unit.can_round) == ("Q4_K", True)


def test_stacked_experts_are_one_unit_and_routers_stay() -> None:
    plan = gguf_plan(on_meta(model_type="qwen3_moe", qk_norm="head", experts=experts()), "Q4_K_M")
    kinds = {unit.kind: unit for unit in plan.units if unit.layer == 1}
    assert list(kinds["experts.gate_up_proj"].files) == [
        "blk.1.ffn_gate_exps.weight",
        "blk.1.ffn_up_exps.weight",
    ]
    assert kinds["experts.gate_up_proj"].stored_as == "Q4_K"
    assert (kinds["gate"].grid, kinds["gate"].stored_as, kinds["gate"].can_round) == (None, "F32", False)


def test_rows_that_no_superblock_divides_fall_back_as_in_llama_cpp() -> None:
    narrow = on_meta(hidden_size=288, num_attention_heads=6, num_key_value_heads=2, head_dim=48)
    plan = gguf_plan(narrow, "Q4_K_M")
    kinds = {unit.kind: unit for unit in plan.units if unit.layer in (2, None)}
    assert kinds["q_proj"].stored_as == "Q5_0"  # for Q4_K
    assert kinds["v_proj"].stored_as == "Q8_0"  # for Q6_K
    assert kinds["lm_head"].stored_as == "Q8_0"
    assert kinds["down_proj"].grid is not None
    assert kinds["down_proj"].stored_as == "Q6_K"  # rows of 512
    told = {unit.kind for unit in fallbacks(plan)}
    assert told == {*("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj")} | {
        *("embed_tokens", "lm_head")
    }
    assert kinds["q_proj"].reason == "fallback: a row of 288 is no whole number of blocks of 256"
    q4_0 = gguf_plan(narrow, "Q4_0")
    assert {unit.kind for unit in fallbacks(q4_0)} == {"lm_head"}


@pytest.mark.parametrize(("family", "changes"), CASES)
def test_every_family_has_a_plan_whose_file_has_its_bytes(family: str, changes: dict[str, Any]) -> None:
    with torch.device("meta"):
        made = random_model(case_config(family, changes))
    plan, whole = gguf_plan(made, "Q4_K_M"), gguf_model(made, "float16")
    names = [name for unit in plan.units for name in unit.names]
    in_keys = {name for name in made.state_dict() if ".act_fn." in name}  # xIELU's numbers: no tensors there
    assert sorted(names) == sorted(made.state_dict().keys() - in_keys)
    assert plan.nbytes == gguf_nbytes({**whole.metadata, **VERSION}, file_tensors(plan, whole))
    for unit in plan.units:
        if unit.kind == "kv_b_proj":  # a file keeps its halves by columns and by rows: no codes for both
            assert (unit.grid, unit.stored_as, unit.can_round) == (None, "F16", False)
            assert unit in fallbacks(plan)


def test_short_names_are_llama_quantizes() -> None:
    made = on_meta()
    assert gguf_plan(made, "q4_k").nbytes == gguf_plan(made, "Q4_K_M").nbytes
    assert FILE_TYPES["Q4_K_M"] == 15


def test_file_types_that_cannot_be_written_are_refused() -> None:
    with pytest.raises(UsageError, match=r"IQ2_XS stores .* as IQ2_XS, which is not written here"):
        gguf_plan(on_meta(), "IQ2_XS")
    with pytest.raises(UsageError, match="no GGUF file type 'Q4_K_X'"):
        gguf_plan(on_meta(), "Q4_K_X")
    with pytest.raises(UsageError, match="no GGUF file type 'whole'") as told:
        gguf_plan(on_meta(), "whole")
    named = str(told.value.hint).removeprefix("one of ").split(", ")
    assert {"F32", "Q4_K_M", "IQ4_XS"} <= set(named) and not {"IQ2_XS", "TQ1_0", "MXFP4_MOE"} & set(named)
