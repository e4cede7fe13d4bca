from pathlib import Path

import pytest
import torch

from llmkit.errors import UsageError
from llmkit.formats.provenance import Invocation
from llmkit.model.save import save_model
from llmkit.quant.ggml_grids import GGML_GRIDS
from llmkit.quant.kept_matrix import KeptMatrix
from llmkit.quant.rounding import round_matrix
from llmkit.workflows.convert.options import ConvertConfig
from llmkit.workflows.convert.source import ConvertSource, open_convert_source
from llmkit.workflows.quantize.container import coded_matrix, grid_of, plan_files
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
