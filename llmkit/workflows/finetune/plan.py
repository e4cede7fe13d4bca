"""What a fine-tuning run will do and take, worked out before any of it: examples, memory, disk and time."""

import torch

from llmkit.estimate.adapters import is_layer_matrix
from llmkit.estimate.architecture import TensorSpec
from llmkit.estimate.architecture_flops import train_flops_per_token
from llmkit.estimate.architecture_of import architecture_of
from llmkit.estimate.training_settings import QLORA_BITS
from llmkit.model.adapters.lora import LowRankChange
from llmkit.model.config import ModelConfig
from llmkit.model.learnt.operations import HAS_KERNELS
from llmkit.model.stretched import read_shape
from llmkit.model.transformer import Transformer
from llmkit.tokens.audit import AuditReport
from llmkit.train.budget import kept_checkpoints
from llmkit.train.chunked_rows import rows_per_chunk
from llmkit.train.hardware import Peak, measure_peak, threads_set
from llmkit.train.parallel.traffic import summed_bytes
from llmkit.train.state import checkpoint_bytes
from llmkit.workflows.finetune.job import FinetuneJob, backward_share
from llmkit.workflows.finetune.model import choose_trained
from llmkit.workflows.finetune.run import FinetuneRun
from llmkit.workflows.run.evaluations import plan_evaluations
from llmkit.workflows.run.folder import Start
from llmkit.workflows.run.memory import (
    DISTRIBUTED_BYTES,
    RECOMPUTING_BYTES,
    RUNTIME_BYTES,
    RunMemory,
    activation_bytes,
    attention_scratch_bytes,
)
from llmkit.workflows.run.plan import (
    Needs,
    RunPlan,
    build_plan,
    check_needs,
    estimate_step,
    peak_of_all,
    time_step,
)


class FinetunePlan(RunPlan, frozen=True, kw_only=True):
    """The report of `--dry-run`. Its rows are packed ones, or pairs, answers or prompts."""

    schema: str = "llmkit.finetune-plan/1"
    method: str
    kind: str
    """`full`, `last_layers`, `lora` or `qlora`."""
    trained_parameters: int
    audit: AuditReport
    valid_rows: int
    answers_per_row: int = 1
    """That are written to each prompt and learnt from, of grpo."""


def plan_finetune_run(job: FinetuneJob, *, processes_here: int = 1) -> FinetunePlan:
    """Everything a person wants to know before a run; measures some updates where that is quick."""
    setup, config = job.setup, job.config
    trained = trained_parameters(job)
    with threads_set(setup.threads):
        peak = measure_peak(setup.device, setup.recipe.dtype)
        step = _step_seconds(job, peak_of_all(setup, peak, processes_here))
    evaluations = plan_evaluations(
        setup,
        0 if job.valid is None or config.method == "grpo" else len(job.valid.rows),
        config.eval_rows,
        step_seconds=step[0],
        share=_forward_share(job),
        from_the_start=True,
    )
    sent = round(summed_bytes(trained, setup.degrees.world))
    return build_plan(
        FinetunePlan,
        setup,
        job.source.config,
        job.files.out,
        _needs(job),
        step=step,
        sent={"gradients": sent} if sent else {},
        processes_here=processes_here,
        evaluations=evaluations,
        method=config.method,
        kind=config.parameters["kind"],
        trained_parameters=trained,
        audit=job.audit,
        answers_per_row=config.answers_per_row,
        valid_rows=0 if job.valid is None else len(job.valid.rows),
    )


def check_finetune_resources(job: FinetuneJob, *, processes_here: int = 1) -> None:
    """Refuse a run that cannot end well.

    Raises:
        ResourceError: too little memory for the processes here, or too little disk for the checkpoints.
    """
    otherwise = "--lora or --qlora" if job.config.lora is None else "--qlora, or a smaller --max-tokens"
    check_needs(job.setup, _needs(job), job.files.out, otherwise, processes_here=processes_here)


def _needs(job: FinetuneJob) -> Needs:
    """Every process holds as much; beside the checkpoints that are kept there is the best one."""
    each, size = finetune_memory_bytes(job), _checkpoint_bytes(job)
    return Needs(RunMemory(each, each), size, kept_checkpoints(job.config, job.setup.recipe.steps) + 1)


