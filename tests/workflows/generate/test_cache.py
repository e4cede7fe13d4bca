"""Options about what is kept: what cannot be is refused before any work."""

from dataclasses import replace
from pathlib import Path

import pytest

from llmkit.engine.config import GenerateConfig
from llmkit.errors import MissingError, UsageError
from llmkit.model.config import ModelConfig
from llmkit.workflows.generate.cache import check_cache_options
from llmkit.workflows.generate.files import GenerateFiles

MODEL = ModelConfig(
    vocab_size=8, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2,
    max_position_embeddings=64,
)  # fmt: skip
DYNAMIC = replace(
    MODEL,
    rope_scaling={"rope_type": "dynamic", "factor": 4.0, "original_max_position_embeddings": 16},
)


def _check(model: ModelConfig = MODEL, offload: int = 0, **files: object) -> None:
    given = GenerateFiles(**({"model": Path("m"), "prompt": ""} | files))  # type: ignore[arg-type]
    check_cache_options(given, GenerateConfig(cache_offload=offload), model)


def test_a_file_that_is_not_there_yet_is_fine_unless_it_is_only_read(tmp_path: Path) -> None:
    _check()
    _check(offload=1000)
    _check(prompt_cache=tmp_path / "new")
    with pytest.raises(MissingError, match="no such file"):
        _check(prompt_cache=tmp_path / "new", prompt_cache_read_only=True)
    (tmp_path / "new").touch()
    _check(prompt_cache=tmp_path / "new", prompt_cache_read_only=True)


def test_what_does_nothing_or_has_no_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does nothing without --prompt-cache"):
        _check(prompt_cache_read_only=True)
    with pytest.raises(UsageError, match="less than nothing"):
        _check(offload=-1)
    out = tmp_path / "out"
    for path in (Path("-"), tmp_path, out, tmp_path / "in.jsonl", Path("m")):
        with pytest.raises(UsageError, match="not a file of its own"):
            _check(prompt_cache=path, out=out, jsonl=tmp_path / "in.jsonl")


def test_a_model_whose_positions_turn_by_the_length_of_the_text_keeps_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--prompt-cache: .* \(found rope_scaling dynamic\)"):
        _check(DYNAMIC, prompt_cache=tmp_path / "new")
    with pytest.raises(UsageError, match="--cache-offload: "):
        _check(DYNAMIC, offload=1000)
    _check(DYNAMIC)
