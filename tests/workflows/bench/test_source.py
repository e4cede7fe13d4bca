"""The model of a bench: where it comes from, and what two reports of it have in common."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from llmkit.errors import ConfigError, DataError, MissingError, UsageError
from llmkit.formats.digest import digest_bytes, digest_file
from llmkit.workflows.bench.source import open_source

Build = Callable[..., Path]


def test_a_folder_is_named_digested_and_read_in_the_dtype_asked_for(tiny_model: Build) -> None:
    folder = tiny_model("m")
    source = open_source(folder, None)
    files = digest_file(folder / "config.json") + digest_file(folder / "model.safetensors")
    assert (source.name, source.folder, source.sha256) == ("m", folder, digest_bytes(files.encode()))
    weights = source.load("float32", 0).state_dict()
    half = source.load("bfloat16", 0).state_dict()
    assert all(torch.equal(half[name], one.bfloat16()) for name, one in weights.items())


def test_weights_to_train_are_no_longer_the_files(tiny_model: Build) -> None:
    folder = tiny_model()
    before = digest_file(folder / "model.safetensors")
    model = open_source(folder, None).load_to_train(0)
    with torch.no_grad():
        model.model.embed_tokens.weight.zero_()
    assert digest_file(folder / "model.safetensors") == before


def test_a_preset_and_a_config_have_random_weights_from_the_seed(tiny_model: Build) -> None:
    for source in (open_source(None, "nanogpt-cpu"), open_source(tiny_model() / "config.json", None)):
        assert (source.folder, source.sha256) == (None, None)
        first, same, other = (source.load("float32", seed).state_dict() for seed in (0, 0, 1))
        assert all(torch.equal(one, same[name]) for name, one in first.items())
        assert any(not torch.equal(one, other[name]) for name, one in first.items())
        assert not any(one.is_meta for one in first.values())


def test_the_shape_is_the_same_whatever_the_weights_and_their_dtype(tiny_model: Build) -> None:
    source = open_source(tiny_model(), None)
    drawn = open_source(tiny_model("other") / "config.json", None)
    assert source.shape_sha256 == drawn.shape_sha256
    half = replace(source, config=replace(source.config, dtype="bfloat16"))
    assert half.shape_sha256 == source.shape_sha256
    wide = replace(source, config=replace(source.config, intermediate_size=16))
    assert wide.shape_sha256 != source.shape_sha256


def test_what_is_no_model_is_refused(tiny_model: Build, tmp_path: Path) -> None:
    folder = tiny_model()
    for model, preset, error in (
        (None, None, UsageError),
        (folder, "tiny", UsageError),
        (tmp_path / "nowhere", None, MissingError),
        (None, "tinny", ConfigError),
    ):
        with pytest.raises(error):
            open_source(model, preset)
    (folder / "model.safetensors").write_bytes(b"short")
    with pytest.raises(DataError):
        open_source(folder, None)
    (folder / "model.safetensors").unlink()
    with pytest.raises(MissingError):
        open_source(folder, None)
