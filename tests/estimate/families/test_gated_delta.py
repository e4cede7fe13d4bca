"""A layer of the gated delta rule: 2 key heads of 3 numbers, 4 value heads of 5, 3 tokens convolved."""

from llmkit.estimate.families.attention import Attention
from llmkit.estimate.families.gated_delta import gated_delta
from llmkit.estimate.families.sheet import Sheet
from llmkit.estimate.families.sizes import Sizes
from llmkit.model.keys import Keys

SIZES = Sizes(hidden_size=8, vocab_size=50, layers=4, heads=4, kv_heads=2, head_dim=6, max_positions=64)
FILE = {
    **{"linear_num_key_heads": 2, "linear_key_head_dim": 3, "linear_num_value_heads": 4},
    **{"linear_value_head_dim": 5, "linear_conv_kernel_dim": 3},
}


def written(attention: Attention, layer: int) -> dict[str, tuple[int, ...]]:
    sheet = Sheet()
    attention.write(sheet, layer)
    return {tensor.name: tensor.shape for tensor in sheet.tensors}


def test_a_state_layer_projects_queries_keys_values_and_gates() -> None:
    convolved = 2 * (2 * 3) + 4 * 5  # queries and keys, values
    assert written(gated_delta(Keys(FILE, "config.json"), SIZES, inputs_by_head=True), 0) == {
        "linear_attn.in_proj_qkvz.weight": (convolved + 4 * 5, 8),
        "linear_attn.in_proj_ba.weight": (4 + 4, 8),
        "linear_attn.conv1d.weight": (convolved, 1, 3),
        "linear_attn.dt_bias": (4,),
        "linear_attn.A_log": (4,),
        "linear_attn.norm.weight": (5,),
        "linear_attn.out_proj.weight": (8, 20),
    }


def test_a_state_is_one_matrix_for_each_value_head_and_does_not_grow() -> None:
    state = gated_delta(Keys(FILE, "config.json"), SIZES, inputs_by_head=True).caches[0]
    assert (state.kind, state.recurrent, state.conv) == ("state", 4 * 3 * 5, 32 * 2)
    assert (state.kv_heads, state.query_heads, state.window) == (0, 0, 0)


def test_every_fourth_layer_attends_with_a_gate_for_each_number() -> None:
    attention = gated_delta(Keys(FILE, "config.json"), SIZES, inputs_by_head=True)
    assert [cache.kind for cache in attention.caches] == ["state", "state", "state", "full"]
    found = written(attention, 3)
    assert found["self_attn.q_proj.weight"] == (2 * 4 * 6, 8)
    assert found["self_attn.k_proj.weight"] == (2 * 6, 8)
    assert found["self_attn.o_proj.weight"] == (8, 4 * 6)
    assert found["self_attn.q_norm.weight"] == (6,)
    assert not any("bias" in name for name in found)


def test_biases_belong_to_the_layers_that_attend() -> None:
    attention = gated_delta(Keys({**FILE, "attention_bias": True}, "config.json"), SIZES, inputs_by_head=True)
    assert written(attention, 3)["self_attn.q_proj.bias"] == (48,)
    assert [name for name in written(attention, 0) if name.endswith(".bias")] == []


def test_a_file_that_says_nothing_has_the_states_of_qwen3_next() -> None:
    state = gated_delta(Keys({}, "config.json"), SIZES, inputs_by_head=True).caches[0]
    assert state.recurrent == 32 * 128 * 128
    assert state.conv == (2 * 16 * 128 + 32 * 128) * 3


def test_inputs_may_be_four_matrices_with_the_same_rows_in_all() -> None:
    attention = gated_delta(Keys(FILE, "config.json"), SIZES, inputs_by_head=False)
    shapes = {name: shape for name, shape in written(attention, 0).items() if "in_proj" in name}
    assert shapes == {
        f"linear_attn.in_proj_{name}.weight": (rows, 8)
        for name, rows in {"qkv": 32, "z": 20, "b": 4, "a": 4}.items()
    }
