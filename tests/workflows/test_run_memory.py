"""What a forward pass keeps, added up by hand."""

from llmkit.model.config import ModelConfig
from llmkit.workflows.run_memory import activation_bytes

MODEL = ModelConfig(
    vocab_size=100, hidden_size=8, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2
)


def test_a_token_keeps_its_stream_its_keys_and_values_its_mlp_and_its_logits() -> None:
    layer = 20 * 8 + 2 * 8 + 4 * 24  # RMSNorm, as many key heads as heads, a gated MLP
    assert activation_bytes(MODEL, 10, "float32") == 10 * (2 * layer * 4 + 3 * 4 * 100)
    assert activation_bytes(MODEL, 10, "bfloat16") == 10 * (2 * layer * 2 + 3 * 4 * 100)


def test_a_head_that_scores_in_chunks_keeps_one_chunk() -> None:
    whole = activation_bytes(MODEL, 10, "float32")
    assert whole - activation_bytes(MODEL, 10, "float32", head_tokens=3) == 7 * 3 * 4 * 100
    assert activation_bytes(MODEL, 10, "float32", head_tokens=50) == whole
