"""Memory of training: the rows of the ZeRO paper, published adapters, and what torch's optimisers hold."""

from fractions import Fraction
from typing import Any

import pytest
from msgspec.structs import replace

from llmkit.errors import ConfigError
from llmkit.estimate.activations import (
    ActivationSettings,
    embedding_activation_bytes,
    layer_activation_bytes,
    output_activation_bytes,
)
from llmkit.estimate.architecture import Architecture, TensorSpec
from llmkit.estimate.training import in_flight, training_memory
from llmkit.estimate.training_settings import QLORA_BITS, TrainingSettings

LLAMA_2_7B = 6_738_415_616
TABLE = 32_000 * 4096
"""Numbers of its embeddings, and of its head."""
AT_2048 = TrainingSettings(seq_len=2048)


@pytest.mark.parametrize(("zero", "gigabytes"), [(0, 120.0), (1, 31.40625), (2, 16.640625), (3, 1.875)])
def test_7_5_billion_parameters_on_64_devices_take_what_the_zero_paper_says(
    gpt_3: Architecture, zero: int, gigabytes: float
) -> None:
    table = TensorSpec(name="w", shape=(7_500_000_000,), part="mlp", module="other")
    model = replace(gpt_3, tensors=(table,), caches=(), num_hidden_layers=0)
    settings = TrainingSettings(seq_len=1, precision="mixed16", data_parallel=64, zero=zero)
    assert training_memory(model, settings).states == gigabytes * 10**9


@pytest.mark.parametrize(
    ("precision", "bytes_per_parameter", "states"),
    [
        ("bf16-master", 18, 121_291_481_088),
        ("mixed16", 16, 107_814_649_856),
        ("fp32", 16, 107_814_649_856),
        ("bf16", 8, 53_907_324_928),
    ],
)
def test_llama_2_7b_takes_the_published_bytes_a_parameter(
    llama_2_7b: Architecture, precision: Any, bytes_per_parameter: int, states: int
) -> None:
    memory = training_memory(llama_2_7b, replace(AT_2048, precision=precision))
    assert memory.states == states == LLAMA_2_7B * bytes_per_parameter
    assert memory.trained_parameters == LLAMA_2_7B
    assert memory.total == memory.states + memory.activations


def test_megatrons_distributed_optimiser_is_6_bytes_and_12_split(llama_2_7b: Architecture) -> None:
    memory = training_memory(llama_2_7b, replace(AT_2048, data_parallel=8, zero=1))
    assert memory.states == LLAMA_2_7B * 6 + LLAMA_2_7B * 12 // 8


@pytest.mark.parametrize(("optimizer", "values"), [("adamw", 8), ("sgd-momentum", 4)])
def test_an_optimiser_holds_the_bytes_of_torchs(
    llama_2_7b: Architecture, optimizer: Any, values: int
) -> None:
    import torch

    weight = torch.nn.Parameter(torch.zeros(64, 64))
    weight.grad = torch.ones(64, 64)
    real = (
        torch.optim.AdamW([weight])
        if optimizer == "adamw"
        else torch.optim.SGD([weight], lr=1.0, momentum=0.9)
    )
    real.step()
    held = sum(value.nbytes for value in real.state[weight].values() if torch.is_tensor(value) and value.ndim)
    assert held == values * 64 * 64
    memory = training_memory(llama_2_7b, replace(AT_2048, precision="fp32", optimizer=optimizer))
    assert memory.optimizer == values * LLAMA_2_7B


def test_eight_bit_moments_have_a_scale_for_256_numbers(llama_2_7b: Architecture) -> None:
    memory = training_memory(llama_2_7b, replace(AT_2048, optimizer="adamw-8bit"))
    assert memory.optimizer == 2 * LLAMA_2_7B + 2 * 4 * LLAMA_2_7B // 256


def test_muon_has_one_moment_for_matrices_and_adamw_for_the_rest(llama_2_7b: Architecture) -> None:
    memory = training_memory(llama_2_7b, replace(AT_2048, optimizer="muon"))
    rest = 2 * TABLE + 65 * 4096
    assert memory.optimizer == 4 * (LLAMA_2_7B - rest) + 8 * rest


