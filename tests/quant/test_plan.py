"""Plans: wishes, budgets and sums, over plans of both kinds of files."""

import pytest

from llmkit.errors import UsageError
from llmkit.quant.ggml_grids import GGML_GRIDS
from llmkit.quant.plan import QuantPlan, Wishes, kind_of, layer_of
from llmkit.quant.plan_gguf import gguf_plan
from tests.quant.small_models import on_meta

Q4, Q5, Q8 = GGML_GRIDS["Q4_K"], GGML_GRIDS["Q5_K"], GGML_GRIDS["Q8_0"]


@pytest.fixture(scope="module")
def plan() -> QuantPlan:
    return gguf_plan(on_meta(), "Q4_K_S")


def stored(plan: QuantPlan) -> dict[str, str]:
    return {unit.name: unit.stored_as for unit in plan.units}


def test_a_plan_has_every_tensor_of_the_model_once(plan: QuantPlan) -> None:
    model = on_meta()
    names = [name for unit in plan.units for name in unit.names]
    assert sorted(names) == sorted(model.state_dict())
    assert plan.parameters == sum(value.numel() for value in model.state_dict().values())
    assert plan.nbytes == plan.fixed_nbytes + sum(unit.nbytes for unit in plan.open_units)


def test_bits_are_bytes_by_weights(plan: QuantPlan) -> None:
    unit = next(unit for unit in plan.units if unit.kind == "o_proj")
    assert (unit.layer, unit.bits) == (0, 4.5)  # 144 bytes a superblock of 256
    tensors = plan.nbytes - plan.rest_nbytes
    assert plan.bits_per_weight == pytest.approx(8 * tensors / plan.parameters)


def test_the_last_pattern_that_is_found_decides(plan: QuantPlan) -> None:
    wishes = Wishes(tensors=((r"ffn_down", Q5), (r"layers\.1\.mlp\.down", Q8)))
    changed = stored(wishes.apply(plan))
    assert changed["model.layers.0.mlp.down_proj.weight"] == "Q5_K"
    assert changed["model.layers.1.mlp.down_proj.weight"] == "Q8_0"
    names = (name for name in changed if "down_proj" not in name)
    assert all(changed[name] == stored(plan)[name] for name in names)


def test_embeddings_and_head_have_wishes_of_their_own(plan: QuantPlan) -> None:
    changed = Wishes(embeddings=Q8, head=Q5).apply(plan)
    assert stored(changed)["model.embed_tokens.weight"] == "Q8_0"
    assert stored(changed)["lm_head.weight"] == "Q5_K"
    assert {unit.reason for unit in changed.units if unit.kind in ("embed_tokens", "lm_head")} == {
        "asked for"
    }


def test_a_wish_for_plain_numbers_leaves_a_unit_without_a_grid(plan: QuantPlan) -> None:
    changed = Wishes(embeddings="F16", tensors=((r"blk\.0\.ffn_down", "F32"),)).apply(plan)
    units = {unit.name: unit for unit in changed.units}
    embedding, down = units["model.embed_tokens.weight"], units["model.layers.0.mlp.down_proj.weight"]
    assert [(one.grid, one.stored_as, one.bits) for one in (embedding, down)] == [
        (None, "F16", 16),
        (None, "F32", 32),
    ]
    assert not {embedding.name, down.name} & changed.grids.keys()
    with pytest.raises(UsageError, match="--head F16: the model has no lm_head of its own"):
        Wishes(head="F16").apply(gguf_plan(on_meta(tie_word_embeddings=True), "Q4_K_M"))


def test_wishes_that_are_about_nothing_are_refused(plan: QuantPlan) -> None:
    with pytest.raises(UsageError, match="'ffn_gone' is found in no name of a matrix"):
        Wishes(tensors=(("ffn_gone", Q8),)).apply(plan)
    with pytest.raises(UsageError, match=r"'\(' is no regular expression"):
        Wishes(tensors=(("(", Q8),)).apply(plan)
    with pytest.raises(UsageError, match="'norm' is found in no name of a matrix"):
        Wishes(tensors=(("norm", Q8),)).apply(plan)
    with pytest.raises(UsageError, match="--head Q8_0: the model has no lm_head of its own"):
        Wishes(head=Q8).apply(gguf_plan(on_meta(tie_word_embeddings=True), "Q4_K_M"))
    with pytest.raises(UsageError, match="no matrix nobody to round"):
        plan.with_grids({"nobody": Q8}, "")


def test_a_grid_whose_blocks_do_not_divide_the_rows_is_refused() -> None:
    narrow = gguf_plan(on_meta(hidden_size=192, num_attention_heads=6, head_dim=32), "Q4_K_S")
    with pytest.raises(UsageError, match="a row of 192 is no whole number of blocks of Q4_K"):
        Wishes(tensors=(("q_proj", Q4),)).apply(narrow)
    unit = next(unit for unit in narrow.units if unit.kind == "q_proj")
    assert narrow.grids_for(unit, list(GGML_GRIDS.values())) == [
        grid for grid in GGML_GRIDS.values() if grid.block == 32
    ]


def test_choices_have_the_bytes_that_the_plan_would_have(plan: QuantPlan) -> None:
    unit = next(unit for unit in plan.units if unit.kind == "down_proj")
    small, large = plan.choices(unit, {Q4: 0.2, Q8: 0.1})
    assert (small.grid, small.loss, large.grid, large.loss) == ("Q4_K", 0.2, "Q8_0", 0.1)
    for choice in (small, large):
        changed = plan.with_grids({unit.name: GGML_GRIDS[choice.grid]}, "budget")
        assert changed.nbytes - plan.nbytes == choice.nbytes - unit.nbytes


def test_the_smallest_plan_has_the_grid_of_fewest_bits_where_there_is_a_choice(plan: QuantPlan) -> None:
    first, second, *_ = plan.open_units
    least = plan.smallest([(first, [Q8, Q4, Q5]), (second, [])])
    assert stored(least) == stored(plan) | {first.name: "Q4_K"}  # 4.5 bits a weight beside 5.5 and 8.5


def test_room_for_open_units_is_what_a_request_leaves(plan: QuantPlan) -> None:
    open_bytes = sum(unit.nbytes for unit in plan.open_units)
    assert plan.spare_for_file(plan.nbytes) == open_bytes
    assert plan.spare_for_bits(plan.bits_per_weight + 1e-9) == open_bytes


def test_names_tell_layer_and_kind() -> None:
    assert [layer_of("model.layers.12.mlp.up_proj.weight"), layer_of("lm_head.weight")] == [12, None]
    assert kind_of("model.layers.1.mlp.up_proj.weight") == "up_proj"
    assert kind_of("model.layers.1.mlp.experts.down_proj") == "experts.down_proj"
    assert kind_of("model.layers.1.mlp.shared_expert.up_proj.weight") == "shared_expert.up_proj"
    assert kind_of("lm_head.weight") == "lm_head"
