"""Quantised models on disk: the numbers of the rounded matrices for us, and the same logits for others."""

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from llmkit.errors import ConfigError, UsageError
from llmkit.formats.safetensors_size import TensorShape, safetensors_nbytes
from llmkit.model.load import load_model
from llmkit.model.save import save_config, write_weights
from llmkit.model.transformer import Transformer
from llmkit.quant.container_tensors import QuantisedFiles
from llmkit.quant.containers import Container, container_grid
from llmkit.quant.rounding import RoundedMatrix, round_matrix
from tests.quant import small_models

GATES = ("mlp.gate.weight", "embed_", "lm_head")


def _files(model: Transformer, container: Container, names: list[str], skip: tuple[str, ...] = GATES) -> Any:
    """Matrices of the layers on grids in turn, seven to each; all else as it is."""
    shapes = {name: tuple(one.shape) for name, one in model.state_dict().items()}
    matrices = [name for name, shape in shapes.items() if len(shape) > 1 and not any(s in name for s in skip)]
    grids = {
        name: container_grid(container, names[number // 7 % len(names)], torch.float32)
        for number, name in enumerate(matrices)
    }
    return QuantisedFiles(model.config, shapes, grids, container, torch.float32)


def _rounded(model: Transformer, files: QuantisedFiles) -> dict[str, RoundedMatrix]:
    ours, found = model.state_dict(), {}
    for name, grid in files.grids.items():
        parts = {name: ours[name]}
        if ours[name].dim() == 3:
            parts = {f"{name}[{expert}]": part for expert, part in enumerate(ours[name])}
        found |= {key: round_matrix(part, grid, None) for key, part in parts.items()}
    return found


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., tuple[Path, Mapping[str, Tensor]]]:
    """A model's folder and the tensors that it should have; the plan is held against what is there."""

    def write(model: Transformer, container: Container, names: list[str], **options: Any) -> Any:
        files, folder = _files(model, container, names, **options), tmp_path / "model"
        matrices = _rounded(model, files)
        plain = {name: one for name, one in model.state_dict().items() if name not in files.grids}
        tensors = dict(files.tensors(matrices, plain))
        planned = files.planned()
        assert [(part.suffix, part.shape) for part in planned] == [
            (n, tuple(t.shape)) for n, t in tensors.items()
        ]
        folder.mkdir()
        save_config(model, folder, extra=files.config_keys())
        write_weights(tensors.items(), folder)
        size = (folder / "model.safetensors").stat().st_size
        assert safetensors_nbytes(TensorShape(*part) for part in planned) == size
        expected = dict(model.state_dict())
        for name in files.grids:
            parts = [one.values() for key, one in matrices.items() if key.partition("[")[0] == name]
            expected[name] = parts[0] if expected[name].dim() == 2 else torch.stack(parts)
        return folder, expected

    return write


ALL = [
    ("compressed-tensors", ["int4-g128"]),
    ("compressed-tensors", ["int3-g32", "int8", "fp8-channel"]),
    ("compressed-tensors", ["int5-g64-asym", "int2-asym"]),
    ("gptq", ["int4-g128"]),
    ("gptq", ["int4-g32-asym", "int8", "int3-g128"]),
    ("awq", ["int4-g64-asym"]),
    ("mlx", ["mlx-4bit-g64", "mlx-3bit-g128"]),
]


@pytest.mark.parametrize(("container", "names"), ALL)
def test_what_is_read_back_is_what_was_rounded(
    container: Container, names: list[str], written: Callable[..., tuple[Path, Mapping[str, Tensor]]]
) -> None:
    folder, expected = written(small_models.model(), container, names)
    _same(load_model(folder).state_dict(), expected)


@pytest.mark.parametrize(
    ("container", "changes", "skip"),
    [
        ("compressed-tensors", {"model_type": "mixtral", "experts": small_models.experts()}, GATES),
        ("gptq", {"model_type": "mixtral", "experts": small_models.experts()}, GATES),
        ("compressed-tensors", {"model_type": "phi3"}, GATES),
        ("compressed-tensors", {"tie_word_embeddings": True}, GATES),
        ("gptq", {}, ("embed_",)),
        ("mlx", {"tie_word_embeddings": True}, ()),
    ],
)
def test_families_keep_their_own_names_and_joins(
    container: Container,
    changes: dict[str, Any],
    skip: tuple[str, ...],
    written: Callable[..., tuple[Path, Mapping[str, Tensor]]],
) -> None:
    if "experts" in changes:
        changes = changes | {"intermediate_size": 256}
    name = "mlx-4bit-g64" if container == "mlx" else "int4-g128"
    folder, expected = written(small_models.model(**changes), container, [name], skip=skip)
    _same(load_model(folder).state_dict(), expected)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("names", [["int4-g128"], ["int3-g32", "int8"], ["fp8-channel", "int6-g64"]])
def test_transformers_reads_the_same_logits(
    names: list[str], written: Callable[..., tuple[Path, Mapping[str, Tensor]]]
) -> None:
    pytest.importorskip("compressed_tensors", reason="pip install compressed-tensors (0.19 or later)")
    import transformers

    folder, _ = written(small_models.model(tie_word_embeddings=len(names) == 1), "compressed-tensors", names)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = torch.randint(0, 96, (2, 24), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        mine, other = load_model(folder)(ids), theirs(ids).logits
    assert other.std() > 0.5
    assert (mine - other).abs().max() < 1e-4


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("container", "name"),
    [("gptq", "int4-g128"), ("gptq", "int4-g32-asym"), ("gptq", "int3-g128"), ("awq", "int4-g128-asym")],
)
def test_gptqmodels_kernels_give_the_same_logits(
    container: Container, name: str, written: Callable[..., tuple[Path, Mapping[str, Tensor]]]
) -> None:
    for package in ("gptqmodel", "optimum", "datasets"):  # not opened: the first alone takes seconds
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed (pip install --no-deps gptqmodel optimum, and more)")
    import transformers

    folder, _ = written(small_models.model(), container, [name])
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float16)
    ids = torch.randint(0, 96, (2, 24), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        mine, other = load_model(folder)(ids), theirs(ids).logits.float()
        half = load_model(folder, dtype=torch.float16)(ids).float()  # their kernels add up in float16
    assert (mine - other).abs().max() < 3 * (mine - half).abs().max()


@pytest.mark.filterwarnings("ignore")
def test_mlx_reads_the_same_numbers(
    written: Callable[..., tuple[Path, Mapping[str, Tensor]]],
) -> None:
    mx: Any = pytest.importorskip("mlx.core", reason="pip install 'mlx[cpu]'")
    folder, expected = written(small_models.model(), "mlx", ["mlx-3bit-g64"])
    tensors = mx.load(str(folder / "model.safetensors"))
    module = "model.layers.1.mlp.down_proj"
    parts = [tensors[f"{module}.{kind}"] for kind in ("weight", "scales", "biases")]
    values = torch.tensor(mx.dequantize(*parts, group_size=64, bits=3).tolist())
    assert torch.allclose(values, expected[f"{module}.weight"], atol=1e-6)


def test_a_matrix_of_the_files_has_one_grid() -> None:
    model = small_models.on_meta(model_type="phi3")
    files = _files(model, "compressed-tensors", ["int4-g128"])
    grids = {name: grid for name, grid in files.grids.items() if "k_proj" not in name}
    with pytest.raises(UsageError, match=r"q_proj.*k_proj.*are one matrix in phi3 files"):
        QuantisedFiles(model.config, files.shapes, grids, "compressed-tensors", torch.float32)


def test_what_files_do_not_hold_is_told_before_anything_is_made() -> None:
    model = small_models.on_meta()
    shapes = {name: tuple(one.shape) for name, one in model.state_dict().items()}
    grid = container_grid("gptq", "int4-g96", torch.float32)
    with pytest.raises(ConfigError, match="GPTQ cannot hold 4 bits in groups of 96"):
        QuantisedFiles(
            model.config, shapes, {"model.layers.0.mlp.up_proj.weight": grid}, "gptq", torch.float32
        )
    with pytest.raises(ConfigError, match="gptq files keep an embedding in plain numbers"):
        QuantisedFiles(model.config, shapes, {"model.embed_tokens.weight": grid}, "gptq", torch.float32)
    nothing = QuantisedFiles(model.config, shapes, {}, "gptq", torch.float32)
    with pytest.raises(UsageError, match="no matrix is on a grid"):
        nothing.config_keys()


def _same(ours: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    assert ours.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.allclose(ours[name], tensor, atol=1e-6), name
