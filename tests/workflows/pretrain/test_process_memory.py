"""What a process holds: the formula by hand, and what several processes have each."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from llmkit.kernels.library import available
from llmkit.model.config import ModelConfig
from llmkit.model.presets import preset
from llmkit.model.transformer import Transformer
from llmkit.train.config import PretrainConfig
from llmkit.train.muon import orthogonalising_bytes
from llmkit.train.optimizer import hidden_matrices
from llmkit.train.parallel.degrees import Degrees
from llmkit.workflows.pretrain.data import PretrainData
from llmkit.workflows.pretrain.process_memory import checkpoint_file_bytes, memory_bytes, run_memory
from llmkit.workflows.run.memory import (
    DISTRIBUTED_BYTES,
    IN_PARTS_BYTES,
    RECOMPUTING_BYTES,
    RUNTIME_BYTES,
    activation_bytes,
)
from tests.workflows.small_setup import MODEL, setup_of

MakeData = Callable[..., PretrainData]


def test_memory_is_predicted_by_what_was_measured(make_data: MakeData) -> None:
    """The docstring's sum, by hand, for both kinds of norm and MLP."""
    setup = setup_of(make_data(seq_len=8), micro_batch_rows=4)
    weights = sum(weight.numel() for weight in Transformer(MODEL).parameters())
    config, gated = PretrainConfig(), 3 if available() else 4
    kept = (
        round(1.2 * 32 * 2 * ((24 if available() else 28) * 8 + 4 * 2 * 1 * 4 + 4 * gated * 12))
        + 32 * (4 if available() else 8) * 48
    )
    assert memory_bytes(setup, config, MODEL) == (325 << 20) + 16 * weights + kept
    watched = PretrainConfig(log_norms=5)
    assert memory_bytes(setup, watched, MODEL) == (325 << 20) + 20 * weights + kept
    gpt2 = ModelConfig(
        **{**{name: getattr(MODEL, name) for name in ("vocab_size", "hidden_size", "intermediate_size")}},
        model_type="gpt2",
        num_hidden_layers=2,
        num_attention_heads=2,
        norm="layer",
        position="learned",
        attention_bias=True,
        output_bias=True,
        mlp_bias=True,
        gated_mlp=False,
        hidden_act="gelu_new",
    )
    weights = sum(weight.numel() for weight in Transformer(gpt2).parameters())
    kept = 32 * 2 * (20 * 8 + 2 * 2 * 2 * 4 + 4 * 12) + 32 * (2 if available() else 10) * 48
    half = replace(setup, recipe=replace(setup.recipe, dtype="bfloat16"))
    assert memory_bytes(half, config, gpt2) == (325 << 20) + 16 * weights + kept


def test_gradients_of_experts_come_as_what_was_kept_goes_in_an_update_of_one_pass(
    make_data: MakeData,
) -> None:
    sizes: dict[str, int] = {"hidden_size": 8, "num_attention_heads": 2, "num_key_value_heads": 1}
    model = preset("tiny-moe", **sizes, vocab_size=48, max_position_embeddings=32)
    weights = sum(weight.numel() for weight in Transformer(model).parameters())
    data, config = make_data(count=8192, seq_len=8), PretrainConfig()
    for rows in (1, 4096):
        one = setup_of(data, model, batch_rows=rows, micro_batch_rows=rows)
        two = setup_of(data, model, batch_rows=2 * rows, micro_batch_rows=rows)
        kept = activation_bytes(model, rows * 8, "float32")
        assert memory_bytes(two, config, model) == (325 << 20) + 16 * weights + kept
        assert memory_bytes(one, config, model) == (325 << 20) + max(16 * weights, 12 * weights + kept)
    assert kept > 4 * weights > activation_bytes(model, 8, "float32")  # either may be more


