"""A run's inputs, opened and checked: everything that can be known to be wrong before training begins."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from llmkit.errors import UsageError
from llmkit.formats.gguf.magic import is_gguf
from llmkit.formats.provenance import Invocation
from llmkit.formats.streams import STDIO
from llmkit.model.extend_context import original_positions
from llmkit.model.source import carries_tokenizer
from llmkit.model.stretched import read_stretched
from llmkit.progress import Progress
from llmkit.tokens.config import PackConfig
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.tokenizer import TOKENIZER, Tokenizer
from llmkit.train.config import PretrainConfig
from llmkit.train.parallel.degrees import ONE_PROCESS, Degrees
from llmkit.train.state import WHOLE_MODEL, Product
from llmkit.train.width_scaling import range_at_width
from llmkit.workflows.pretrain.companions import whole_model
from llmkit.workflows.pretrain.data import (
    Packing,
    PretrainData,
    check_tokenizer,
    is_shard_folder,
    open_data,
    require,
)
from llmkit.workflows.pretrain.model import ModelSource, choose_model, has_weights, with_router_losses
from llmkit.workflows.run.setup import Setup, check_batches, check_positions, set_up


@dataclass(frozen=True, kw_only=True)
class PretrainFiles:
    """What a run reads and where it writes."""

    data: tuple[Path, ...]
    """Shard folders, or documents."""
    out: Path
    valid: tuple[Path, ...] = ()
    tokenizer: Path | None = None
    """None: the one in `model`, where that is a folder with one."""
    preset: str = "tiny"
    model: Path | None = None
    overrides: dict[str, Any] = field(default_factory=dict)
    """Fields of ModelConfig."""
    rope_scaling: str | None = None
    """Stretches the positions of a model that is trained on, as `model/extend_context.py` reads it."""
    packing: PackConfig = field(default_factory=PackConfig)
    """For documents."""
    seq_len: int | None = None
    """Of the rows; None takes what the shards have."""
    metrics: Path | None = None
    """A second place for the metrics; `-` is stdout."""
    tensorboard: Path | None = None
    """A folder for TensorBoard's event files."""
    prompts: tuple[str, ...] = ("",)
    """What samples go on from."""

    @property
    def inputs(self) -> list[Path]:
        """All that is read: what no output may replace."""
        own = [] if self.tokenizer is None else [self.tokenizer]
        return [*self.begun_from, *own]

    @property
    def begun_from(self) -> list[Path]:
        """What no run is, as it would be gone when the run starts over; a tokenizer it has itself."""
        own = [] if self.model is None else [self.model]
        return [*self.data, *self.valid, *own]


@dataclass(frozen=True)
class Job:
    """Everything opened and checked, nothing written yet but the cache of packed documents."""

    files: PretrainFiles
    config: PretrainConfig
    tokenizer: Tokenizer | None
    data: PretrainData
    valid: PretrainData | None
    source: ModelSource
    setup: Setup
    product: Product = WHOLE_MODEL


def open_job(
    files: PretrainFiles,
    config: PretrainConfig,
    cache: Path,
    invocation: Invocation,
    progress: Progress,
    *,
    degrees: Degrees = ONE_PROCESS,
) -> Job:
    """Open the data, choose the model, resolve the recipe for so many processes.

    Raises:
        UsageError, ConfigError, DataError, MissingError: something is not there or does not fit.
    """
    check_sources(files, degrees, hint="pack it first: … | llmkit pack -t TOKENIZER -o shards")
    refuse_idle_evaluation(config, has_valid=bool(files.valid))
    if files.seq_len is not None and files.model is not None and has_weights(files.model):
        shape, _ = read_stretched(files.model, files.rope_scaling)
        positions = files.overrides.get("max_position_embeddings", shape.max_position_embeddings)
        trained = original_positions(read_stretched(files.model, None)[0])
        check_positions(files.seq_len, positions, trained)  # before documents are packed
    tokenizer_path = files.tokenizer
    own = files.model if files.model is not None and _has_tokenizer(files.model) else None
    tokenizer_path = tokenizer_path or own
    tokenizer = load_tokenizer(tokenizer_path) if tokenizer_path is not None else None
    if any(files.prompts) and not config.sample_every:
        raise UsageError("--sample-prompt without --sample-every", hint="add --sample-every STEPS")
    if config.sample_every and tokenizer is None:
        raise UsageError("--sample-every needs a tokenizer to write text with", hint="add -t TOKENIZER")

    if not any(map(is_shard_folder, files.data)):
        check_batches(config, degrees, files.packing.seq_len)  # before documents are packed
    packing = Packing(files.packing, tokenizer_path, tokenizer, cache)
    data = open_data(files.data, packing, seq_len=files.seq_len, invocation=invocation, progress=progress)
    valid = None
    if files.valid:
        alike = replace(packing, config=replace(files.packing, seq_len=data.seq_len))
        valid = open_data(files.valid, alike, seq_len=data.seq_len, invocation=invocation, progress=progress)
        data = replace(data, vocab_size=max(data.vocab_size, valid.vocab_size))
        if valid.tokenizer_sha256 is not None:
            check_tokenizer(files.valid[0], valid.tokenizer_sha256, data)
    if own is not None and own.is_dir():  # a GGUF file's is put together anew: its digest is another
        check_tokenizer(own, load_tokenizer(own).sha256, data)

    ids = data.special_ids
    if tokenizer is not None:
        ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_id") for name in ("bos", "eos", "pad")}
    source = choose_model(files.preset, files.model, files.overrides, data, ids, files.rope_scaling)
    source = _at_base_width(source, config.mup_base_width, files.overrides)
    setup = set_up(config, source.config, data, source.weights_sha256, degrees=degrees)
    source = with_router_losses(source, setup.recipe)
    return Job(files, config, tokenizer, data, valid, source, setup, whole_model(source.weights))


def check_sources(files: PretrainFiles, degrees: Degrees, *, hint: str) -> None:
    """Refuse data that is not there, or that only one of several processes could read.

    Args:
        files: what the run reads.
        degrees: how many processes read it.
        hint: what to do with stdin.

    Raises:
        MissingError, UsageError: a file is missing, or it is stdin and there are several processes.
    """
    for path in (*files.data, *files.valid):
        if path != STDIO:
            require(path)
        elif degrees.world > 1:
            raise UsageError(f"stdin is read by one process, the run has {degrees.world}", hint=hint)


def _at_base_width(source: ModelSource, base: int | None, overrides: Mapping[str, Any]) -> ModelSource:
    """A model that is tuned at a base width: a spread that was given is that width's."""
    if base is None:
        return source
    shape, given = source.config, overrides.get("initializer_range")
    if given is not None and source.weights is None:
        shape = replace(shape, initializer_range=range_at_width(given, base, shape.hidden_size))
    return replace(source, config=shape, mup_base_width=base)


def refuse_idle_evaluation(config: PretrainConfig, *, has_valid: bool) -> None:
    """Refuse to be told how to evaluate where there is nothing to evaluate on.

    Raises:
        UsageError: --eval-every or --eval-rows without validation data.
    """
    for flag, value in (("--eval-every", config.eval_every), ("--eval-rows", config.eval_rows)):
        if value is not None and not has_valid:
            raise UsageError(f"{flag} without validation data", hint=f"add --valid FILE, or leave {flag} out")


def _has_tokenizer(model: Path) -> bool:
    return carries_tokenizer(model) if is_gguf(model) else (model / TOKENIZER).is_file()
