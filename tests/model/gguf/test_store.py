"""GGUF files open as models: every family comes back bit for bit, others' files too, damaged ones do not."""

from pathlib import Path
from typing import Any

import gguf_models
import numpy as np
import pytest
import torch
from gguf_copies import split_gguf
from gguf_models import CASES, case_config, random_model
from llama_cpp import llama_cpp_logits

from llmkit.errors import ConfigError, DataError, LlmkitError, MissingError
from llmkit.formats.gguf.data import GgufData
from llmkit.formats.gguf.values import Typed
from llmkit.formats.gguf.write import GgufTensor, write_gguf
from llmkit.model.config import ModelConfig
from llmkit.model.gguf.save import gguf_model
from llmkit.model.gguf.store import GgufStore
from llmkit.model.load import load_model
from llmkit.model.transformer import Transformer


def write(path: Path, model: Transformer, dtype: str = "float32", **more: Any) -> Path:
    """A model's file, without a tokenizer."""
    made = gguf_model(model, dtype)
    with path.open("wb") as stream:
        write_gguf(stream, {**made.metadata, **more}, made.tensors)
    return path


@pytest.mark.parametrize(("family", "changes"), CASES)
def test_every_family_comes_back_bit_for_bit(family: str, changes: dict[str, Any], tmp_path: Path) -> None:
    model = random_model(case_config(family, changes))
    again = load_model(write(tmp_path / "a.gguf", model))
    ours, theirs = model.state_dict(), again.state_dict()
    if model.config.position == "sinusoidal":  # a table in the file like any other
        assert again.config.position == "learned"
        theirs.pop("model.embed_positions.weight")
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        if (model.config.norm_plus_one and "norm" in name) or name.endswith("A_log"):
            # 1 + w less 1, the logarithm of exp(A_log): a rounding of 2^-24 each
            assert torch.allclose(theirs[name], tensor, rtol=0, atol=2.0**-23)
        else:
            assert torch.equal(theirs[name], tensor), name
    ids = torch.randint(96, (2, 40), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        rounded = model.config.norm_plus_one or model.config.mamba is not None
        assert (model(ids) - again(ids)).abs().max() <= (1e-5 if rounded else 0)


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("qwen3_next", {**gguf_models.SHARED, **gguf_models.DELTA}),
        ("qwen3_5_text", gguf_models.DELTA),
        ("qwen3_5_moe_text", {**gguf_models.SHARED, **gguf_models.DELTA}),
        ("granitemoehybrid", gguf_models.GRANITE_H),
        ("nemotron_h", gguf_models.NEMOTRON_H),
    ],
)
def test_what_was_bfloat16_is_the_same_again_though_a_file_has_other_numbers(
    family: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    model = random_model(case_config(family, changes)).bfloat16()
    first = write(tmp_path / "a.gguf", model, "bfloat16")
    again = load_model(first)
    assert again.model.embed_tokens.weight.dtype == torch.bfloat16
    theirs = again.state_dict()
    assert all(torch.equal(theirs[name], tensor) for name, tensor in model.state_dict().items())
    second = write(tmp_path / "b.gguf", again, "bfloat16")
    assert second.read_bytes() == first.read_bytes()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_quantised_weights_become_the_numbers_they_stand_for(dtype: torch.dtype, tmp_path: Path) -> None:
    model = random_model(case_config("qwen3", {}))
    path = write(tmp_path / "a.gguf", model, "q8_0")
    loaded = load_model(path, dtype=dtype)
    name = "model.layers.0.mlp.down_proj.weight"
    stored = torch.from_numpy(GgufData(path).values("blk.0.ffn_down.weight"))
    assert torch.equal(loaded.state_dict()[name], stored.to(dtype))
    assert (model.state_dict()[name] - stored).abs().max() < 0.01
    assert load_model(path).state_dict()[name].dtype == torch.float32


def test_a_loaded_weight_is_the_file_until_it_is_written_to(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gguf", random_model(case_config("qwen3", {})))
    before = path.read_bytes()
    model = load_model(path)
    with torch.no_grad():
        model.model.embed_tokens.weight.zero_()
    assert path.read_bytes() == before
    again = random_model(model.config)
    assert torch.equal(load_model(path).model.embed_tokens.weight, again.model.embed_tokens.weight)


def test_a_file_of_the_gguf_package_opens(tmp_path: Path) -> None:
    """Written by hand with llama.cpp's own writer, in llama.cpp's layout."""
    gguf = pytest.importorskip("gguf")
    path = tmp_path / "theirs.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    for add, value in (
        *((writer.add_block_count, 1), (writer.add_context_length, 32), (writer.add_embedding_length, 8)),
        *((writer.add_feed_forward_length, 12), (writer.add_head_count, 2), (writer.add_head_count_kv, 1)),
        *((writer.add_layer_norm_rms_eps, 1e-6), (writer.add_rope_freq_base, 500_000.0)),
    ):
        add(value)
    random = np.random.default_rng(0)
    shapes = {
        **{"token_embd": (16, 8), "output_norm": (8,), "blk.0.attn_norm": (8,), "blk.0.attn_q": (8, 8)},
        **{
            "blk.0.attn_k": (4, 8),
            "blk.0.attn_v": (4, 8),
            "blk.0.attn_output": (8, 8),
            "blk.0.ffn_norm": (8,),
        },
        **{
            "blk.0.ffn_norm": (8,),
            "blk.0.ffn_gate": (12, 8),
            "blk.0.ffn_up": (12, 8),
            "blk.0.ffn_down": (8, 12),
        },
    }
    values = {name: random.normal(size=shape).astype("f4") for name, shape in shapes.items()}
    for name, value in values.items():
        writer.add_tensor(f"{name}.weight", value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    model = load_model(path)
    config = model.config
    assert (config.model_type, config.norm_eps, config.rope_theta) == ("llama", 1e-6, 500_000.0)
    assert config.tie_word_embeddings and config.head_dim == 4
    rows = [0, 2, 1, 3]  # of a head of 4: theirs pair by pair, ours in halves
    k = model.state_dict()["model.layers.0.self_attn.k_proj.weight"]
    assert torch.equal(k, torch.from_numpy(values["blk.0.attn_k"][rows]))


def test_a_latent_tensor_that_is_whole_is_taken_as_it_is(tmp_path: Path) -> None:
    """Files of before 2025-04."""
    model = random_model(case_config("deepseek_v3", {**gguf_models.LATENT, **gguf_models.GROUPS}))
    made = gguf_model(model, "float32")
    state = model.state_dict()
    kept = [one for one in made.tensors if "attn_k_b" not in one.name and "attn_v_b" not in one.name]
    for layer in range(4):
        whole = state[f"model.layers.{layer}.self_attn.kv_b_proj.weight"].numpy()
        name = f"blk.{layer}.attn_kv_b.weight"
        kept.append(GgufTensor(name, whole.shape, "F32", lambda whole=whole: whole))  # type: ignore[misc]
    with (tmp_path / "a.gguf").open("wb") as stream:
        write_gguf(stream, made.metadata, kept)
    again = load_model(tmp_path / "a.gguf").state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in state.items())


@pytest.mark.parametrize("family", ["qwen3_next", "qwen3_5_moe_text"])
def test_gates_and_ups_of_experts_may_be_one_stack(family: str, tmp_path: Path) -> None:
    """As convert_hf_to_gguf.py --fuse-gate-up-exps writes them."""
    model = random_model(case_config(family, {**gguf_models.SHARED, **gguf_models.DELTA}))
    made, state = gguf_model(model, "float32"), model.state_dict()
    kept = [one for one in made.tensors if "ffn_gate_exps" not in one.name and "ffn_up_exps" not in one.name]
    for layer in range(4):
        whole = state[f"model.layers.{layer}.mlp.experts.gate_up_proj"].numpy()
        name = f"blk.{layer}.ffn_gate_up_exps.weight"
        kept.append(GgufTensor(name, whole.shape, "F32", lambda whole=whole: whole))  # type: ignore[misc]
    with (tmp_path / "a.gguf").open("wb") as stream:
        write_gguf(stream, {**made.metadata, "tokenizer.ggml.model": "none"}, kept)
    again = load_model(tmp_path / "a.gguf").state_dict()
    stacks = [name for name in state if name.endswith("gate_up_proj")]
    assert len(stacks) == 4 and all(torch.equal(again[name], state[name]) for name in stacks)
    ids = torch.randint(3, 96, (12,), generator=torch.Generator().manual_seed(1))
    theirs = torch.tensor(llama_cpp_logits(tmp_path / "a.gguf", ids.tolist()))
    with torch.no_grad():
        assert (model(ids[None])[0] - theirs).abs().max() < 5e-4 * theirs.std()


def test_inputs_of_qwen3_next_that_are_whole_are_taken_as_they_are(tmp_path: Path) -> None:
    """Files of before 2026, which llama.cpp reads too."""
    model = random_model(case_config("qwen3_next", {**gguf_models.SHARED, **gguf_models.DELTA}))
    made, state = gguf_model(model, "float32"), model.state_dict()
    layers = model.config.state_layers
    apart = {f"blk.{layer}.{name}.weight" for layer in layers for name in ("attn_qkv", "attn_gate")}
    kept = [one for one in made.tensors if one.name not in apart]
    for layer in layers:
        whole = state[f"model.layers.{layer}.linear_attn.in_proj_qkvz.weight"].numpy()
        name = f"blk.{layer}.ssm_in.weight"
        kept.append(GgufTensor(name, whole.shape, "F32", lambda whole=whole: whole))  # type: ignore[misc]
    with (tmp_path / "a.gguf").open("wb") as stream:
        write_gguf(stream, {**made.metadata, "tokenizer.ggml.model": "none"}, kept)
    again = load_model(tmp_path / "a.gguf").state_dict()
    exact = [name for name in state if "linear_attn.in_proj" in name]
    assert exact and all(torch.equal(again[name], state[name]) for name in exact)
    ids = torch.randint(3, 96, (12,), generator=torch.Generator().manual_seed(1))
    theirs = torch.tensor(llama_cpp_logits(tmp_path / "a.gguf", ids.tolist()))
    with torch.no_grad():
        assert (model(ids[None])[0] - theirs).abs().max() < 5e-4 * theirs.std()


@pytest.mark.parametrize(
    ("spoil", "error", "what"),
    [
        (lambda tensors: tensors[:-1], DataError, "it lacks output_norm.weight"),
        (
            lambda tensors: [*tensors, _extra("blk.0.attn_gate.weight", (4, 4))],
            DataError,
            "it has blk.0.attn_gate",
        ),
        (lambda tensors: [*tensors, _extra("blk", (4, 4))], DataError, "it has blk, unlike"),
        (
            lambda tensors: [*tensors[1:], _extra("token_embd.weight", (96, 32))],
            DataError,
            "token_embd.weight is",
        ),
        (lambda tensors: tensors[1:], ConfigError, "no tensor token_embd.weight"),
    ],
)
def test_a_file_whose_tensors_are_others_is_refused(
    spoil: Any, error: type[LlmkitError], what: str, tmp_path: Path
) -> None:
    made = gguf_model(random_model(case_config("qwen3", gguf_models.TIED)), "float32")
    path = tmp_path / "a.gguf"
    with path.open("wb") as stream:
        write_gguf(stream, made.metadata, spoil(made.tensors))
    for load in (load_model, GgufStore):
        with pytest.raises(error, match=what):
            load(path)


def test_layers_beyond_the_block_count_are_refused_unless_they_predict_further(tmp_path: Path) -> None:
    model = random_model(case_config("qwen3", {}))
    fewer = {"qwen3.block_count": Typed("u32", 3)}
    with pytest.raises(DataError, match=r"it has blk\.3\."):
        load_model(write(tmp_path / "a.gguf", model, **fewer))
    ahead = {"qwen3.nextn_predict_layers": Typed("u32", 1)}
    path = write(tmp_path / "b.gguf", model, **ahead)
    assert load_model(path).config.num_hidden_layers == 3
    with pytest.raises(DataError, match=r"it has blk\.3\."):  # one, and it is blk.2
        load_model(write(tmp_path / "c.gguf", model, **fewer, **ahead))


@pytest.mark.parametrize("dtype", ["float32", "q8_0"])
def test_a_model_in_parts_is_the_whole_bit_for_bit(dtype: str, tmp_path: Path) -> None:
    whole = write(tmp_path / "a.gguf", random_model(case_config("qwen3", {})), dtype)
    parts = split_gguf(whole, tmp_path / "parts", 7)
    assert len(parts) > 3
    ours, theirs = load_model(parts[0]).state_dict(), load_model(whole).state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())
    parts[2].unlink()
    with pytest.raises(MissingError, match=r"a-00003-of-\d+\.gguf: no such file"):
        load_model(parts[0])


