from pathlib import Path

import pytest

from llmkit.errors import UsageError
from llmkit.formats.provenance import Invocation
from llmkit.model.save import save_model
from llmkit.quant.ggml_grids import GGML_GRIDS
from llmkit.workflows.convert.options import ConvertConfig
from llmkit.workflows.convert.source import ConvertSource, open_convert_source
from llmkit.workflows.quantize.container import check_rounds, grid_of, plan_files, stored_of
from llmkit.workflows.quantize.options import QuantizeConfig
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


def test_wishes_are_in_the_plan(source: ConvertSource) -> None:
    config = QuantizeConfig(
        embeddings="Q8_0", head="Q5_K", overrides=(("ffn_down", "Q6_K"), ("mlp.up", "Q2_K"))
    )
    plan = plan_files(source, "gguf", "Q4_K_S", config, INVOCATION, weighed=False)
    stored = {unit.kind: unit.stored_as for unit in plan.units}
    assert (stored["embed_tokens"], stored["lm_head"]) == ("Q8_0", "Q5_K")
    assert (stored["down_proj"], stored["up_proj"], stored["gate_proj"]) == ("Q6_K", "Q2_K", "Q4_K")
