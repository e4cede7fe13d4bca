"""A fine-tuning run's inputs, opened and checked: all that can be known to be wrong before it begins."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path

from llmkit.errors import ConfigError, DataError, UsageError
from llmkit.estimate.architecture_flops import train_flops_per_token
from llmkit.estimate.architecture_of import architecture_of
from llmkit.formats.digest import digest_files
from llmkit.formats.provenance import Invocation, WithPaths
from llmkit.model.config import ModelConfig
from llmkit.model.source import check_model, model_files
from llmkit.model.stretched import read_shape, read_stretched
from llmkit.progress import Progress
from llmkit.tokens.audit import AuditReport
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.same import other_token
from llmkit.tokens.supervise_config import SuperviseConfig
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.train.bounds import check_bounds
from llmkit.train.config import Recipe
from llmkit.train.finetune_config import FinetuneConfig, FinetuneRecipe, default_finetune_lr, default_rows
from llmkit.train.parallel.degrees import ONE_PROCESS, Degrees
from llmkit.train.rollout import Prompt
from llmkit.workflows.artefact import holds_tokenizer
from llmkit.workflows.finetune.audit import RejectLog, reject_log
from llmkit.workflows.finetune.data import FinetuneData, open_finetune_data
from llmkit.workflows.finetune.examples import example_files
from llmkit.workflows.finetune.model import product_of
from llmkit.workflows.finetune.samples import Sample
from llmkit.workflows.finetune.template import template_of
from llmkit.workflows.pretrain.job import Job, PretrainFiles, check_sources, refuse_idle_evaluation
from llmkit.workflows.pretrain.model import ModelSource, choose_model, with_router_losses
from llmkit.workflows.run.setup import Setup, set_up

_FORWARD = 1 / 3  # of the FLOPs of a pass forwards and backwards


@dataclass(frozen=True, kw_only=True)
class FinetuneFiles(PretrainFiles):
    """What a run reads and where it writes."""

    model: Path
    """The base: a model folder or a GGUF file."""
    template: str | None = None
    """`chatml`, or a file with a chat template; None: the tokenizer's own."""
    supervise: SuperviseConfig = field(default_factory=SuperviseConfig)
    """How records become examples."""
    rejects: Path | None = None
    """Where records that the audit found fault with are kept."""
    strict: bool = False
    """Whether any fault ends the run before it begins."""
    skip_bad: bool = False
    shown: int = 0
    """Examples kept to be shown."""
    teacher: Path | None = None
    """Of kd."""
    reward: str | None = None
    """The program that scores answers, of grpo."""
    reward_seconds: float | None = None
    """How long it may be silent; None: a minute."""

    @property
    def begun_from(self) -> list[Path]:
        teacher = [] if self.teacher is None else [self.teacher]
        return [*super().begun_from, *teacher]


@dataclass(frozen=True)
class FinetuneJob(Job):
    """Everything opened and checked, nothing written yet but the cache of packed examples."""

    files: FinetuneFiles
    config: FinetuneConfig
    longest: int = field(kw_only=True)
    """Tokens of a text, at most."""
    audit: AuditReport = field(kw_only=True)
    samples: list[Sample] = field(kw_only=True)
    """For --show-mask."""
    prompts: Sequence[Prompt] = field(default=(), kw_only=True)
    """Of grpo."""
    valid_prompts: Sequence[Prompt] = field(default=(), kw_only=True)