def test_one_file_of_several_is_refused(tmp_path: Path) -> None:
    model = random_model(case_config("qwen3", {}))
    path = write(tmp_path / "a.gguf", model, **{"split.count": Typed("u16", 3)})
    with pytest.raises(DataError, match="one of 3 files"):
        load_model(path)


def test_a_context_is_extended_as_a_folders_is(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gguf", random_model(case_config("qwen3", {})))
    scaling = {"rope_type": "linear", "factor": 2.0}
    model = load_model(path, rope_scaling=scaling)
    assert model.config.rope_scaling == scaling and model.config.max_position_embeddings == 512


PEERS = [
    *(("llama", {}), ("llama", gguf_models.MHA), ("qwen2", gguf_models.TIED)),
    ("stablelm", {"use_qkv_bias": True}),
]
"""What transformers 5.24 reads whole: it passes over head_dim, experts, and the biases of llama's files."""


@pytest.mark.parametrize(("family", "changes"), PEERS)
def test_transformers_reads_the_same_logits(family: str, changes: dict[str, Any], tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    for name in ("accelerate", "gguf"):
        pytest.importorskip(name)
    model = random_model(case_config(family, changes))
    write(tmp_path / "a.gguf", model, **{"tokenizer.ggml.model": "none"})
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file="a.gguf", dtype=torch.float32, attn_implementation="eager"
    )
    ids = torch.randint(96, (1, 32), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert (model(ids) - theirs(ids).logits).abs().max() < 1e-4


def _extra(name: str, shape: tuple[int, ...]) -> GgufTensor:
    return GgufTensor(name, shape, "F32", lambda: np.zeros(shape, "f4"))


def test_an_unknown_architecture_is_named(tmp_path: Path) -> None:
    config = case_config("qwen3", {})
    path = write(tmp_path / "a.gguf", random_model(config), **{"general.architecture": "qwen33"})
    with pytest.raises(ConfigError, match=r"general.architecture 'qwen33' is not supported") as caught:
        load_model(path)
    assert "qwen3" in caught.value.hint
    assert isinstance(config, ModelConfig)
