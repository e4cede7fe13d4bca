import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from llmkit.model.transformer import Transformer
from llmkit.quant.stream import Stream, float32_copy
from tests.quant.small_models import model as small_model


@pytest.fixture
def model() -> Transformer:
    return small_model()


def test_a_stream_through_every_layer_is_the_model_itself(model: Transformer) -> None:
    ids = torch.randint(model.config.vocab_size, (5, 12))
    stream = Stream(model, ids)
    for layer in range(model.config.num_hidden_layers):
        stream.advance(layer)
    with torch.inference_mode():
        wanted = model.hidden(ids)
    found = torch.cat([states for _, states in stream.last()])
    assert torch.allclose(found, wanted, atol=1e-5)
    assert torch.equal(torch.cat([part for part, _ in stream.last()]), ids)


def test_moments_are_those_of_the_layer_and_leave_the_stream_before_it(model: Transformer) -> None:
    ids = torch.randint(model.config.vocab_size, (3, 8))
    stream = Stream(model, ids)
    name, block = "model.layers.0.self_attn.q_proj.weight", model.model.layers[0]
    first = stream.moments(0, {name: block.self_attn.q_proj.weight})[name]
    with torch.inference_mode():
        inputs = block.input_layernorm(model.model.embed(ids, torch.arange(8), 8)).flatten(0, 1)
    assert torch.allclose(first.second, inputs.T @ inputs, atol=1e-4)
    again = stream.moments(0, {name: block.self_attn.q_proj.weight})[name]
    assert torch.equal(first.second, again.second)


def test_a_stream_changes_neither_the_model_nor_another_stream(model: Transformer) -> None:
    ids = torch.randint(model.config.vocab_size, (2, 8))
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    one, other = Stream(model, ids), Stream(model, ids)
    one.advance(0)
    other.advance(0)
    assert all(torch.equal(value, kept[name]) for name, value in model.state_dict().items())
    assert torch.equal(next(one.last())[1], next(other.last())[1])


def test_a_stream_beside_another_tells_what_inputs_have_lost(model: Transformer) -> None:
    ids = torch.randint(model.config.vocab_size, (3, 8))
    original = Stream(model, ids)
    name, block = "model.layers.0.self_attn.q_proj.weight", model.model.layers[0]
    weights = {name: block.self_attn.q_proj.weight}
    moved = Stream(model, ids)
    moved._states += 0.1
    found = moved.moments(0, weights, original=original)[name]
    with torch.inference_mode():
        x, y = (block.input_layernorm(one._states).flatten(0, 1) for one in (moved, original))
        at_head = moved.head_moments(original=original).missing
    assert found.missing is not None and at_head is not None
    assert torch.allclose(found.missing, (y - x).T @ x, atol=1e-3)
    norm = model.model.norm
    with torch.inference_mode():
        x, y = (norm(one._states).flatten(0, 1) for one in (moved, original))
    assert torch.allclose(at_head, (y - x).T @ x, atol=1e-3)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the call")
def test_weights_of_a_file_leave_memory_once_they_are_copied(tmp_path: Path) -> None:
    def resident_bytes() -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssFile:"))

    kept = torch.randn(1 << 11, 1 << 11).bfloat16()  # 8 MiB
    save_file({"a": kept}, tmp_path / "a.safetensors")
    with torch.device("meta"):
        linear = nn.Linear(1 << 11, 1 << 11, bias=False)
    linear.weight = nn.Parameter(load_file(tmp_path / "a.safetensors")["a"], requires_grad=False)
    assert torch.equal(linear.weight, kept)  # which reads all of it
    before = resident_bytes()
    copied = float32_copy(linear)
    assert before - resident_bytes() > 7 << 20
    assert copied.weight.dtype == torch.float32 and torch.equal(copied.weight, kept.float())
    assert torch.equal(linear.weight, kept)