def open_finetune(
    files: FinetuneFiles,
    config: FinetuneConfig,
    cache: Path,
    invocation: Invocation,
    progress: Progress,
    *,
    force: bool,
    degrees: Degrees = ONE_PROCESS,
) -> FinetuneJob:
    """Open model and data, resolve the recipe for so many processes.

    Raises:
        UsageError, ConfigError, DataError, MissingError: something is not there or does not fit.
    """
    check_sources(files, degrees, hint="write it to a file first: … > examples.jsonl")
    _check(files, config)
    model, _ = read_stretched(files.model, files.rope_scaling)
    tokenizer = load_tokenizer(files.tokenizer or files.model)
    if files.teacher is not None:
        _check_teacher(files.teacher, model, tokenizer)
    tokenizer = template_of(files.template, tokenizer)
    reads = partial(
        open_finetune_data,
        tokenizer=tokenizer,
        config=config,
        supervise=files.supervise,
        model=model,
        seq_len=files.seq_len,
        cache=cache,
        invocation=invocation,
        progress=progress,
    )
    opened, valid = _read_examples(files, cache, reads, force=force)
    if config.method == "kto" and len(opened.data.rows) < 2:
        raise DataError(
            "one answer to learn from: KTO compares answers with each other",
            hint="give more records; one that came before is left out, and --rejects FILE lists it",
        )
    source = choose_model("", files.model, {}, opened.data, {}, files.rope_scaling)
    resolved = _resolved(config, model, opened)
    setup = _set_up(files, resolved, source, opened, valid, degrees)
    return FinetuneJob(
        files,
        resolved,
        tokenizer,
        opened.data,
        None if valid is None else valid.data,
        with_router_losses(source, setup.recipe),
        setup,
        product_of(resolved, files.model, tokenizer),
        longest=opened.longest,
        audit=opened.audit,
        samples=opened.samples,
        prompts=opened.prompts,
        valid_prompts=() if valid is None else valid.prompts,
    )


def _read_examples(
    files: FinetuneFiles, cache: Path, reads: Callable[..., FinetuneData], *, force: bool
) -> tuple[FinetuneData, FinetuneData | None]:
    """What is learnt from and what is held out; only the first is shown, and has its rejects kept."""
    kept = reject_log(files.rejects, skip_bad=files.skip_bad, force=force, inputs=files.data, out=files.out)
    with kept as log, example_files(files.data, cache) as listed:
        quiet = RejectLog(skip_bad=log.on_bad is not None)
        if files.supervise.valid_fraction:
            opened = reads(listed, side="train", log=log, shown=files.shown)
            return opened, reads(listed, side="valid", log=quiet, shown=0)
        opened = reads(listed, side="all", log=log, shown=files.shown)
        return opened, reads(files.valid, side="all", log=quiet, shown=0) if files.valid else None


def _check(files: FinetuneFiles, config: FinetuneConfig) -> None:
    check_bounds("show_mask", files.shown, low=0)
    check_bounds("seq_len", files.seq_len, low=1)
    check_model(files.model)
    if files.rope_scaling is not None and config.lora is not None:
        raise UsageError(
            "--rope-scaling with --lora: an adapter does not say that its base is stretched",
            hint=f"stretch the base first: llmkit pretrain --model {files.model} --rope-scaling "
            f"{files.rope_scaling} --data FILE -o stretched",
        )
    if files.teacher is not None:
        check_model(files.teacher)
    for flag, what, value, method in (
        ("--teacher", "PATH", files.teacher, "kd"),
        ("--reward", "CMD", files.reward, "grpo"),
    ):
        if (value is not None) != (config.method == method):
            missing = value is None
            raise UsageError(
                f"--method {config.method} {'needs' if missing else 'has no use for'} {flag}",
                hint=f"add {flag} {what}" if missing else f"leave it out, or choose --method {method}",
            )
    is_grpo = config.method == "grpo"
    unread = {
        "--reward-timeout": files.reward_seconds is not None and not is_grpo,
        "--seq-len": files.seq_len is not None and is_grpo,
        "--show-mask": files.shown > 0 and is_grpo,
    }
    for flag in (flag for flag, is_unread in unread.items() if is_unread):
        raise UsageError(f"--method {config.method} has no use for {flag}", hint=f"leave {flag} out")
    if files.valid and files.supervise.valid_fraction:
        raise UsageError("both --valid and --valid-fraction", hint="give one of them")
    has_valid = bool(files.valid or files.supervise.valid_fraction)
    refuse_idle_evaluation(config, has_valid=has_valid)
    if config.sample_every and not files.prompts:
        raise UsageError("--sample-every without a prompt", hint="add --sample-prompt TEXT")
    if config.patience is not None and not has_valid:
        raise UsageError(
            "--patience watches the validation loss", hint="add --valid FILE or --valid-fraction 0.1"
        )


