from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from gguf_models import GROUPS, LATENT, case_config, random_model

from llmkit.errors import DataError, UsageError
from llmkit.formats.provenance import Invocation
from llmkit.model.save import save_model
from llmkit.model.transformer import Transformer
from llmkit.quant.ggml_grids import GGML_GRIDS
from llmkit.quant.kept_matrix import KeptMatrix
from llmkit.quant.rounding import round_matrix
from llmkit.workflows.convert.options import ConvertConfig
from llmkit.workflows.convert.source import ConvertSource, open_convert_source
from llmkit.workflows.quantize.container import check_rounds, coded_matrix, grid_of, plan_files, stored_of
from llmkit.workflows.quantize.job import open_quantize
from llmkit.workflows.quantize.options import QuantizeConfig
from llmkit.workflows.quantize.quantize import quantize
from tests.quant.small_models import model

INVOCATION = Invocation("quantize", {}, ())


@pytest.fixture
def source(tmp_path: Path) -> ConvertSource:
    (tmp_path / "in").mkdir()
    save_model(model(num_hidden_layers=1), tmp_path / "in")
    return open_convert_source(tmp_path / "in", ConvertConfig())


def test_a_grid_that_the_container_does_not_hold_is_refused(source: ConvertSource) -> None:
    assert grid_of(source, "gguf", "q6_k") is GGML_GRIDS["Q6_K"]
    with pytest.raises(UsageError, match="int4-g32 is no type of GGUF files"):
        grid_of(source, "gguf", "int4-g32")
    with pytest.raises(UsageError, match="cannot hold Q4_K"):
        grid_of(source, "compressed-tensors", "Q4_K")
    with pytest.raises(UsageError, match="F17 is no type of GGUF files") as refused:
        stored_of(source, "gguf", "F17")
    assert refused.value.hint == "did you mean F16?"
    assert stored_of(source, "gguf", "bf16") == "BF16" and stored_of(source, "gguf", "f32") == "F32"
    with pytest.raises(UsageError, match=r"'F16' \(mlx files take mlx-2bit to") as refused:
        stored_of(source, "mlx", "F16")
    assert refused.value.hint == "for one: mlx-4bit-g64"


def test_files_without_a_rounded_matrix_are_refused_with_the_reason(source: ConvertSource) -> None:
    plans = {
        kind: plan_files(source, "gptq", kind, QuantizeConfig(), INVOCATION, weighed=False)
        for kind in ("int4-g4096", "int4-g32")
    }
    wide = r"int4-g4096 fits no matrix in gptq files: a row of \d+ is no whole number of groups of 4096"
    with pytest.raises(UsageError, match=wide) as refused:
        check_rounds("gptq", "int4-g4096", plans["int4-g4096"])
    assert "--group" in refused.value.hint
    check_rounds("gptq", "int4-g32", plans["int4-g32"])


NARROW = {"q_lora_rank": 32, "qk_nope_head_dim": 32, "qk_rope_head_dim": 32, "v_head_dim": 32}
"""What Q8_0's blocks divide."""
KINDS: dict[str, Callable[[], Transformer]] = {
    "llama": lambda: model(num_hidden_layers=1),
    "tied": lambda: model(num_hidden_layers=1, tie_word_embeddings=True),
    "latent": lambda: random_model(case_config("deepseek_v3", {**LATENT, **GROUPS, **NARROW})),
    "sinusoids": lambda: random_model(case_config("gpt2", {"position_embedding_type": "sinusoidal"})),
}
SETTINGS: dict[str, dict[str, Any]] = {
    **{name: {"type": name} for name in ("F32", "F16", "BF16", "q8_0", "Q4_K")},
    "mixed": {"type": "Q4_0", "embeddings": "f16", "overrides": (("ffn_down", "BF16"), ("attn_q", "F32"))},
    "nearly plain": {"type": "BF16", "embeddings": "Q8_0"},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_tensor_of_a_gguf_file_is_stored_as_the_plan_says(
    tmp_path: Path, kind: str, settings: dict[str, Any]
) -> None:
    gguf = pytest.importorskip("gguf")
    (tmp_path / "in").mkdir()
    save_model(KINDS[kind](), tmp_path / "in")
    out, config = tmp_path / "out.gguf", QuantizeConfig(**settings)
    job = open_quantize(tmp_path / "in", out, config, force=False, invocation=INVOCATION)
    assert quantize(job).size_bytes == out.stat().st_size
    file = gguf.GGUFReader(out)
    types = {tensor.name: tensor.tensor_type.name for tensor in file.tensors}
    planned = {name: unit.stored_as for unit in job.plan.units for name in unit.files}
    assert {name: types[name] for name in planned} == planned
    assert {kind for name, kind in types.items() if name not in planned} <= {"F32"}
    number = gguf.LlamaFileType(int(file.fields["general.file_type"].contents()))
    assert number.name.endswith({"Q4_K": "Q4_K_M"}.get(settings["type"], settings["type"].upper()))


@pytest.mark.parametrize(
    ("kind", "dtype", "held"), [("F32", torch.float32, 1e5), ("BF16", torch.bfloat16, 99840.0)]
)
def test_a_wide_type_holds_what_is_beyond_float16(
    tmp_path: Path, kind: str, dtype: torch.dtype, held: float
) -> None:
    gguf = pytest.importorskip("gguf")
    made, out = model(num_hidden_layers=1), tmp_path / "out.gguf"
    with torch.no_grad():
        made.lm_head.weight[3, 4] = 1e5
    (tmp_path / "in").mkdir()
    save_model(made, tmp_path / "in")

    def run(**settings: Any) -> None:
        job = open_quantize(
            tmp_path / "in", out, QuantizeConfig(**settings), force=True, invocation=INVOCATION
        )
        quantize(job)

    for settings in ({"type": kind}, {"type": "Q4_K_M", "head": kind}):
        run(**settings)
        head = next(one for one in gguf.GGUFReader(out).tensors if one.name == "output.weight")
        found = torch.from_numpy(gguf.quants.dequantize(head.data, head.tensor_type).copy())
        assert torch.equal(found, made.lm_head.weight.to(dtype).float()) and found[3, 4] == held
    before = out.read_bytes()
    with pytest.raises(DataError, match=r"lm_head\.weight has 100000, beyond float16's 65504") as refused:
        run(type="Q4_K_M", head="F16")
    assert "--head" in str(refused.value.hint) and out.read_bytes() == before


def test_wishes_are_in_the_plan(source: ConvertSource) -> None:
    config = QuantizeConfig(
        embeddings="Q8_0", head="Q5_K", overrides=(("ffn_down", "Q6_K"), ("mlp.up", "Q2_K"))
    )
    plan = plan_files(source, "gguf", "Q4_K_S", config, INVOCATION, weighed=False)
    stored = {unit.kind: unit.stored_as for unit in plan.units}
    assert (stored["embed_tokens"], stored["lm_head"]) == ("Q8_0", "Q5_K")
    assert (stored["down_proj"], stored["up_proj"], stored["gate_proj"]) == ("Q6_K", "Q2_K", "Q4_K")


def test_a_stack_is_coded_as_its_matrices_one_below_the_other() -> None:
    grid, weights = GGML_GRIDS["Q4_K"], torch.randn(3, 8, 256)
    matrices = [KeptMatrix.of(round_matrix(weight, grid, None)) for weight in weights]
    stack = coded_matrix(matrices)
    alone = [coded_matrix([matrix]) for matrix in matrices]
    wanted = b"".join(one.encode(one.parts()).tobytes() for one in alone)
    assert stack.encode(stack.parts()).tobytes() == wanted and stack.type == "Q4_K"
