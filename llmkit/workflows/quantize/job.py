"""What `llmkit quantize` needs before any weight is read: opened, resolved, checked."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from llmkit.errors import MissingError, UsageError, as_word
from llmkit.formats.atomic import refuse_existing
from llmkit.formats.gguf.imatrix import read_imatrix
from llmkit.formats.gguf.split import refuse_parts
from llmkit.formats.output_place import refuse_special
from llmkit.formats.provenance import Invocation
from llmkit.kernels.library import available, set_threads
from llmkit.machine import require_room
from llmkit.model.dtypes import dtype_of
from llmkit.model.transformer import Transformer
from llmkit.quant.importance import moments_of
from llmkit.quant.moments import Moments
from llmkit.quant.plan import QuantPlan
from llmkit.quant.scaling import unscaled
from llmkit.quant.workers import Workers
from llmkit.workflows.convert.options import ConvertConfig
from llmkit.workflows.convert.source import ConvertSource, open_convert_source
from llmkit.workflows.quantize.container import check_rounds, plan_files
from llmkit.workflows.quantize.options import Container, QuantizeConfig
from llmkit.workflows.quantize.text import choose_rows
from llmkit.workflows.run.launch import threads_of


@dataclass(frozen=True)
class QuantizeJob:
    """A request, with everything known that can be known without the weights."""

    source: ConvertSource
    config: QuantizeConfig
    container: Container
    type: str
    out: Path | None
    """None: measured only."""
    invocation: Invocation
    plan: QuantPlan
    calibration: Tensor | None
    """(N, T) ids."""
    scored: Tensor | None
    notes: tuple[str, ...]
    given: Mapping[str, Moments] = field(default_factory=dict)
    """What an importance matrix says of the inputs of matrices, by name; empty without one."""

    @property
    def scale_dtype(self) -> torch.dtype | None:
        """What norms are stored in, where columns are to be scaled."""
        if not self.config.scale:
            return None
        return torch.float32 if self.container == "gguf" else dtype_of(self.source.config)

    def workers(self) -> Workers:
        """Threads to work with; their number decides no bit of the result."""
        count = self.config.threads or threads_of(1)
        if available():
            set_threads(count)
        return Workers(count)


def open_quantize(
    path: Path, out: Path | None, config: QuantizeConfig, *, force: bool, invocation: Invocation
) -> QuantizeJob:
    """Read everything but weights.

    Raises:
        UsageError: the output is there already, or the options do not go together.
        ConfigError, DataError, MissingError: see `open_convert_source`, `choose_rows` and `plan_files`.
        ResourceError: the disk has too little room.
    """
    if out is not None:
        refuse_existing(
            out,
            force=force,
            inputs=[path, *config.calibration, *config.score, *([config.imatrix] if config.imatrix else [])],
        )
    loaded = config.carry_tokenizer or config.reads_text
    source = open_convert_source(path, ConvertConfig(tokenizer=config.tokenizer, carry_tokenizer=loaded))
    if out is not None:
        refuse_existing(out, force=force, inputs=source.files)  # the other files of a GGUF model in parts
    if source.quantised:
        raise UsageError(
            f"{path}: its weights are quantised already, and rounding them again loses twice",
            hint="quantise the original; or make plain numbers of it first: "
            f"llmkit convert {as_word(path)} plain --dequantize",
        )
    container = config.container_of(out or Path("out"))
    kind = config.type_of(out or Path("out"))
    if out is not None and container != "gguf":
        refuse_special(out)
    if out is not None and container == "gguf" and config.max_shard_bytes is not None:
        refuse_parts(out, force=force, inputs=source.files)
    calibration, scored, notes = _texts(source, config)
    if not config.carry_tokenizer:
        source = replace(source, tokenizer=None)
    weighed = calibration is not None or config.imatrix is not None
    plan = plan_files(source, container, kind, config, invocation, weighed=weighed)
    if out is not None:
        check_rounds(container, kind, plan)
    with torch.device("meta"):
        shapes = Transformer(source.config)
    given = {} if config.imatrix is None else moments_of(shapes, read_imatrix(config.imatrix), plan.grids)
    notes += _container_notes(container, plan)
    if config.scale and (left := unscaled(shapes, plan.grids)):
        notes.append(f"not scaled, as nothing before takes the inverse: {', '.join(left)}")
    if out is not None:
        require_room(out, plan.nbytes, hint="free some space, or fewer bits")
    return QuantizeJob(
        source, config, container, kind, out, invocation, plan, calibration, scored, tuple(notes), given
    )


def _container_notes(container: Container, plan: QuantPlan) -> list[str]:
    """What readers of the files ask for."""
    grids = set(plan.grids.values())
    if container == "compressed-tensors" and any(not getattr(grid, "symmetric", True) for grid in grids):
        return ["with zero points: transformers opens it with CompressedTensorsConfig(dequantize=True) only"]
    return []


def _texts(source: ConvertSource, config: QuantizeConfig) -> tuple[Tensor | None, Tensor | None, list[str]]:
    """Rows that errors are weighed by, rows that are scored, and what there is to say of them."""
    paths = (*config.calibration, *config.score)
    if not paths:
        alike = "" if config.imatrix else "no --calibration text: every weight counts alike, and "
        return None, None, [f"{alike}nothing is scored: --score FILE"]
    if source.tokenizer is None:
        raise MissingError(
            f"{source.path}: no tokenizer, and calibration text needs one", hint="name it with -t TOKENIZER"
        )
    length = min(config.seq_len, source.config.max_position_embeddings)
    wanted = max(1, config.calibration_tokens // length), max(1, config.score_tokens // length)
    notes: list[str] = []
    if length < config.seq_len:
        notes.append(f"rows of {length} tokens: the model's context")

    def rows(files: tuple[Path, ...], counts: list[int]) -> list[Tensor]:
        assert source.tokenizer is not None
        found = choose_rows(
            files,
            source.tokenizer,
            seq_len=length,
            counts=counts,
            seed=config.seed,
            vocab_size=source.config.vocab_size,
        )
        for one, count in zip(found, counts, strict=True):
            if len(one) < count:
                name, found_tokens = ", ".join(map(str, files)), one.numel()
                notes.append(f"{name}: {found_tokens:,} tokens where {count * length:,} were asked for")
        return found

    if config.calibration and config.score:
        return rows(config.calibration, [wanted[0]])[0], rows(config.score, [wanted[1]])[0], notes
    if config.score:
        return None, rows(config.score, [wanted[1]])[0], notes
    calibration, scored = rows(config.calibration, list(wanted))
    return calibration, scored, notes
