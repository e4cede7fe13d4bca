import pytest
import torch

from llmkit.quant.plan_gguf import gguf_plan
from llmkit.quant.rounding import round_matrix
from llmkit.workflows.quantize.report import unit_rows
from tests.quant.small_models import model


def test_a_unit_has_the_mean_noise_of_its_matrices_and_what_stays_has_none() -> None:
    original = model(num_hidden_layers=1)
    plan = gguf_plan(original, "Q4_K_S")
    rounded = {
        name: round_matrix(original.get_parameter(name).detach(), grid, None)
        for name, grid in plan.grids.items()
    }
    rows = {row.name: row for row in unit_rows(plan, rounded)}
    name = "model.layers.0.mlp.up_proj.weight"
    assert rows[name].noise == pytest.approx(rounded[name].noise)
    assert rows[name].output_noise is None
    norm = rows["model.norm.weight"]
    assert (norm.stored_as, norm.noise, norm.size_bytes) == ("F32", None, 1024)
    assert sum(row.parameters for row in rows.values()) == sum(one.numel() for one in original.parameters())


def test_experts_are_one_row() -> None:
    from tests.quant.small_models import experts

    changes = {"num_hidden_layers": 3, "model_type": "qwen3_moe", "qk_norm": "head", "experts": experts()}
    original = model(**changes)
    plan = gguf_plan(original, "Q4_K_S")
    name = "model.layers.0.mlp.experts.down_proj"
    stack = original.get_parameter(name).detach()
    rounded = {
        f"{name}[{index}]": round_matrix(part, plan.grids[name], None) for index, part in enumerate(stack)
    }
    row = next(row for row in unit_rows(plan, rounded) if row.name == name)
    mean = torch.tensor([matrix.noise for matrix in rounded.values()]).mean()
    assert row.noise == pytest.approx(float(mean))