def _check_teacher(path: Path, model: ModelConfig, tokenizer: Tokenizer) -> None:
    """Whether the teacher speaks of the same tokens; those that templates add may be its own."""
    hint = "distil from a model with the same tokenizer"
    teacher = read_shape(path)
    if teacher.vocab_size != model.vocab_size:
        raise ConfigError(
            f"{path}: the teacher has {teacher.vocab_size:,} tokens and the model {model.vocab_size:,}",
            hint=hint,
        )
    if holds_tokenizer(path):
        differs = other_token(tokenizer, load_tokenizer(path), added=False)
        if differs is not None:
            raise ConfigError(f"{path}: the teacher has another tokenizer ({differs})", hint=hint)


def _resolved(config: FinetuneConfig, model: ModelConfig, opened: FinetuneData) -> FinetuneConfig:
    """With the method's own learning rate and batch where none was given."""
    adapter = config.lora is not None
    lr = config.lr or default_finetune_lr(config.method, adapter=adapter, hidden_size=model.hidden_size)
    rows = config.batch_rows
    if rows is None and config.batch_tokens is None and (own := default_rows(config.method)) is not None:
        rows = min(own, len(opened.data.rows))
    return replace(config, lr=lr, batch_rows=rows)


def _set_up(
    files: FinetuneFiles,
    config: FinetuneConfig,
    source: ModelSource,
    opened: FinetuneData,
    valid: FinetuneData | None,
    degrees: Degrees,
) -> Setup:
    """As for any run, with the recipe, the work and the passes of its method."""
    setup = set_up(
        config,
        source.config,
        opened.data,
        source.weights_sha256,
        longest=max(one.longest for one in (opened, valid) if one is not None),
        answers=config.answers_per_row,
        degrees=degrees,
    )
    return replace(
        setup,
        recipe=_recipe(setup.recipe, config, files, valid),
        flops_per_token=_flops(setup, config, files),
        eval_batch_rows=_eval_rows(setup, config, valid),
    )


def _eval_rows(setup: Setup, config: FinetuneConfig, valid: FinetuneData | None) -> int:
    """Rows of one pass: for kto, which compares answers of the same pass, never a single one is left over."""
    rows = setup.eval_batch_rows
    if config.method != "kto" or valid is None:
        return rows
    count = min(len(valid.data.rows), config.eval_rows or len(valid.data.rows))
    if count < 2:
        raise UsageError(
            "one answer to evaluate on: KTO compares answers with each other",
            hint="hold out two or more: --valid FILE, --valid-fraction, --eval-rows",
        )
    return next((one for one in range(max(2, rows), count) if count % one != 1), max(2, count))


def _recipe(
    recipe: Recipe, config: FinetuneConfig, files: FinetuneFiles, valid: FinetuneData | None
) -> FinetuneRecipe:
    return FinetuneRecipe(
        **{one.name: getattr(recipe, one.name) for one in fields(Recipe)},
        method=config.method,
        settings=config.settings,
        parameters=config.parameters,
        teacher_sha256=None if files.teacher is None else digest_files(model_files(files.teacher)),
        reward=None if files.reward is None else WithPaths(files.reward).shortened(),
        valid_sha256=None if valid is None else valid.data.sha256,
        eval_rows=config.eval_rows,
    )


def backward_share(config: FinetuneConfig) -> float:
    """Of the FLOPs of a pass forwards and backwards: with adapters, no gradient of the weights is taken."""
    return _FORWARD if config.lora is not None else 2 * _FORWARD


def _flops(setup: Setup, config: FinetuneConfig, files: FinetuneFiles) -> float:
    """Of a target: forward and backward, and the passes of the reference and the teacher."""
    own = setup.flops_per_token
    flops = own * (_FORWARD * (1 + config.uses_reference) + backward_share(config))
    if files.teacher is not None:
        teacher = architecture_of(read_shape(files.teacher))
        flops += _FORWARD * train_flops_per_token(teacher, setup.recipe.seq_len)
    return flops
