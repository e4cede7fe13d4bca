"""What show says of models: counts by hand, shapes as config.json has them, headers only."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors import safe_open

from llmkit.errors import DataError, MissingError
from llmkit.formats.model_folder import read_tensors
from llmkit.workflows.show.model import list_tensors, part_of, show_config, show_model, show_safetensors
from tests.quant.small_folders import write_folders


def test_parts_are_what_the_shapes_multiply_to(tiny_model: Callable[..., Path]) -> None:
    report = show_model(tiny_model())
    assert report.weights is not None
    parts = {part.name: (part.tensors, part.parameters) for part in report.weights.parts}
    # hidden 8, 2 heads of 4, one key/value head, mlp 12, 48 ids, 2 layers
    assert parts == {
        "embedding": (1, 48 * 8),
        "attention": (8, 2 * (8 * 8 + 4 * 8 + 4 * 8 + 8 * 8)),
        "mlp": (6, 2 * 3 * 8 * 12),
        "norm": (5, 5 * 8),
    }
    assert report.weights.parameters == sum(count for _, count in parts.values())
    assert report.weights.size_bytes == 4 * report.weights.parameters
    assert report.weights.dtypes == {"F32": report.weights.parameters}
    assert (report.tied, report.weights.layers, report.supported) == (True, 2, True)


def test_real_models_have_the_parameters_their_reference_states(shared_data: Path) -> None:
    for folder in sorted((shared_data / "models").iterdir()):
        expected = json.loads((folder / "reference.json").read_text())["parameters"]
        report = show_model(folder)
        assert report.weights is not None and report.weights.parameters == expected
        assert "other" not in {part.name for part in report.weights.parts}
        assert report.tokenizer is not None and report.tokenizer.fits


def test_every_tensor_is_listed_as_safetensors_has_it(tiny_model: Callable[..., Path]) -> None:
    folder = tiny_model(num_hidden_layers=11)
    listed = list(list_tensors(read_tensors(folder).values()))
    with safe_open(folder / "model.safetensors", framework="np") as file:
        assert {one.name: one.shape for one in listed} == {
            name: tuple(file.get_slice(name).get_shape())
            for name in file.keys()  # noqa: SIM118
        }
    layers = [int(one.name.split(".")[2]) for one in listed if ".layers." in one.name]
    assert layers == sorted(layers)  # 2 before 10


def test_one_safetensors_file_shows_its_metadata(tiny_model: Callable[..., Path]) -> None:
    report = show_safetensors(tiny_model() / "model.safetensors")
    assert (report.kind, report.metadata) == ("safetensors", {"format": "pt"})


def test_a_sharded_model_counts_all_its_files(tiny_model: Callable[..., Path]) -> None:
    from safetensors.numpy import load_file, save_file

    folder = tiny_model()
    tensors = load_file(folder / "model.safetensors")
    whole = show_model(folder).weights
    names = sorted(tensors)
    halves = {"model-00001-of-00002.safetensors": names[:9], "model-00002-of-00002.safetensors": names[9:]}
    for file, half in halves.items():
        save_file({name: tensors[name] for name in half}, folder / file)
    index = {"metadata": {}, "weight_map": {name: file for file, half in halves.items() for name in half}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model.safetensors").unlink()
    sharded = show_model(folder).weights
    assert whole is not None and sharded is not None
    assert (sharded.parts, sharded.files) == (whole.parts, list(halves))
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(MissingError, match="00002"):
        show_model(folder)


def test_a_config_that_cannot_run_here_is_still_shown(shared_data: Path, tmp_path: Path) -> None:
    published = shared_data / "configs" / "Qwen3-30B-A3B-FP8" / "config.json"
    (tmp_path / "config.json").write_text(published.read_text().replace('"fp8"', '"modelopt"'))
    report = show_config(tmp_path / "config.json")
    assert report.supported is False and "quantised weights" in (report.why_not or "")
    assert report.shape["num_hidden_layers"] == 48


def test_a_quantised_config_alone_is_shown_without_the_bytes_of_plain_numbers(shared_data: Path) -> None:
    report = show_config(shared_data / "configs" / "Qwen3-30B-A3B-FP8" / "config.json")
    assert report.supported and report.weights is None


def test_a_config_alone_has_the_parameters_of_the_published_model(shared_data: Path) -> None:
    report = show_config(shared_data / "configs" / "Llama-3.1-8B" / "config.json")
    assert report.weights is not None
    assert report.weights.parameters == 8_030_261_248  # Llama 3.1 8B
    assert (report.weights.dtypes, report.weights.files) == ({"BF16": 8_030_261_248}, [])


def test_a_truncated_file_is_bad_data(tiny_model: Callable[..., Path]) -> None:
    path = tiny_model() / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="cut short"):
        show_safetensors(path)


def test_names_of_several_families_fall_into_their_parts() -> None:
    for name, part in {
        "model.embed_tokens.weight": "embedding",
        "model.embed_tokens_per_layer.weight": "embedding",
        "wte.weight": "embedding",
        "transformer.wpe.weight": "positions",
        "model.layers.0.self_attn.q_norm.weight": "norm",
        "transformer.h.3.ln_1.bias": "norm",
        "model.layers.0.post_attention_layernorm.weight": "norm",
        "transformer.h.0.attn.c_attn.bias": "attention",
        "model.layers.0.linear_attn.conv1d.weight": "attention",
        "model.layers.0.mamba.A_log": "attention",
        "backbone.layers.0.mixer.A_log": "attention",
        "backbone.layers.1.mixer.up_proj.weight": "mlp",
        "model.layers.0.block_sparse_moe.input_linear.weight": "experts",
        "model.layers.0.shared_mlp.input_linear.weight": "mlp",
        "model.layers.0.conv.in_proj.weight": "convolution",
        "blk.0.shortconv.conv.weight": "convolution",
        "model.layers.1.mlp.gate_proj.weight": "mlp",
        "model.layers.1.mlp.gate.weight": "experts",
        "model.layers.1.mlp.experts.7.down_proj.weight": "experts",
        "model.layers.1.block_sparse_moe.experts.7.w1.weight": "experts",
        "lm_head.weight": "head",
        "something.else": "other",
    }.items():
        assert part_of(name) == part, name


def test_quantised_matrices_count_as_the_numbers_they_stand_for(tmp_path: Path) -> None:
    write_folders(tmp_path)
    quantised, plain = (show_model(tmp_path / name).weights for name in ("quantised", "plain"))
    assert quantised is not None and plain is not None
    assert quantised.parameters == plain.parameters and quantised.size_bytes < plain.size_bytes
    matrices = 4 * 64 * 64 - 2 * 64 * 32 + 3 * 64 * 96
    assert quantised.dtypes == {"BF16": plain.parameters - matrices, "int4": matrices}
