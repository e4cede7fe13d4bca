"""Which model it is: the same however it is stored, another as soon as weights or arithmetic are others."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

from llmkit.model import fingerprint
from llmkit.model.config import ModelConfig
from llmkit.model.fingerprint import model_fingerprint

Tiny = Callable[..., Path]


def _config(folder: Path) -> ModelConfig:
    return ModelConfig.from_hf(json.loads((folder / "config.json").read_text()), "config.json")


def _of(folder: Path) -> str:
    return model_fingerprint(folder, _config(folder))


def test_a_copy_is_the_same_model_and_so_is_one_in_several_files(tiny_model: Tiny) -> None:
    one, other = tiny_model("one"), tiny_model("other")
    tensors = load_file(other / "model.safetensors")
    (other / "model.safetensors").unlink()
    names = sorted(tensors)
    weight_map = {}
    for number, half in enumerate((names[::2], names[1::2])):
        save_file({name: tensors[name] for name in half}, other / f"part-{number}.safetensors")
        weight_map |= dict.fromkeys(half, f"part-{number}.safetensors")
    (other / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert _of(one) == _of(other) and len(_of(one)) == 64


def test_one_bit_of_one_weight_makes_another_model(tiny_model: Tiny) -> None:
    one, other = tiny_model("one"), tiny_model("other")
    path = other / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert _of(one) != _of(other)


@pytest.mark.parametrize(
    "fields", [{"rope_theta": 5000.0}, {"norm_eps": 1e-3}, {"hidden_act": "relu"}, {"bos_token_id": 7}]
)
def test_what_the_config_says_counts(fields: dict[str, object], tiny_model: Tiny) -> None:
    folder = tiny_model()
    config = _config(folder)
    assert model_fingerprint(folder, config) != model_fingerprint(folder, replace(config, **fields))


def test_what_a_flag_may_change_does_not_count(tiny_model: Tiny) -> None:
    folder = tiny_model()
    config = _config(folder)
    longer = replace(config, max_position_embeddings=1000)
    assert model_fingerprint(folder, config) == model_fingerprint(folder, longer)


def test_a_large_model_is_known_by_pieces_of_each_tensor_from_first_to_last_byte(
    tiny_model: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_model(vocab_size=3000)  # the embedding takes 96,000 bytes
    path = folder / "model.safetensors"
    whole = _of(folder)
    monkeypatch.setattr(fingerprint, "WHOLE_BYTES", 1000)
    monkeypatch.setattr(fingerprint, "SAMPLE_BYTES", 8)
    sampled = _of(folder)
    assert sampled != whole
    tensors = load_file(path)
    name = max(tensors, key=lambda one: tensors[one].size)
    flat = tensors[name].reshape(-1)
    seen = []
    for place in (0, 1, 2, 3, flat.size // 2, flat.size - 3, flat.size - 2, flat.size - 1):
        before = flat[place]
        flat[place] = 7
        save_file(tensors, path)
        seen.append(_of(folder) != sampled)
        flat[place] = before
    assert seen == [True, True, False, False, False, False, True, True]  # 16 pieces of two numbers each


def test_a_gguf_file_has_a_fingerprint_of_its_own(shared_data: Path) -> None:
    files = sorted((shared_data / "models").rglob("*.gguf"))
    if not files:
        pytest.skip("no GGUF file in the shared data")
    config = _config(shared_data / "models" / "stories260K")
    assert len({model_fingerprint(path, config) for path in files[:3]}) == len(files[:3])