def test_activations_are_the_sum_of_layers_embeddings_and_output(gpt_3: Architecture) -> None:
    settings = TrainingSettings(seq_len=2048, recompute="none", dropout=True, tensor_parallel=8)
    extras = embedding_activation_bytes(gpt_3, settings) + output_activation_bytes(gpt_3, settings)
    assert training_memory(gpt_3, settings).activations == 55_566_139_392 + extras


def test_full_recomputation_has_one_layer_alive_beside_the_inputs(gpt_3: Architecture) -> None:
    settings = TrainingSettings(seq_len=2048, recompute="full", dropout=True)
    alive = layer_activation_bytes(gpt_3, 0, ActivationSettings(seq_len=2048, dropout=True))
    extras = embedding_activation_bytes(gpt_3, settings) + output_activation_bytes(gpt_3, settings)
    assert training_memory(gpt_3, settings).activations == 4_831_838_208 + alive + extras


def test_float32_has_activations_of_four_bytes(llama_2_7b: Architecture) -> None:
    settings = replace(AT_2048, precision="fp32")
    layers = 32 * layer_activation_bytes(llama_2_7b, 0, settings, bytes_per_value=4)
    extras = 8 * 2048 + output_activation_bytes(llama_2_7b, settings, bytes_per_value=4)
    assert training_memory(llama_2_7b, settings).activations == layers + extras


