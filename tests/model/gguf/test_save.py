"""What is written as GGUF computes the same in llama.cpp itself, and is rounded where it was asked to be."""

from pathlib import Path
from typing import Any

import gguf_models
import pytest
import torch
from gguf_models import CASES, GELU_TABLE, case_config, random_model
from llama_cpp import llama_cpp_logits

from llmkit.engine.config import SamplingConfig
from llmkit.engine.engine import Engine
from llmkit.engine.request import Request
from llmkit.errors import ConfigError
from llmkit.formats.gguf.data import GgufData
from llmkit.formats.gguf.write import write_gguf
from llmkit.model.gguf.save import gguf_model
from llmkit.model.load import load_model

IDS = torch.randint(3, 96, (40,), generator=torch.Generator().manual_seed(1)).tolist()


@pytest.mark.parametrize(("family", "changes"), CASES)
def test_llama_cpp_computes_the_same_logits(family: str, changes: dict[str, Any], tmp_path: Path) -> None:
    model = random_model(case_config(family, changes))
    made = gguf_model(model, "float32")
    with (tmp_path / "a.gguf").open("wb") as stream:
        write_gguf(stream, {**made.metadata, "tokenizer.ggml.model": "none"}, made.tensors)
    theirs = torch.tensor(llama_cpp_logits(tmp_path / "a.gguf", IDS))
    with torch.no_grad():
        ours = model(torch.tensor([IDS]))[0]
    assert ours.std() > 0.05
    assert (ours - theirs).abs().max() < (2e-2 if family in GELU_TABLE else 5e-4) * ours.std()


def test_a_trained_models_greedy_text_is_llama_cpps(shared_data: Path, tmp_path: Path) -> None:
    model = load_model(shared_data / "models" / "stories-292K-early")
    made = gguf_model(model, "float32")
    with (tmp_path / "a.gguf").open("wb") as stream:
        write_gguf(stream, {**made.metadata, "tokenizer.ggml.model": "none"}, made.tensors)
    sampling = SamplingConfig(max_tokens=60, temperature=0.0, ignore_eos=True)
    prompt = (1, 100, 200)
    text = [one.id for one in Engine(model).run(Request(prompt, sampling))]
    scores = torch.tensor(llama_cpp_logits(tmp_path / "a.gguf", [*prompt, *text[:-1]]))
    assert scores[len(prompt) - 1 :].argmax(1).tolist() == text  # each the best after those before it


def test_norms_and_single_rows_and_routers_stay_float32(tmp_path: Path) -> None:
    model = random_model(case_config("qwen2_moe", gguf_models.SHARED))
    types = {one.name: one.type for one in gguf_model(model, "q8_0").tensors}
    exact = {name.removeprefix("blk.").lstrip("0123456789.") for name, kind in types.items() if kind == "F32"}
    assert exact == {
        *("attn_norm.weight", "ffn_norm.weight", "ffn_gate_inp.weight", "ffn_gate_inp_shexp.weight"),
        *("attn_q.bias", "attn_k.bias", "attn_v.bias", "output_norm.weight"),
    }
    assert types["blk.0.ffn_down_shexp.weight"] == "F16"  # rows of 40 are no whole number of blocks
    assert (
        types["token_embd.weight"] == types["output.weight"] == types["blk.0.ffn_down_exps.weight"] == "Q8_0"
    )


@pytest.mark.parametrize(("dtype", "kind", "number"), [("float16", "F16", 1), ("bfloat16", "BF16", 32)])
def test_matrices_are_rounded_to_the_nearest(dtype: str, kind: str, number: int, tmp_path: Path) -> None:
    model = random_model(case_config("qwen3", {}))
    made = gguf_model(model, dtype)
    with (tmp_path / "a.gguf").open("wb") as stream:
        write_gguf(stream, made.metadata, made.tensors)
    data = GgufData(tmp_path / "a.gguf")
    assert data.info("blk.1.ffn_up.weight").type == kind
    assert data.header.metadata["general.file_type"] == number
    wanted = model.state_dict()["model.layers.1.mlp.up_proj.weight"].to(getattr(torch, dtype)).float()
    assert torch.equal(torch.from_numpy(data.values("blk.1.ffn_up.weight")), wanted)


def test_a_model_can_be_planned_without_memory() -> None:
    config = case_config("mixtral", gguf_models.LOCAL)
    with torch.device("meta"):
        planned = gguf_model(type(random_model(config))(config), "q8_0")
    made = gguf_model(random_model(config), "q8_0")
    assert planned.metadata == made.metadata
    assert [(one.name, one.shape, one.type) for one in planned.tensors] == [
        (one.name, one.shape, one.type) for one in made.tensors
    ]


def test_an_unknown_dtype_is_refused() -> None:
    with pytest.raises(ConfigError, match="no GGUF dtype 'q4_k'"):
        gguf_model(random_model(case_config("qwen3", {})), "q4_k")
