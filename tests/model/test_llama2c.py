"""llama2.c's files, written here by hand after its export.py, open as the model they were made from."""

import struct
from pathlib import Path

import pytest
import torch
from gguf_models import SIZES, random_model

from llmkit.errors import DataError
from llmkit.model.config import ModelConfig
from llmkit.model.llama2c import is_llama2c, llama2c_config, load_llama2c
from llmkit.model.transformer import Transformer


def _export(model: Transformer, path: Path) -> Path:
    """export.py's legacy_export: sizes, then every kind of tensor for all layers."""
    config, state = model.config, model.state_dict()
    tied, layers = config.tie_word_embeddings, range(config.num_hidden_layers)
    sizes = (
        *(config.hidden_size, config.intermediate_size, config.num_hidden_layers),
        *(config.num_attention_heads, config.num_key_value_heads),
        *(config.vocab_size if tied else -config.vocab_size, config.max_position_embeddings),
    )
    parts = [state["model.embed_tokens.weight"]]
    for module in ("input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"):
        for layer in layers:
            tensor = state[f"model.layers.{layer}.{module}.weight"]
            if module.endswith(("q_proj", "k_proj")):  # Meta's order: pairs side by side
                heads = len(tensor) // config.head_dim
                tensor = tensor.view(heads, 2, config.head_dim // 2, -1).transpose(1, 2)
            parts.append(tensor)
    for module in (
        *("self_attn.o_proj", "post_attention_layernorm", "mlp.gate_proj", "mlp.down_proj", "mlp.up_proj"),
    ):
        parts += [state[f"model.layers.{layer}.{module}.weight"] for layer in layers]
    parts += [state["model.norm.weight"], torch.zeros(config.max_position_embeddings * config.head_dim)]
    parts += [] if tied else [state["lm_head.weight"]]
    content = b"".join(part.reshape(-1).numpy().tobytes() for part in parts)
    path.write_bytes(struct.pack("<7i", *sizes) + content)
    return path


@pytest.mark.parametrize("tied", [True, False])
def test_a_file_opens_as_the_model_it_was_made_from(tied: bool, tmp_path: Path) -> None:
    model = random_model(ModelConfig(**SIZES, tie_word_embeddings=tied))
    path = _export(model, tmp_path / "a.bin")
    again = load_llama2c(path)
    ours, theirs = model.state_dict(), again.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(theirs[name], tensor) for name, tensor in ours.items())
    assert again.config.num_key_value_heads == 2 and again.config.tie_word_embeddings is tied
    assert llama2c_config(path) == again.config


def test_other_files_are_none(tmp_path: Path) -> None:
    path = _export(random_model(ModelConfig(**SIZES)), tmp_path / "a.bin")
    content = path.read_bytes()
    for name, spoilt in (("cut.bin", content[:-4]), ("pickle.bin", b"\x80\x02" * 40), ("empty.bin", b"")):
        (tmp_path / name).write_bytes(spoilt)
        assert not is_llama2c(tmp_path / name)
        with pytest.raises(DataError, match=r"not a model of llama2\.c"):
            llama2c_config(tmp_path / name)
    (tmp_path / "a.model").write_bytes(content)
    assert not is_llama2c(tmp_path / "a.model") and not is_llama2c(tmp_path)