def test_tensor_parallelism_splits_matrices_and_copies_norms(llama_2_7b: Architecture) -> None:
    memory = training_memory(llama_2_7b, replace(AT_2048, tensor_parallel=8))
    norms = 65 * 4096
    assert memory.weights == 2 * ((LLAMA_2_7B - norms) // 8 + norms)


def test_more_ranks_than_key_heads_copy_them(llama_3_8b: Architecture) -> None:
    memory = training_memory(llama_3_8b, replace(AT_2048, tensor_parallel=16))
    norms, keys_and_values = 65 * 4096, 32 * 2 * 1024 * 4096
    rest = llama_3_8b.parameters - norms - keys_and_values
    assert memory.weights == 2 * (rest // 16 + keys_and_values // 8 + norms)


def test_a_fused_projection_is_split_as_its_parts_are(llama_3_8b: Architecture) -> None:
    fused = [
        replace(t, module="qkv_proj", shape=(6144, 4096)) if t.module == "q_proj" else t
        for t in llama_3_8b.tensors
        if t.module not in ("k_proj", "v_proj")
    ]
    settings = replace(AT_2048, tensor_parallel=16)
    assert training_memory(replace(llama_3_8b, tensors=tuple(fused)), settings) == training_memory(
        llama_3_8b, settings
    )


def test_a_pipeline_keeps_as_many_micro_batches_as_stages_follow() -> None:
    four = replace(AT_2048, pipeline_parallel=4)
    assert [in_flight(four, stage) for stage in range(4)] == [4, 3, 2, 1]
    assert [in_flight(replace(four, micro_batches=2), stage) for stage in range(4)] == [2, 2, 2, 1]


@pytest.mark.parametrize(("p", "v"), [(4, 2), (8, 3), (2, 4)])
def test_the_first_stage_of_an_interleaved_pipeline_pays_the_penalty_of_the_paper(p: int, v: int) -> None:
    # of the whole model's activations, in p parts: 1 + (p - 1) / (p v)
    settings = replace(AT_2048, pipeline_parallel=p, virtual_stages=v)
    assert in_flight(settings, 0) / p == 1 + Fraction(p - 1, p * v)


def test_the_fullest_stage_is_the_one_that_is_told(llama_2_7b: Architecture) -> None:
    memory = training_memory(llama_2_7b, replace(AT_2048, pipeline_parallel=4))
    assert memory.stage == 0  # the embeddings, and four micro-batches
    layers = (LLAMA_2_7B - 2 * TABLE - 4096) // 4
    assert memory.weights == 2 * (layers + TABLE)
    kept = 8 * layer_activation_bytes(llama_2_7b, 0, AT_2048) + 8 * 2048
    assert memory.activations == 4 * kept
    one = training_memory(llama_2_7b, replace(AT_2048, pipeline_parallel=4, micro_batches=1))
    assert one.stage == 3  # the head, the last norm, and logits
    assert one.weights == 2 * (layers + TABLE + 4096)


def test_a_tied_table_is_on_the_first_and_on_the_last_stage(llama_2_7b: Architecture) -> None:
    tied = replace(llama_2_7b, tied_head=True, tensors=llama_2_7b.tensors[:-1])
    split = replace(AT_2048, pipeline_parallel=4)
    for settings, stage in ((split, 0), (replace(split, micro_batches=1), 3)):
        memory = training_memory(tied, settings)
        assert memory.stage == stage
        assert memory.weights == training_memory(llama_2_7b, settings).weights
    assert training_memory(tied, AT_2048).weights == 2 * (LLAMA_2_7B - TABLE)


def test_interleaved_pieces_hold_as_many_layers(llama_2_7b: Architecture) -> None:
    plain = training_memory(llama_2_7b, replace(AT_2048, pipeline_parallel=4))
    pieces = training_memory(llama_2_7b, replace(AT_2048, pipeline_parallel=4, virtual_stages=2))
    assert pieces.weights == plain.weights
    assert pieces.activations / plain.activations == pytest.approx(1 + 3 / 8)


def test_zero_3_has_embeddings_and_two_layers_whole_for_a_moment(llama_2_7b: Architecture) -> None:
    memory = training_memory(llama_2_7b, replace(AT_2048, precision="mixed16", data_parallel=8, zero=3))
    layer = (LLAMA_2_7B - 2 * TABLE - 4096) // 32
    assert memory.gathered == 2 * (2 * TABLE + 4096 + 2 * layer) + 2 * layer
    assert training_memory(llama_2_7b, replace(AT_2048, zero=3)).gathered == 0  # one device has it all


def test_an_adapter_is_trained_and_the_weights_only_held(llama_2_7b: Architecture) -> None:
    settings = replace(AT_2048, precision="mixed16", lora_rank=8, lora_modules=("q_proj", "v_proj"))
    memory = training_memory(llama_2_7b, settings)
    assert memory.trained_parameters == 4_194_304  # PEFT's well-known number
    assert memory.weights == 2 * LLAMA_2_7B + 2 * 4_194_304
    assert memory.states == 2 * LLAMA_2_7B + 16 * 4_194_304


def test_qlora_holds_the_matrices_of_layers_in_4_127_bits(llama_2_7b: Architecture) -> None:
    settings = replace(AT_2048, lora_rank=64, frozen_bits=QLORA_BITS)
    memory = training_memory(llama_2_7b, settings)
    assert memory.trained_parameters == 159_907_840
    rest = 2 * TABLE + 65 * 4096
    assert f"{QLORA_BITS:.3f}" == "4.127"
    assert memory.weights - 2 * 159_907_840 == 2 * rest + (LLAMA_2_7B - rest) * QLORA_BITS / 8


def test_an_adapter_is_split_along_with_its_matrix(llama_2_7b: Architecture) -> None:
    one = replace(AT_2048, lora_rank=8, lora_modules=("q_proj", "o_proj"), frozen_bits=16)
    eight = training_memory(llama_2_7b, replace(one, tensor_parallel=8))
    # of q's two matrices (8 x 4096 each) the one that writes is split, of o's the one that reads
    assert eight.gradients == 4 * 32 * 2 * 8 * (4096 + 4096 // 8)
    assert eight.trained_parameters == training_memory(llama_2_7b, one).trained_parameters


@pytest.mark.parametrize(
    ("wrong", "problem", "hint"),
    [
        ({"tensor_parallel": 5}, r"num_attention_heads \(32\)", "change --tensor-parallel"),
        ({"pipeline_parallel": 5}, r"num_hidden_layers \(32\)", "change --pipeline-parallel"),
        ({"pipeline_parallel": 8, "virtual_stages": 3}, r"num_hidden_layers \(32\)", "change --pipeline"),
        ({"lora_rank": 8, "lora_modules": ("qproj",)}, "no matrix 'qproj'", "did you mean q_proj?"),
    ],
)
def test_what_a_model_cannot_be_split_into_is_named(
    llama_2_7b: Architecture, wrong: dict[str, Any], problem: str, hint: str
) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        training_memory(llama_2_7b, replace(AT_2048, **wrong))
    assert hint in caught.value.hint