@pytest.mark.parametrize("name", ["tiny", "tiny-moe-free", "gpt2"])
def test_muon_has_one_moment_of_each_matrix_of_a_layer(make_data: MakeData, name: str) -> None:
    sizes: dict[str, int] = {"hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 2}
    if name != "gpt2":
        sizes["num_key_value_heads"] = 1
    model = preset(name, **sizes, vocab_size=48, max_position_embeddings=32)
    adamw, muon = (setup_of(make_data(), model, optimizer=one) for one in ("adamw", "muon"))
    hidden = hidden_matrices(Transformer(model))
    matrices = sum(one.numel() for one in hidden)
    at_work = orthogonalising_bytes(tuple(one.shape) for one in hidden)
    config = PretrainConfig()
    less = memory_bytes(adamw, config, model) - (memory_bytes(muon, config, model) - at_work)
    assert less == 4 * matrices > 0


CPU = "cpu"
ALONE = RUNTIME_BYTES[CPU]
APART = ALONE + DISTRIBUTED_BYTES[CPU]
CONFIG = PretrainConfig()


def test_replicas_hold_all_and_a_copy_of_their_gradients(make_data: MakeData) -> None:
    setup = setup_of(make_data(), micro_batch_rows=2, batch_rows=4)
    weights = sum(one.numel() for one in Transformer(MODEL).parameters())
    kept = activation_bytes(MODEL, 2 * 8, "float32")
    assert memory_bytes(setup, CONFIG, MODEL) == ALONE + 16 * weights + kept
    both = replace(setup, degrees=Degrees(dp=2))
    assert memory_bytes(both, CONFIG, MODEL) == APART + 20 * weights + kept
    assert run_memory(both, CONFIG, MODEL).on(2) == 2 * (APART + 20 * weights + kept)


def test_shards_hold_a_part_and_what_is_gathered(make_data: MakeData) -> None:
    setup = replace(setup_of(make_data(), micro_batch_rows=1, batch_rows=4), degrees=Degrees(fsdp=4))
    sizes = {name: one.numel() for name, one in Transformer(MODEL).named_parameters()}
    layer = sum(size for name, size in sizes.items() if ".layers.0." in name)
    whole = sum(sizes.values())
    kept = 4 * -(-whole // 4) + 4 * (whole - 2 * layer) + 6 * layer
    apart = APART + IN_PARTS_BYTES[CPU] + activation_bytes(MODEL, 8, "float32")
    assert memory_bytes(setup, CONFIG, MODEL) == apart + 4 * kept
    recomputing = PretrainConfig(activation_checkpointing="full")
    gap = activation_bytes(MODEL, 8, "float32") - activation_bytes(MODEL, 8, "float32", recomputing="full")
    assert memory_bytes(setup, recomputing, MODEL) == apart + 4 * kept - gap  # imports nothing more
    assert RECOMPUTING_BYTES[CPU] < IN_PARTS_BYTES[CPU]


def test_the_first_process_has_the_checkpoint_in_one_piece_where_the_model_lies_in_parts(
    make_data: MakeData,
) -> None:
    """Wide and short rows: the state of the model is all that counts."""
    model = preset("tiny", hidden_size=512, vocab_size=48, max_position_embeddings=32)
    setup = setup_of(make_data(), model, micro_batch_rows=1, batch_rows=8)
    size = checkpoint_file_bytes(setup, model)
    eighth = run_memory(replace(setup, degrees=Degrees(fsdp=8)), CONFIG, model)
    own = sum(one.numel() for one in Transformer(model).parameters()) / 8
    assert eighth.first == pytest.approx(APART + IN_PARTS_BYTES[CPU] + 12 * own + size, abs=32)
    assert eighth.first > eighth.other
    beside = PretrainConfig(async_checkpoint=True)
    assert run_memory(replace(setup, degrees=Degrees(fsdp=8)), beside, model).first == eighth.first + size
    replicas = run_memory(replace(setup, degrees=Degrees(dp=8)), CONFIG, model)
    assert replicas.first == replicas.other


def test_a_model_in_parts_was_whole_before_it_was_cut(make_data: MakeData) -> None:
    model = preset("tiny", hidden_size=512, vocab_size=48, max_position_embeddings=32)
    setup = setup_of(make_data(), model, micro_batch_rows=1, batch_rows=64)
    whole = 4 * sum(one.numel() for one in Transformer(model).parameters())
    many = replace(setup, degrees=Degrees(pp=model.num_hidden_layers, tp=4))
    assert memory_bytes(many, CONFIG, model) == APART + IN_PARTS_BYTES[CPU] + whole


def test_the_last_stage_has_the_logits_and_every_stage_two_parts_of_the_batch(make_data: MakeData) -> None:
    setup = setup_of(make_data(), micro_batch_rows=4, batch_rows=4)
    setup = replace(setup, degrees=Degrees(pp=2))
    first, last = (
        activation_bytes(MODEL, 2 * 8, "float32", degrees=setup.degrees, stage=stage, under_way=2)
        for stage in range(2)
    )
    assert last - first == 1.5 * 2 * 8 * 48 * 8  # half of the rows at once
    own = [memory_bytes(setup, CONFIG, MODEL, stage) for stage in range(2)]
    assert own[1] - own[0] == last - first + 16 * 8  # and the last norm
    assert run_memory(setup, CONFIG, MODEL).other == own[1]


def test_rows_in_pieces_keep_their_positions_and_the_keys_of_all(make_data: MakeData) -> None:
    setup = replace(setup_of(make_data(), micro_batch_rows=4, batch_rows=4), degrees=Degrees(cp=2))
    alone = replace(setup, degrees=Degrees())
    weights = sum(one.numel() for one in Transformer(MODEL).parameters())
    tokens, keys = 4 * 8 // 2, 2 * 4 * 2 * 1 * 4  # two layers, four bytes, keys and values of one head of 4
    half = activation_bytes(MODEL, tokens, "float32")
    assert activation_bytes(MODEL, tokens, "float32", degrees=setup.degrees) == half + round(
        1.2 * tokens * keys
    )
    more = memory_bytes(setup, CONFIG, MODEL) - memory_bytes(alone, CONFIG, MODEL)
    kept = half + round(1.2 * tokens * keys) - activation_bytes(MODEL, 2 * tokens, "float32")
    scores = 2 * 2 + 2 * 8  # pieces of two positions: the first process has those that end at 2 and at 8
    assert more == DISTRIBUTED_BYTES[CPU] + 4 * weights + kept + 4 * 5 * scores
    one_text = replace(setup, recipe=replace(setup.recipe, document_mask=False))
    assert memory_bytes(setup, CONFIG, MODEL) - memory_bytes(one_text, CONFIG, MODEL) == 3 * 5 * scores
