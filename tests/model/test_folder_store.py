"""What a model folder holds, told from its headers, and read into memory of its own or as its own pages."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from llmkit.errors import DataError
from llmkit.formats.quantised.gptq import Gptq
from llmkit.model.config import ModelConfig
from llmkit.model.folder_store import FolderStore
from llmkit.model.load import load_model
from llmkit.model.mapped import FileMappings
from llmkit.model.quantised.coded_weights import CodedWeights
from llmkit.model.save import save_model
from llmkit.model.transformer import Transformer
from tests.parity.family_models import LLAMA4, SIZES
from tests.quant.small_folders import write_folders

EMBEDDING = "model.embed_tokens.weight"
Q, NORM = "model.layers.0.self_attn.q_proj.weight", "model.norm.weight"


@pytest.fixture
def saved(
    tmp_path: Path, make_config: Callable[..., ModelConfig], make_model: Callable[..., Transformer]
) -> Callable[..., Path]:
    """Save a small model of a family."""

    def save(family: str = "llama", **fields: object) -> Path:
        save_model(make_model(make_config(family, **fields)), tmp_path)
        return tmp_path

    return save


def test_tensors_that_files_keep_together_are_read_together(saved: Callable[..., Path]) -> None:
    store = FolderStore(saved("phi3"))
    found = store.read(Q, "float32", mapped=False)
    assert list(found) == [Q, Q.replace("q_proj", "k_proj"), Q.replace("q_proj", "v_proj")]
    joined = load_file(saved("phi3") / "model.safetensors")["model.layers.0.self_attn.qkv_proj.weight"]
    assert np.array_equal(np.concatenate(list(found.values())), joined.numpy())
    assert list(store.read(NORM, "float32", mapped=False)) == [NORM]


@pytest.mark.parametrize("mapped", [True, False])
def test_pages_of_the_file_are_given_only_where_they_are_asked_for(
    mapped: bool, saved: Callable[..., Path]
) -> None:
    store = FolderStore(saved(vocab_size=4096))
    found = store.read(EMBEDDING, "float32", mapped=mapped)[EMBEDDING]
    assert (FileMappings().forget_pages(found) > 0) == mapped
    assert np.array_equal(found, load_file(saved(vocab_size=4096) / "model.safetensors")[EMBEDDING].numpy())


def test_how_a_tensor_is_kept_is_told_in_a_word(tmp_path: Path) -> None:
    write_folders(tmp_path, "gptq")
    quantised, plain = FolderStore(tmp_path / "quantised"), FolderStore(tmp_path / "plain")
    assert (quantised.quantised, plain.quantised) == (True, False)
    assert (quantised.form(Q), quantised.form(NORM), plain.form(Q)) == ("gptq", "bfloat16", "bfloat16")


def test_a_file_whose_numbers_begin_at_odd_places_is_read(saved: Callable[..., Path]) -> None:
    path = saved()
    tensors = {name: one.clone() for name, one in load_file(path / "model.safetensors").items()}
    entries, content = {}, b""
    for name, tensor in tensors.items():
        entries[name] = {
            **{"dtype": "F32", "shape": list(tensor.shape)},
            "data_offsets": [len(content), len(content) + tensor.nbytes],
        }
        content += tensor.numpy().tobytes()
    header = json.dumps(entries).encode()
    header += b" " * (1 - len(header) % 2)  # an odd number of bytes before the numbers
    (path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + content)
    store = FolderStore(path)
    for name, tensor in tensors.items():
        found = store.read(name, "float32", mapped=True)[name]
        assert found.flags.aligned and np.array_equal(found, tensor.numpy())


def test_a_head_beside_a_tied_embedding_of_codes_must_be_equal_to_its_numbers(
    saved: Callable[..., Path],
) -> None:
    path = saved(tie_word_embeddings=True)
    random = np.random.default_rng(0)
    tensors = load_file(path / "model.safetensors")
    rows, columns = tensors.pop(EMBEDDING).shape
    layout, codes = Gptq(4, 32), random.integers(0, 16, (rows, columns)).astype(np.uint8)
    parts = layout.write(codes, random.integers(1, 16, (rows, columns // 32)).astype(np.int16))
    parts[".scales"] = random.normal(size=(columns // 32, rows)).astype(np.float16)
    tensors |= {f"model.embed_tokens{suffix}": torch.from_numpy(one) for suffix, one in parts.items()}
    config = json.loads((path / "config.json").read_text())
    section = {"quant_method": "gptq", "bits": 4, "group_size": 32, "desc_act": False}
    (path / "config.json").write_text(json.dumps(config | {"quantization_config": section}))
    save_file(tensors, path / "model.safetensors")
    numbers = torch.from_numpy(FolderStore(path).read(EMBEDDING, "float32", mapped=True)[EMBEDDING])
    save_file(tensors | {"lm_head.weight": numbers}, path / "model.safetensors")
    coded = CodedWeights()
    FolderStore(path).offer(coded)
    assert EMBEDDING in coded.sources
    for head in (numbers + 1, numbers[:-1].contiguous()):
        save_file(tensors | {"lm_head.weight": head}, path / "model.safetensors")
        store = FolderStore(path)
        with pytest.raises(DataError, match=r"lm_head\.weight differs from the embedding"):
            store.offer(CodedWeights())
        with pytest.raises(DataError, match=r"lm_head\.weight differs from the embedding"):
            store.read(EMBEDDING, "bfloat16", mapped=True)


def test_sinusoids_that_are_others_are_refused_before_any_weight_is_read(saved: Callable[..., Path]) -> None:
    path = saved("gpt2", position="sinusoidal")
    FolderStore(path)
    tensors = load_file(path / "model.safetensors")
    tensors["transformer.wpe.weight"][3] += 0.1
    save_file(tensors, path / "model.safetensors")
    with pytest.raises(DataError, match=r"wpe\.weight is not the sinusoids"):
        FolderStore(path)


def test_experts_are_read_one_by_one_and_out_of_one_stack(saved: Callable[..., Path]) -> None:
    path = saved("qwen3_moe")
    stack = "model.layers.0.mlp.experts.gate_up_proj"
    one_by_one = FolderStore(path).read(stack, "float32", mapped=False)[stack]
    tensors = load_file(path / "model.safetensors")
    for layer in range(2):
        for name, parts in (("gate_up_proj", ("gate_proj", "up_proj")), ("down_proj", ("down_proj",))):
            experts = f"model.layers.{layer}.mlp.experts"
            count = sum(one.startswith(f"{experts}.") and f".{parts[0]}." in one for one in tensors)
            made = [
                torch.cat([tensors.pop(f"{experts}.{n}.{one}.weight") for one in parts]) for n in range(count)
            ]
            tensors[f"{experts}.{name}"] = torch.stack(made)
    save_file(tensors, path / "model.safetensors")
    assert np.array_equal(FolderStore(path).read(stack, "float32", mapped=False)[stack], one_by_one)


def test_stacks_of_llama_4_are_read_out_of_matrices_that_llm_compressor_took_apart(tmp_path: Path) -> None:
    sizes = {**LLAMA4, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "head_dim": 16}
    model = Transformer(ModelConfig.from_hf({"model_type": "llama4_text", **SIZES, **sizes}))
    save_model(model, tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    for layer in range(2):
        experts = f"model.layers.{layer}.feed_forward.experts"
        for number, one in enumerate(tensors.pop(f"{experts}.gate_up_proj")):  # (D, 2 F)
            for half, name in zip(one.T.chunk(2), ("gate_proj", "up_proj"), strict=True):
                tensors[f"{experts}.{number}.{name}.weight"] = half.contiguous()
        for number, one in enumerate(tensors.pop(f"{experts}.down_proj")):  # (F, D)
            tensors[f"{experts}.{number}.down_proj.weight"] = one.T.contiguous()
    save_file(tensors, tmp_path / "model.safetensors")
    again = load_model(tmp_path).state_dict()
    assert again.keys() == model.state_dict().keys()
    assert all(torch.equal(one, again[name]) for name, one in model.state_dict().items())


def test_layers_that_predict_further_tokens_and_parts_for_images_are_left_out(
    saved: Callable[..., Path],
) -> None:
    path = saved()
    tensors = load_file(path / "model.safetensors")
    inside = {name.replace("model.", "model.language_model.", 1): one for name, one in tensors.items()}
    others = ("mtp.fc.weight", "mtp.layers.0.self_attn.q_proj.weight", "model.visual.blocks.0.norm1.weight")
    save_file(inside | {name: torch.zeros(2) for name in others}, path / "model.safetensors")
    found = FolderStore(path).read(Q, "float32", mapped=False)[Q]
    assert np.array_equal(found, tensors[Q].numpy())
