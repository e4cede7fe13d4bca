"""What is refused where a model is cut."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmkit.engine.config import GenerateConfig
from llmkit.errors import ConfigError, UsageError
from llmkit.formats.gguf.write import write_gguf
from llmkit.model.config import ModelConfig
from llmkit.model.gguf.save import gguf_model
from llmkit.model.load import load_model
from llmkit.model.transformer import Transformer
from llmkit.workflows.generate.parts import check_parts

STORIES = "models/stories260K"


@pytest.mark.parametrize(
    ("flag", "options", "cache"),
    [
        ("--adapter", {"adapters": ("poet=poet",)}, None),
        ("--cache-offload", {"cache_offload": 1 << 20}, None),
        ("--prompt-cache", {}, Path("kept.safetensors")),
    ],
)
def test_what_is_not_cut_does_not_go_with_parts(
    flag: str, options: dict[str, Any], cache: Path | None, shared_data: Path
) -> None:
    model = load_model(shared_data / STORIES).config
    with pytest.raises(UsageError, match=f"{flag} does not go with --tp 2"):
        check_parts(shared_data / STORIES, GenerateConfig(tp=2, **options), model, cache)
    check_parts(shared_data / STORIES, GenerateConfig(**options), model, cache)


def test_a_model_that_does_not_fall_into_parts_is_refused_before_torch_is_there(
    shared_data: Path, llmkit_run: Callable[..., Any]
) -> None:
    done = llmkit_run("serve", "-m", shared_data / STORIES, "--tp", 3, "--dry-run")
    assert done.status == 2 and "--tp 3: the model's num_attention_heads is 8" in done.err
    assert "hint: --tp with a divisor of 8" in done.err
    with pytest.raises(ConfigError, match="--tp must be at least 1"):
        GenerateConfig(tp=0)


def test_codes_are_not_cut(tmp_path: Path) -> None:
    sizes = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    model = Transformer(ModelConfig(**sizes, num_attention_heads=2))
    for name, dtype in (("plain.gguf", "float32"), ("coded.gguf", "q8_0")):
        made = gguf_model(model, dtype)
        with (tmp_path / name).open("wb") as stream:
            write_gguf(stream, {**made.metadata, "tokenizer.ggml.model": "none"}, made.tensors)
    check_parts(tmp_path / "plain.gguf", GenerateConfig(tp=2), model.config, None)
    with pytest.raises(UsageError, match=r"coded\.gguf is quantised, and codes are not cut") as caught:
        check_parts(tmp_path / "coded.gguf", GenerateConfig(tp=2), model.config, None)
    assert caught.value.hint == f"llmkit convert {tmp_path}/coded.gguf plain --dequantize"
