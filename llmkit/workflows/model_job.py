"""A model opened but for its weights: what `eval` and `inspect-attention` begin with."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from llmkit.engine.config import Dtype, GenerateConfig
from llmkit.errors import DataError
from llmkit.workflows.generate.adapter import adapter_path
from llmkit.workflows.generate.files import GenerateFiles
from llmkit.workflows.generate.job import Job, open_job

_HOW = {one.name for one in fields(GenerateConfig)}
"""Options that are files; the others are those of `GenerateConfig`."""


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """Which model, and where and how it runs."""

    model: Path
    """A folder, or a GGUF file."""
    tokenizer: Path | None = None
    """None: the model's own."""
    adapter: str | None = None
    """PATH, PATH:STRENGTH or NAME=PATH of a PEFT folder."""
    dtype: Dtype = GenerateConfig.dtype
    """Of weights and arithmetic; auto: as they are stored."""
    rope_scaling: str | None = None
    device: str = GenerateConfig.device
    threads: int | None = None
    """None: as many as suit the model, or what torch takes."""

    @property
    def paths(self) -> list[Path]:
        """The model, its adapter and its tokenizer: what no output may replace.

        Raises:
            UsageError: the adapter's strength is no number.
        """
        others = [self.tokenizer, None if self.adapter is None else adapter_path(self.adapter)]
        return [self.model, *(path for path in others if path is not None)]


def open_model_job(options: JobOptions) -> Job:
    """Read everything but the weights.

    Raises:
        UsageError, ConfigError, DataError, MissingError: see `open_job`; also a tokenizer that has more ids
            than the model.
    """
    files = GenerateFiles(model=options.model, tokenizer=options.tokenizer, prompt="")
    how: dict[str, Any] = {name: value for name, value in vars(options).items() if name in _HOW}
    adapters = () if options.adapter is None else (options.adapter,)
    job = open_job(files, GenerateConfig(as_json=True, adapters=adapters, **how))
    assert job.tokenizer is not None
    if job.tokenizer.vocab_size > job.model.vocab_size:
        raise DataError(
            f"{options.model}: the tokenizer has ids up to {job.tokenizer.vocab_size - 1:,}, "
            f"the model {job.model.vocab_size:,} rows",
            hint="name the model's own tokenizer with -t",
        )
    return job
