"""The whole run over a model, against the same done by hand with whole passes."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from llmkit.errors import ConfigError, DataError
from llmkit.model.config import ModelConfig
from llmkit.model.init import initialise
from llmkit.model.transformer import Transformer
from llmkit.quant.containers import container_grid
from llmkit.quant.embedding_moments import embedding_moments
from llmkit.quant.ggml_grids import GGML_GRIDS
from llmkit.quant.grid import Grid
from llmkit.quant.model import EMBEDDING, HEAD, OWN_EMBEDDINGS, Quantiser
from llmkit.quant.moments import InputsOfPass, Moments, add_inputs
from llmkit.quant.plan_folder import folder_plan
from llmkit.quant.plan_gguf import gguf_plan
from llmkit.quant.rounding import RoundedMatrix, round_matrix
from tests.quant.small_models import experts, model

IDS = torch.randint(96, (6, 16), generator=torch.Generator().manual_seed(1))
SCORED = torch.randint(96, (3, 16), generator=torch.Generator().manual_seed(2))
GRID = GGML_GRIDS["Q4_0"]
KINDS: dict[str, dict[str, Any]] = {
    "llama": {"num_hidden_layers": 2},
    "tied": {"num_hidden_layers": 2, "tie_word_embeddings": True},
    "experts": {"num_hidden_layers": 3, "model_type": "qwen3_moe", "qk_norm": "head", "experts": experts()},
}


def grids_of(original: Transformer) -> dict[str, Grid]:
    return {
        name: GRID
        for name, value in original.named_parameters()
        if value.dim() > 1 and not name.endswith("mlp.gate.weight")
    }


def run(original: Transformer, **settings: Any) -> tuple[Quantiser, dict[str, RoundedMatrix], Transformer]:
    used = copy.deepcopy(original)
    quantiser = Quantiser(used, grids_of(original), calibration=IDS, scored=SCORED, **settings)
    found: dict[str, RoundedMatrix] = {}
    for part in quantiser.run():
        found |= part.matrices
    return quantiser, found, used


def with_values(original: Transformer, rounded: dict[str, RoundedMatrix]) -> Transformer:
    """The model as readers of the file have it."""
    whole = copy.deepcopy(original)
    parameters = dict(whole.named_parameters())
    with torch.no_grad():
        for name, matrix in rounded.items():
            stem, _, index = name.partition("[")
            place = parameters[stem][int(index[:-1])] if index else parameters[stem]
            place.copy_(matrix.values())
    return whole


@pytest.mark.parametrize("kind", KINDS)
def test_both_streams_end_as_whole_passes_of_both_models_do(kind: str) -> None:
    original = model(**KINDS[kind])
    quantiser, rounded, used = run(original)
    assert {name.partition("[")[0] for name in rounded} == set(grids_of(original))
    assert quantiser.reference and quantiser.rounded and quantiser.reference_head
    with torch.inference_mode():
        before = torch.cat([quantiser.reference_head(states) for _, states in quantiser.reference.last()])
        after = torch.cat([used.logits(states) for _, states in quantiser.rounded.last()])
        assert torch.allclose(before, original(SCORED), atol=1e-4)
        assert torch.allclose(after, with_values(original, rounded)(SCORED), atol=1e-4)
    assert not torch.allclose(before, after, atol=1e-2)


@pytest.mark.parametrize("kind", ["llama", "tied"])
def test_each_layer_is_weighed_by_what_the_rounded_layers_before_it_give(kind: str) -> None:
    original = model(**KINDS[kind])
    seen: dict[str, Moments] = {}

    def rounder(name: str, weight: Tensor, grid: Grid, moments: Moments | None) -> RoundedMatrix:
        assert moments is not None or name == EMBEDDING
        if moments is not None:
            seen[name] = copy.deepcopy(moments)
        return round_matrix(weight, grid, moments)

    _, rounded, _ = run(original, rounder=rounder)
    last = "model.layers.1."
    earlier = {name: one for name, one in rounded.items() if not name.startswith((last, HEAD))}
    partly = with_values(original, earlier)
    names = {name: value for name, value in partly.named_parameters() if name.startswith(last)}
    with torch.inference_mode(), InputsOfPass({n: v for n, v in names.items() if v.dim() > 1}) as watch:
        partly(IDS)
    wanted: dict[str, Moments] = {}
    add_inputs(wanted, [watch])
    for name, moments in wanted.items():
        assert torch.allclose(seen[name].second, moments.second, rtol=1e-3, atol=1e-3), name
    whole = (
        original if kind == "tied" else with_values(original, {n: m for n, m in rounded.items() if n != HEAD})
    )
    with torch.inference_mode():
        states = whole.hidden(IDS).flatten(0, 1)
    read = states.T @ states
    if kind == "tied":  # the same matrix is read at the end, and pulled at in the beginning
        read = read + embedding_moments(original, IDS, original.logits).second
    head = seen[EMBEDDING if kind == "tied" else HEAD]
    assert torch.allclose(head.second, read, rtol=1e-3, atol=1e-2)


def test_columns_are_rounded_in_the_order_that_is_asked_for_and_stay_where_they_are() -> None:
    original, name = model(**KINDS["llama"]), "model.layers.1.mlp.down_proj.weight"
    order = torch.arange(512).view(16, 32)[torch.randperm(16, generator=torch.Generator().manual_seed(1))]
    _, found, _ = run(original, orders={name: order.flatten()})
    _, plain, _ = run(original)
    moments = found[name].order
    assert moments is not None and torch.equal(moments, order.flatten())
    assert all(one.order is None for other, one in found.items() if other != name)
    weight = original.get_parameter(name).detach()
    noises = [float((one.values() - weight).square().mean()) for one in (found[name], plain[name])]
    assert noises[0] < 1.2 * noises[1]
    assert torch.equal(found[EMBEDDING].codes, plain[EMBEDDING].codes)


def test_without_text_the_model_is_rounded_to_the_nearest() -> None:
    original = model(num_hidden_layers=1)
    parts = list(Quantiser(copy.deepcopy(original), grids_of(original)).run())
    assert [part.layer for part in parts] == [None, 0, None]
    for part in parts:
        for name, matrix in part.matrices.items():
            plain = round_matrix(original.get_parameter(name).detach(), GRID, None)
            assert torch.equal(matrix.codes, plain.codes)


def test_every_matrix_that_a_plan_of_layers_with_embeddings_of_their_own_has_on_a_grid_is_rounded() -> None:
    small = {
        **{"model_type": "gemma4_text", "vocab_size": 96, "hidden_size": 256, "intermediate_size": 256},
        **{"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 128},
        **{"hidden_size_per_layer_input": 128, "vocab_size_per_layer_input": 96, "global_head_dim": 128},
    }
    original = Transformer(ModelConfig.from_hf(small)).eval()
    initialise(original, torch.Generator().manual_seed(5))
    int4 = container_grid("compressed-tensors", "int4-g32", torch.bfloat16)
    whole, folder = gguf_plan(original, "Q4_K_M"), folder_plan(original, "compressed-tensors", int4)
    assert OWN_EMBEDDINGS in whole.grids and OWN_EMBEDDINGS not in folder.grids
    for plan in (whole, folder):
        parts = list(Quantiser(copy.deepcopy(original), plan.grids).run())
        assert {name for part in parts for name in part.matrices} == set(plan.grids)
        assert len({part.part for part in parts}) == len(parts)
    with pytest.raises(ConfigError, match="read embeddings of their own"):  # before anything is rounded
        next(Quantiser(original, whole.grids, scored=SCORED).run())


def test_the_original_that_was_copied_is_never_written_to() -> None:
    original = model(num_hidden_layers=1, tie_word_embeddings=True)
    kept = {name: value.clone() for name, value in original.state_dict().items()}
    shared = Transformer(original.config)
    shared.load_state_dict(original.state_dict(), assign=True)
    for _ in Quantiser(shared.eval(), grids_of(original), calibration=IDS, scored=SCORED).run():
        pass
    assert all(torch.equal(value, kept[name]) for name, value in original.state_dict().items())


def test_matrices_without_a_grid_stay_as_they_are() -> None:
    original = model(num_hidden_layers=1)
    grids = {name: grid for name, grid in grids_of(original).items() if "mlp" in name}
    used = copy.deepcopy(original)
    quantiser = Quantiser(used, grids, calibration=IDS, scored=SCORED)
    assert {name for part in quantiser.run() for name in part.matrices} == set(grids)
    assert torch.equal(used.get_parameter(HEAD), original.get_parameter(HEAD))
    assert torch.equal(used.get_parameter(EMBEDDING), original.get_parameter(EMBEDDING))


@pytest.mark.parametrize("kind", KINDS)
def test_tensors_without_a_grid_are_scored_as_they_are_stored(kind: str) -> None:
    original = model(**KINDS[kind])
    names = [name for name, value in original.named_parameters() if value.dim() > 1]
    dtypes = dict.fromkeys(names, torch.bfloat16) | {"model.norm.weight": torch.float32}
    used, whole = copy.deepcopy(original), copy.deepcopy(original)
    quantiser = Quantiser(used, {}, calibration=IDS, scored=SCORED, dtypes=dtypes)
    assert not [name for part in quantiser.run() for name in part.matrices]
    with torch.no_grad():
        for name in names:
            place = whole.get_parameter(name)
            place.copy_(place.bfloat16())
    assert quantiser.reference and quantiser.rounded and quantiser.reference_head
    with torch.inference_mode():
        before = torch.cat([quantiser.reference_head(states) for _, states in quantiser.reference.last()])
        after = torch.cat([used.logits(states) for _, states in quantiser.rounded.last()])
        assert torch.allclose(before, original(SCORED), atol=1e-4)
        assert torch.allclose(after, whole(SCORED), atol=1e-4)
    assert not torch.allclose(before, after, atol=3e-3)


def test_a_number_that_its_dtype_does_not_hold_is_refused_where_it_is_met() -> None:
    original = model(num_hidden_layers=1)
    name = "model.layers.0.mlp.up_proj.weight"
    with torch.no_grad():
        original.get_parameter(name)[0, 0] = -7e4
    with pytest.raises(DataError, match=f"{name} has 70000, beyond float16's 65504"):
        list(Quantiser(original, {}, dtypes={name: torch.float16}).run())