def trained_parameters(job: FinetuneJob) -> int:
    """Numbers that are learnt."""
    return _learnt(_shape(job))


def _shape(job: FinetuneJob) -> Transformer:
    """The model to train, without its numbers."""
    with torch.device("meta"):
        model = Transformer(job.source.config)
        choose_trained(model, job.config)
    return model


def _learnt(shape: Transformer) -> int:
    return sum(one.numel() for one in shape.parameters() if one.requires_grad)


def _narrow_bytes(job: FinetuneJob, shape: Transformer) -> int:
    """What adapters keep for the backward pass: of every token as many numbers as the rank, each."""
    setup = job.setup
    ranks = sum(len(one.lora_A) for one in shape.modules() if isinstance(one, LowRankChange))
    size = 2 if setup.recipe.dtype == "bfloat16" else 4
    return setup.micro_batch_rows * setup.recipe.seq_len * ranks * size


def finetune_memory_bytes(job: FinetuneJob) -> int:
    """Predicted memory of a process.

    Float32 weights of the model, of a reference (the model itself where it has adapters) and of a teacher; 8
    bytes of moments for each trained number, and its weight where that is an adapter's. Gradients
    take 4 bytes each, twice where several processes sum them, and what the forward pass kept is seldom given
    back. The head scores a chunk of tokens at a time.
    """
    setup, config, model = job.setup, job.config, job.source.config
    shape = _shape(job)
    trained, adapter = _learnt(shape), config.lora is not None
    weights = _weight_bytes(model, QLORA_BITS if config.qlora else 32)
    weights += 4 * trained * adapter
    if config.uses_reference and not adapter:
        weights += _weight_bytes(model, 32)
    if job.files.teacher is not None:
        weights += _weight_bytes(read_shape(job.files.teacher), 32)
    rows, length, dtype = setup.micro_batch_rows, setup.recipe.seq_len, setup.recipe.dtype
    native = HAS_KERNELS and setup.device.type == "cpu"
    kept = activation_bytes(
        model,
        rows * length,
        dtype,
        head_tokens=rows_per_chunk(model.vocab_size),
        recomputing=config.activation_checkpointing,
        native=native,
        wide_logits=config.method != "sft",
    )
    kept += attention_scratch_bytes(model, rows, length, dtype, threads=setup.threads) if native else 0
    kept += 0 if config.recomputes else _narrow_bytes(job, shape)
    runtime, gradients = RUNTIME_BYTES[setup.device.type], 4 * trained
    if setup.degrees.world > 1:
        runtime, gradients = runtime + DISTRIBUTED_BYTES[setup.device.type], 2 * gradients
    if config.recomputes:
        runtime += RECOMPUTING_BYTES[setup.device.type]
    return runtime + weights + 8 * trained + gradients + kept


def _weight_bytes(model: ModelConfig, matrix_bits: float) -> int:
    """Of a model whose layers' matrices take so many bits a number, and all else float32."""

    def held(tensor: TensorSpec) -> float:
        return tensor.numel * (matrix_bits / 8 if is_layer_matrix(tensor) else 4)

    return round(sum(map(held, architecture_of(model).tensors)))


def _checkpoint_bytes(job: FinetuneJob) -> int:
    parameters = architecture_of(job.source.config).parameters
    return checkpoint_bytes(parameters, trained_parameters(job), adapter=job.config.lora is not None)


def _forward_share(job: FinetuneJob) -> float:
    """Of the work of an update: the passes forwards, of the model, its reference and its teacher."""
    setup = job.setup
    own = train_flops_per_token(architecture_of(job.source.config), setup.recipe.seq_len)
    return 1 - own * backward_share(job.config) / setup.flops_per_token


def _step_seconds(job: FinetuneJob, peak: Peak) -> tuple[float, str]:
    if job.config.method == "grpo":  # an update would ask the reward program
        return estimate_step(job.setup, peak)
    saves = job.config.recomputes
    return time_step(job.setup, peak, lambda: FinetuneRun(job).build_trainer(Start()), saves=saves)
