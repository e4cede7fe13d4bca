"""What a file's tensors tell where no key does."""

import pytest

from llmkit.formats.gguf.header import GgufTensorInfo
from llmkit.model.gguf.shown import shown, stored_dtype


@pytest.mark.parametrize("field", ["attention_bias", "output_bias", "mlp_bias", "attention_sinks"])
def test_a_tensor_of_any_layer_counts_since_layers_differ(field: str) -> None:
    name = {
        **{"attention_bias": "attn_q.bias", "output_bias": "attn_output.bias"},
        **{"mlp_bias": "ffn_down.bias", "attention_sinks": "attn_sinks.weight"},
    }[field]
    found = shown(["token_embd.weight", "blk.0.ssm_in.weight", f"blk.11.{name}"], None)
    assert [key for key, value in found.items() if value] == ["tie_word_embeddings", field]


def test_a_bias_of_a_convolution_or_of_steps_is_none_of_attention() -> None:
    found = shown(["blk.0.ssm_conv1d.bias", "blk.0.ssm_dt.bias", "blk.0.exp_probs_b.bias"], None)
    assert not any(found[key] for key in ("attention_bias", "output_bias", "mlp_bias"))


def test_a_joined_projection_has_the_bias_of_all_three() -> None:
    assert shown(["blk.0.attn_qkv.bias"], None)["attention_bias"] is True


def test_a_model_without_a_head_is_tied_and_so_is_one_whose_file_says_it() -> None:
    assert shown(["token_embd.weight"], None)["tie_word_embeddings"] is True
    assert shown(["output.weight"], None)["tie_word_embeddings"] is False
    assert shown(["output.weight"], True)["tie_word_embeddings"] is True
    assert shown(["output.weight", "output.bias"], None)["head_bias"] is True


def test_the_type_of_most_numbers_is_the_dtype_and_float32_stands_for_codes() -> None:
    def info(kind: str, rows: int) -> GgufTensorInfo:
        return GgufTensorInfo("a", (32, rows), kind, 0, 0)

    assert stored_dtype([info("F32", 1), info("BF16", 3), info("F32", 1)]) == "bfloat16"
    assert stored_dtype([info("F16", 2), info("Q4_K", 3)]) == "float32"
