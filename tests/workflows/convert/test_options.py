"""The choices of a conversion, and which do not go together."""

from pathlib import Path

import pytest

from llmkit.errors import UsageError
from llmkit.workflows.convert.options import ConvertConfig


def test_the_form_is_the_outputs_suffix_unless_it_is_named() -> None:
    assert ConvertConfig().form(Path("a.gguf")) == "gguf"
    assert ConvertConfig().form(Path("a")) == "safetensors"
    assert ConvertConfig(to="gguf").form(Path("a")) == "gguf"
    assert ConvertConfig(dtype="q8_0").form(Path("a.gguf")) == "gguf"


def test_what_does_not_go_together_is_refused() -> None:
    with pytest.raises(UsageError, match="--tolerance without --check"):
        ConvertConfig(tolerance=0.1)
    with pytest.raises(UsageError, match="-t and --no-tokenizer"):
        ConvertConfig(tokenizer=Path("tok"), carry_tokenizer=False)
    with pytest.raises(UsageError, match="--dequantize and --dtype q8_0"):
        ConvertConfig(dequantize=True, dtype="q8_0")
    with pytest.raises(UsageError, match="q8_0 is a type of GGUF files"):
        ConvertConfig(to="safetensors", dtype="q8_0")
    with pytest.raises(UsageError, match="q8_0 is a type of GGUF files"):
        ConvertConfig(dtype="q8_0").form(Path("a"))
