"""What --tp, which cuts a model into parts, cannot be combined with. No torch."""

from pathlib import Path

from llmkit.engine.config import GenerateConfig
from llmkit.errors import UsageError
from llmkit.kernels.coded_gguf import GROUPINGS
from llmkit.model.config import ModelConfig
from llmkit.model.part import part_config
from llmkit.model.quantised.stored import QuantisedInfo
from llmkit.model.source import read_plain_tensors


def check_parts(path: Path, config: GenerateConfig, model: ModelConfig, prompt_cache: Path | None) -> None:
    """Refuse models that cannot be cut, and options that do not go with --tp.

    Args:
        path: of the model.
        config: what is asked for.
        model: its shape.
        prompt_cache: what keys and values are to be kept in.

    Raises:
        UsageError: an option that does not go with --tp, or weights that are codes.
        ConfigError: the model does not fall into so many parts.
        MissingError, DataError: see `read_plain_tensors`.
    """
    if config.tp == 1:
        return
    asked = {
        "--adapter": (bool(config.adapters), "llmkit merge makes one model of both"),
        "--cache-offload": (config.cache_offload > 0, "each process has some heads of the cache"),
        "--prompt-cache": (prompt_cache is not None, "each process has some heads of the cache"),
    }
    for flag, (is_asked, hint) in asked.items():
        if is_asked:
            raise UsageError(f"{flag} does not go with --tp {config.tp}", hint=hint)
    part_config(model, config.tp)
    for info in read_plain_tensors(path).values():
        if isinstance(info, QuantisedInfo) or info.dtype in GROUPINGS:
            raise UsageError(
                f"--tp {config.tp}: {path} is quantised, and codes are not cut (found {info.name})",
                hint=f"llmkit convert {path} plain --dequantize",
            )
