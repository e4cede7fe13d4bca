"""The config.json that a GGUF file's header stands for, as far as sizes go."""

from typing import Any

from llmkit.formats.gguf.header import GgufHeader
from llmkit.model.gguf.config import gguf_config as model_config


def gguf_config(header: GgufHeader, source: str) -> dict[str, Any]:
    """A config.json for `read_architecture`.

    Args:
        header: the file's.
        source: its name, for messages.

    Raises:
        ConfigError: an architecture, or a shape in it, that is not covered: it is named.
    """
    return {**model_config(header, source), "dtype": "float16"}  # what llama.cpp keeps its cache in
