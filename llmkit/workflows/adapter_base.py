"""The model that an adapter names as its base."""

from pathlib import Path

from llmkit.formats.gguf.adapter import read_gguf_adapter
from llmkit.formats.gguf.magic import is_gguf
from llmkit.formats.model_folder import read_json_object
from llmkit.formats.peft import ADAPTER_CONFIG


def named_base(path: Path) -> str | None:
    """What an adapter's folder or GGUF file calls its base: a path, or a name on the Hub.

    Raises:
        MissingError: no such file.
        ConfigError: it is of a kind that is not supported.
        DataError: it is damaged.
    """
    if is_gguf(path):
        return read_gguf_adapter(path).base
    named = read_json_object(path / ADAPTER_CONFIG).get("base_model_name_or_path")
    return named if isinstance(named, str) and named else None
