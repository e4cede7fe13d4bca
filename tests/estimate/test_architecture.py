"""Sums over a model of five tensors, worked by hand."""

import pytest
from msgspec.structs import replace

from llmkit.estimate.architecture import PARTS, Architecture, LayerCache, TensorSpec

MODEL = Architecture(
    model_type="llama",
    hidden_size=4,
    vocab_size=10,
    num_hidden_layers=1,
    num_attention_heads=2,
    num_key_value_heads=1,
    head_dim=2,
    max_position_embeddings=8,
    tied_head=True,
    dtype="float32",
    tensors=(
        TensorSpec(name="embed_tokens.weight", shape=(10, 4), part="embeddings", module="embed_tokens"),
        TensorSpec(name="wpe.weight", shape=(8, 4), part="positions", module="embed_positions", learnt=False),
        TensorSpec(name="q_proj.weight", shape=(4, 4), part="attention", module="q_proj", linear=True),
        TensorSpec(
            name="experts.*.up_proj.weight",
            shape=(3, 4),
            part="experts",
            module="up_proj",
            linear=True,
            layer=0,
            copies=8,
            active=2 / 8,
        ),
        TensorSpec(name="norm.weight", shape=(4,), part="norms", module="norm"),
    ),
    caches=(LayerCache(kind="full", kv_heads=1, key_dim=2, value_dim=2),),
    mlp_width=6,
)


def test_a_tensor_counts_the_numbers_of_all_its_copies() -> None:
    assert MODEL.tensors[2].numel == 16
    assert MODEL.tensors[3].numel == 8 * 12


def test_a_stored_table_that_is_not_learnt_is_no_parameter() -> None:
    assert MODEL.parameters == 40 + 16 + 96 + 4
    learnt = tuple(replace(tensor, learnt=True) for tensor in MODEL.tensors)
    assert replace(MODEL, tensors=learnt).parameters == 40 + 32 + 16 + 96 + 4
    assert "positions" not in MODEL.by_part


def test_a_token_uses_two_of_eight_experts_and_all_of_the_rest() -> None:
    assert MODEL.active_parameters == 40 + 16 + 2 * 12 + 4


def test_a_part_of_three_experts_in_seven_is_rounded_to_whole_numbers() -> None:
    seven = replace(MODEL.tensors[3], copies=7, active=3 / 7)
    assert replace(MODEL, tensors=(seven,)).active_parameters == 3 * 12


def test_the_parts_add_up_to_the_parameters_in_one_order() -> None:
    assert MODEL.by_part == {"embeddings": 40, "attention": 16, "experts": 96, "norms": 4}
    assert sum(MODEL.by_part.values()) == MODEL.parameters
    assert list(MODEL.by_part) == [part for part in PARTS if part in MODEL.by_part]


@pytest.mark.parametrize(("tied", "products"), [(True, 16 + 2 * 12 + 10 * 4), (False, 16 + 2 * 12)])
def test_the_embedding_is_multiplied_with_only_where_it_is_the_head(tied: bool, products: int) -> None:
    assert replace(MODEL, tied_head=tied).matmul_parameters == products


def test_a_head_of_its_own_is_multiplied_with_once() -> None:
    head = TensorSpec(name="lm_head.weight", shape=(10, 4), part="head", module="lm_head", linear=True)
    untied = replace(MODEL, tied_head=False, tensors=(*MODEL.tensors, head))
    assert untied.matmul_parameters == MODEL.matmul_parameters
    assert untied.parameters == MODEL.parameters + 40
