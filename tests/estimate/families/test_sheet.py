"""Which tensors a sheet has after each call: names, shapes, copies."""

from llmkit.estimate.families.sheet import Sheet


def shapes(sheet: Sheet) -> dict[str, tuple[int, ...]]:
    return {tensor.name: tensor.shape for tensor in sheet.tensors}


def test_a_linear_layer_is_stored_as_out_by_in_with_a_bias_of_out() -> None:
    sheet = Sheet()
    sheet.linear("up", 3, 2, "up_proj", "mlp", bias=True)
    assert shapes(sheet) == {"up.weight": (3, 2), "up.bias": (3,)}
    weight, bias = sheet.tensors
    assert (weight.module, weight.linear) == ("up_proj", True)
    assert (bias.module, bias.linear, bias.part) == ("bias", False, "mlp")


def test_a_transposed_layer_is_stored_as_in_by_out_with_the_same_bias() -> None:
    sheet = Sheet()
    sheet.linear("c_fc", 3, 2, "up_proj", "mlp", bias=True, transposed=True)
    assert shapes(sheet) == {"c_fc.weight": (2, 3), "c_fc.bias": (3,)}


def test_copies_keep_the_star_in_their_name_and_one_copy_is_number_0() -> None:
    sheet = Sheet()
    sheet.linear("experts.*.up", 3, 2, "up_proj", "experts", copies=8, active=0.25, bias=True)
    sheet.linear("others.*.up", 3, 2, "up_proj", "experts", copies=1)
    assert list(shapes(sheet)) == ["experts.*.up.weight", "experts.*.up.bias", "others.0.up.weight"]
    assert [tensor.numel for tensor in sheet.tensors] == [8 * 6, 8 * 3, 6]
    assert [tensor.active for tensor in sheet.tensors] == [0.25, 0.25, 1.0]


def test_tensors_without_numbers_are_left_out() -> None:
    sheet = Sheet()
    sheet.linear("shared_experts.up", 0, 2, "up_proj", "mlp", bias=True)
    sheet.linear("experts.*.up", 3, 2, "up_proj", "experts", copies=0)
    sheet.norm("norm", 0)
    assert sheet.tensors == []


def test_an_inner_sheet_writes_on_the_same_list_under_the_longer_name() -> None:
    sheet = Sheet("language_model.")
    layer = sheet.within("layers.3.", 3)
    layer.within("self_attn.").tensor("sinks", (4,), "sinks", "attention")
    sheet.norm("norm", 5)
    assert shapes(sheet) == {
        "language_model.layers.3.self_attn.sinks": (4,),
        "language_model.norm.weight": (5,),
    }
    assert [tensor.layer for tensor in sheet.tensors] == [3, None]


def test_a_norm_has_a_bias_only_when_asked_for() -> None:
    sheet = Sheet()
    sheet.norm("a", 5)
    sheet.norm("b", 2, 3, bias=True)
    assert shapes(sheet) == {"a.weight": (5,), "b.weight": (2, 3), "b.bias": (2, 3)}
    assert {tensor.part for tensor in sheet.tensors} == {"norms"}


def test_a_table_can_be_written_that_is_not_learnt() -> None:
    sheet = Sheet()
    sheet.tensor("wpe.weight", (8, 4), "embed_positions", "positions", learnt=False)
    sheet.tensor("wte.weight", (8, 4), "embed_tokens", "embeddings")
    assert [tensor.learnt for tensor in sheet.tensors] == [False, True]
