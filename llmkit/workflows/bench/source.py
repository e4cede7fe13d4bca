"""The model of a bench: a folder's or GGUF file's, or a preset's or config.json's with random weights."""

from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch

from llmkit.engine.native.weights import PackedModel, pack_weights
from llmkit.errors import MissingError, UsageError
from llmkit.formats.digest import digest_bytes, digest_files
from llmkit.formats.model_folder import read_config
from llmkit.model.config import ModelConfig
from llmkit.model.dtypes import DTYPES
from llmkit.model.init import initialise
from llmkit.model.load import load_model
from llmkit.model.presets import preset
from llmkit.model.quantised.coded_weights import CodedWeights
from llmkit.model.source import (
    is_model,
    model_files,
    read_model_tensors,
)
from llmkit.model.stored_weights import StoredWeights
from llmkit.model.stretched import read_shape
from llmkit.model.transformer import Transformer
from llmkit.train.state import load_weights
from llmkit.workflows.generate.weights import held_weight_bytes


@dataclass(frozen=True)
class BenchSource:
    """Which model is measured. Its files are checked, its weights not yet read."""

    name: str
    """A folder's own name, or a preset's: no path."""
    config: ModelConfig
    folder: Path | None
    """Of the weights, or a GGUF file; None: they are drawn."""
    sha256: str | None
    """Of config.json and the weights; None: they are drawn."""

    @property
    def shape_sha256(self) -> str:
        """What speed depends on, whatever the weights: two reports can be compared where it is equal."""
        keys = {key: value for key, value in self.config.to_hf().items() if "dtype" not in key}
        return digest_bytes(msgspec.json.encode(keys, order="sorted"))

    def coded_bytes(self, dtype: str) -> int | None:
        """Bytes of its weights as the kernels take the codes of its file; None where they are plain numbers,
        or the kernels do not take them.

        Raises:
            MissingError, DataError: of its files.
        """
        if self.folder is None:
            return None
        sizes = (
            held_weight_bytes(self.folder, self.config, dtype, "cpu", stays_coded=coded)
            for coded in (True, False)
        )
        held, plain = sizes
        return held if held < plain else None

    def load_packed(self, dtype: str) -> PackedModel:
        """The model of its files for the kernels: codes as they are stored, other weights in one dtype."""
        assert self.folder is not None
        return pack_weights(StoredWeights(self.folder, dtype=dtype, coded=CodedWeights()))

    def load(self, dtype: str, seed: int) -> Transformer:
        """The model in evaluation mode, every weight in one dtype."""
        if self.folder is not None:
            return load_model(self.folder, dtype=DTYPES[dtype])
        return self._draw(seed).to(DTYPES[dtype])

    def load_to_train(self, seed: int) -> Transformer:
        """The model in float32, in memory that may be written to."""
        if self.folder is not None:
            return load_weights(self.folder, torch.device("cpu"))
        return self._draw(seed)

    def _draw(self, seed: int) -> Transformer:
        with torch.device("meta"):
            model = Transformer(self.config)
        model.to_empty(device="cpu")
        initialise(model, torch.Generator().manual_seed(seed))
        return model.eval()


def open_source(model: Path | None, preset_name: str | None) -> BenchSource:
    """The model that was asked for.

    Args:
        model: a folder with weights, a GGUF file, or a config.json whose shape gets random ones.
        preset_name: a shape by name, which gets random weights.

    Raises:
        UsageError: both or neither.
        MissingError, DataError, ConfigError: no such model, or a damaged or unsupported one.
    """
    if (model is None) == (preset_name is None):
        raise UsageError(
            "no model to measure" if model is None else f"a model ({model}) and --preset {preset_name}",
            hint="name a model folder, or --preset tiny",
        )
    if preset_name is not None:
        return BenchSource(preset_name, preset(preset_name), None, None)
    assert model is not None
    if not model.exists():
        raise MissingError(f"{model}: no such model", hint="name a model folder, or --preset tiny")
    if not is_model(model):
        config = ModelConfig.from_hf(read_config(model), source=str(model))
        return BenchSource(model.name, config, None, None)
    config = read_shape(model)
    read_model_tensors(model)  # their headers: a missing or truncated file is found now
    return BenchSource(model.resolve().name, config, model, digest_files(model_files(model)))
