"""What a fine-tuning run will do and take, worked out before any of it: examples, memory, disk and time."""

import msgspec
import torch

from llmkit.estimate.adapters import is_layer_matrix
from llmkit.estimate.architecture import TensorSpec
from llmkit.estimate.architecture_of import architecture_of
from llmkit.estimate.training_settings import QLORA_BITS
from llmkit.machine import free_bytes
from llmkit.model.config import ModelConfig
from llmkit.model.source import config_source, read_model_config
from llmkit.model.transformer import Transformer
from llmkit.tokens.audit import AuditReport
from llmkit.train.budget import kept_checkpoints
from llmkit.train.chunked_rows import rows_per_chunk
from llmkit.train.hardware import Peak, available_memory_bytes, measure_peak
from llmkit.train.state import checkpoint_bytes
from llmkit.workflows.finetune.job import FinetuneJob
from llmkit.workflows.finetune.model import choose_trained
from llmkit.workflows.finetune.run import FinetuneRun
from llmkit.workflows.pretrain.plan import check_disk, check_memory, estimate_step, threads_set, time_step
from llmkit.workflows.run.folder import Start
from llmkit.workflows.run.memory import RUNTIME_BYTES, activation_bytes


class FinetunePlan(msgspec.Struct, frozen=True, kw_only=True):
    """The report of `--dry-run`."""

    schema: str = "llmkit.finetune-plan/1"
    out: str
    method: str
    kind: str
    """`full`, `last_layers`, `lora` or `qlora`."""
    parameters: int
    trained_parameters: int
    rows: int
    """Packed rows of examples; pairs, answers or prompts where the method has these."""
    seq_len: int
    audit: AuditReport
    valid_rows: int
    steps: int
    epochs: float
    batch_rows: int
    micro_batch_rows: int
    lr: float
    schedule: str
    warmup_steps: int
    device: str
    dtype: str
    threads: int
    memory_bytes: int
    """Predicted: weights, a reference and a teacher, gradients, optimiser state and activations."""
    memory_available_bytes: int | None
    checkpoint_bytes: int
    disk_bytes: int
    """All checkpoints that are kept, the best one, and the one being written."""
    disk_free_bytes: int
    step_seconds: float
    total_seconds: float
    """Of the updates; writing answers, evaluations and checkpoints are not counted."""
    time_source: str
    """`measured step`, or an assumed share of the peak."""
    resume_step: int = 0
    """The checkpoint this run goes on from; 0: it starts."""


def plan_finetune_run(job: FinetuneJob) -> FinetunePlan:
    """Everything a person wants to know before a run; measures some updates where that is quick."""
    setup, recipe, config = job.setup, job.setup.recipe, job.config
    trained, size = trained_parameters(job), _checkpoint_bytes(job)
    with threads_set(setup.threads):
        peak = measure_peak(setup.device, recipe.dtype)
        seconds, source = _step_seconds(job, peak)
    return FinetunePlan(
        out=str(job.files.out),
        method=config.method,
        kind=config.parameters["kind"],
        parameters=architecture_of(job.source.config).parameters,
        trained_parameters=trained,
        rows=recipe.rows,
        seq_len=recipe.seq_len,
        audit=job.audit,
        valid_rows=0 if job.valid is None else len(job.valid.rows),
        steps=recipe.steps,
        epochs=round(recipe.epochs, 4),
        batch_rows=recipe.batch_rows,
        micro_batch_rows=setup.micro_batch_rows,
        lr=recipe.lr,
        schedule=recipe.schedule,
        warmup_steps=recipe.warmup_steps,
        device=str(setup.device),
        dtype=recipe.dtype,
        threads=setup.threads,
        memory_bytes=finetune_memory_bytes(job),
        memory_available_bytes=available_memory_bytes(setup.device),
        checkpoint_bytes=size,
        disk_bytes=size * (kept_checkpoints(config, recipe.steps) + 2),
        disk_free_bytes=free_bytes(job.files.out),
        step_seconds=seconds,
        total_seconds=seconds * recipe.steps,
        time_source=source,
    )


def check_finetune_resources(job: FinetuneJob) -> None:
    """Refuse a run that cannot end well.

    Raises:
        ResourceError: too little memory, or too little disk for the checkpoints.
    """
    otherwise = "--lora or --qlora" if job.config.lora is None else "--qlora, or a smaller --max-tokens"
    check_memory(job.setup, finetune_memory_bytes(job), otherwise)
    kept = kept_checkpoints(job.config, job.setup.recipe.steps)
    check_disk(job.files.out, kept + 1, _checkpoint_bytes(job))


def trained_parameters(job: FinetuneJob) -> int:
    """Numbers that are learnt."""
    with torch.device("meta"):
        model = Transformer(job.source.config)
        choose_trained(model, job.config)
    return sum(one.numel() for one in model.parameters() if one.requires_grad)


def finetune_memory_bytes(job: FinetuneJob) -> int:
    """Predicted memory of the process.

    Float32 weights of the model, of a reference (the model itself where it has adapters) and of a teacher; 8
    bytes of moments for each trained number, and its weight where that is an adapter's. Gradients
    take 4 bytes each, and what the forward pass kept is seldom given back. The head scores a chunk of tokens
    at a time.
    """
    setup, config, model = job.setup, job.config, job.source.config
    trained, adapter = trained_parameters(job), config.lora is not None
    weights = _weight_bytes(model, QLORA_BITS if config.qlora else 32)
    weights += 4 * trained * adapter
    if config.uses_reference and not adapter:
        weights += _weight_bytes(model, 32)
    if job.files.teacher is not None:
        teacher = read_model_config(job.files.teacher)
        weights += _weight_bytes(ModelConfig.from_hf(teacher, source=config_source(job.files.teacher)), 32)
    tokens = setup.micro_batch_rows * setup.recipe.seq_len
    kept = activation_bytes(model, tokens, setup.recipe.dtype, head_tokens=rows_per_chunk(model.vocab_size))
    return RUNTIME_BYTES[setup.device.type] + weights + 8 * trained + 4 * trained + kept


def _weight_bytes(model: ModelConfig, matrix_bits: float) -> int:
    """Of a model whose layers' matrices take so many bits a number, and all else float32."""

    def held(tensor: TensorSpec) -> float:
        return tensor.numel * (matrix_bits / 8 if is_layer_matrix(tensor) else 4)

    return round(sum(map(held, architecture_of(model).tensors)))


def _checkpoint_bytes(job: FinetuneJob) -> int:
    parameters = architecture_of(job.source.config).parameters
    return checkpoint_bytes(parameters, trained_parameters(job), adapter=job.config.lora is not None)


def _step_seconds(job: FinetuneJob, peak: Peak) -> tuple[float, str]:
    if job.config.method == "grpo":  # an update would ask the reward program
        return estimate_step(job.setup, peak)
    return time_step(job.setup, peak, lambda: FinetuneRun(job).build_trainer(Start()))
