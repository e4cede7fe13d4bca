"""Quantised model folders small enough for a test, and the plain model that they stand for."""

from pathlib import Path

import torch

from llmkit.model.save import save_config, save_model, write_weights
from llmkit.quant.container_tensors import QuantisedFiles
from llmkit.quant.containers import Container, container_grid
from llmkit.quant.rounding import round_matrix
from tests.quant import small_models


def write_folders(place: Path, container: Container = "compressed-tensors", name: str = "int4-g32") -> None:
    """`place/quantised`, a llama of one layer in bfloat16, and `place/plain`, the same numbers."""
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 1, "dtype": "bfloat16"}
    model = small_models.model(**sizes).bfloat16()
    ours = model.state_dict()
    grids = {
        key: container_grid(container, name, torch.bfloat16)
        for key, one in ours.items()
        if one.dim() > 1 and ".layers." in key
    }
    shapes = {key: tuple(one.shape) for key, one in ours.items()}
    files = QuantisedFiles(model.config, shapes, grids, container, torch.bfloat16)
    matrices = {key: round_matrix(ours[key], grid, None) for key, grid in grids.items()}
    for folder in ("quantised", "plain"):
        (place / folder).mkdir()
    save_config(model, place / "quantised", extra=files.config_keys())
    write_weights(files.tensors(matrices, ours), place / "quantised")
    for key, matrix in matrices.items():
        ours[key].copy_(matrix.values())
    save_model(model, place / "plain")
