"""What training keeps in memory beside weights, gradients and moments: counted, then held against runs.

What autograd keeps was counted exactly, tensor by tensor, for each kind of layer (its test does it
again). What a process holds was measured on runs of 1M to 40M parameters: see tests/bench/README.md.
"""

from dataclasses import dataclass

from llmkit.kernels.learn import HEAD_DIM_STEP, LearntAttentionStruct, learnt_attention_bytes
from llmkit.kernels.memory import ValueType
from llmkit.model.config import ModelConfig
from llmkit.model.config_parts import ExpertsConfig
from llmkit.model.learnt.operations import HAS_KERNELS
from llmkit.train.config import ActivationCheckpointing
from llmkit.train.parallel.degrees import ONE_PROCESS, Degrees
from llmkit.train.parallel.own_part import layers_of
from llmkit.workflows.run.kept import layers_bytes, mlp_values

RUNTIME_BYTES = {"cpu": 325 << 20, "cuda": 0}
"""Python and PyTorch themselves, where their memory is the model's."""
RECOMPUTING_BYTES = {"cpu": 80 << 20, "cuda": 0}
"""torch._dynamo, which PyTorch imports with the first layer that is computed again."""
DISTRIBUTED_BYTES = {"cpu": 20 << 20, "cuda": 0}
"""torch.distributed, in each of several processes."""
IN_PARTS_BYTES = {"cpu": 110 << 20, "cuda": 0}
"""torch.distributed.tensor, where a model lies in parts, and torch._dynamo, which it imports."""
_ALLOCATOR = {"rms": 1.2, "layer": 1.0}
"""Held over kept, by what norms layers have: measured. What is freed between two tensors that stay is no room
for a larger one; GPT-2's layers keep tensors of one width and its fourfold, and gradients find room there.
Where layers compute again, large blocks go back at once (`freed_memory_kept`): as much is held as is kept."""
_EXPERTS_ALONE = 1.1
"""The same where one process has all experts of a model."""
_PRIMITIVE_BYTES = 550 << 10
"""What oneDNN keeps for one shape of a bfloat16 product: measured with mallinfo2, 538 to 569 KiB."""


@dataclass(frozen=True)
class RunMemory:
    """Predicted peaks of the processes of a run, in bytes."""

    first: int
    """Of the one that writes the checkpoints: where the model lies in parts, it brings them together."""
    other: int
    """Of the others, as the one of them has it that holds most."""

    def on(self, processes: int) -> int:
        """Of so many on one machine, the first among them."""
        return self.first + (processes - 1) * self.other


def activation_bytes(
    model: ModelConfig,
    tokens: int,
    dtype: str,
    *,
    head_tokens: int | None = None,
    recomputing: ActivationCheckpointing = "none",
    degrees: Degrees = ONE_PROCESS,
    stage: int = 0,
    under_way: int = 1,
    native: bool = HAS_KERNELS,
    wide_logits: bool = False,
) -> int:
    """What a process holds for what a forward pass keeps for the backward pass.

    The layers' part, and at the end the logits, whose place their gradient takes; in a pipeline both. Where
    their loss is PyTorch's: logits and their logarithms of probabilities in float32, and with bfloat16 the
    logits in both.

    Args:
        model: its shape.
        tokens: of a micro-batch.
        dtype: of the arithmetic.
        head_tokens: that the head scores at once; None: all of a micro-batch.
        recomputing: what the layers do not keep, but compute again one by one.
        degrees: how the model is divided: matrices that are cut keep less, stages have some of the layers.
        stage: of the layers.
        under_way: micro-batches that this stage holds at once.
        native: the kernels of training are taken: on a CPU, where they are built.
        wide_logits: they go through float32, because the loss asks more of them than `nats`.
    """
    half = dtype == "bfloat16"
    head = tokens if head_tokens is None else min(tokens, head_tokens)
    logits = (
        head
        * model.vocab_size
        * _logit_bytes(half=half, native=native and not wide_logits and degrees.tp == 1, apart=degrees.pp > 1)
    )
    logits //= degrees.tp
    if degrees.pp > 1:  # the pipeline holds on to them
        logits = round(1.5 * logits) if stage == degrees.pp - 1 else 0
    kept = layers_bytes(model, dtype, native=native)
    if degrees.cp > 1:
        kept += _others_keys_bytes(model, degrees, half=half)
    if degrees.tp > 1:
        read, whole = _read_bytes(model, half=half)
        kept = whole + (kept - read) // degrees.tp
    layers = len(layers_of(stage, degrees.pp, model.num_hidden_layers))
    wasted = _EXPERTS_ALONE if has_experts_alone(model, degrees) else _ALLOCATOR[model.norm]
    own = wasted * (under_way * kept * layers // model.num_hidden_layers)
    if recomputing != "none":
        at_work = kept // model.num_hidden_layers  # one layer, whole
        again = _recomputed_bytes(model, dtype, recomputing, degrees.tp)
        again = under_way * again * layers // model.num_hidden_layers
        own = min(own, at_work + again)
    return round(tokens * own) + logits


def _logit_bytes(*, half: bool, native: bool, apart: bool) -> int:
    """What one logit takes with its gradient: native, in its place, unless somebody holds on to it."""
    if native:
        return (2 if half else 4) * (2 if apart else 1)
    return 10 if half else 8


def has_experts_alone(model: ModelConfig, degrees: Degrees) -> bool:
    """Whether one process has all experts of a model: their gradients, large blocks, find room in what is
    freed meanwhile. Measured."""
    return model.sparse is not None and degrees.world == 1


def experts_beside_bytes(experts: ExpertsConfig, parameters: int, tokens: int) -> int:
    """What a process with all experts holds beside in bfloat16 on a CPU.

    Copies of the weights, which elsewhere find room in what is wasted, and oneDNN's primitives: one for each
    number of rows in a product of `grouped_linear`.

    Args:
        experts: of the model.
        parameters: of the model.
        tokens: of a micro-batch.
    """
    most = 4 * tokens * experts.num_experts_per_tok // experts.num_experts  # rows of one expert
    pieces = (most // 32).bit_length()  # of 32, 64, ...
    sums = 4 * min(4, pieces)  # four an octave; the busiest has some sixteen times the rows of the idlest
    return 2 * parameters + 2 * (2 * pieces + sums) * _PRIMITIVE_BYTES


def attention_scratch_bytes(
    model: ModelConfig, rows: int, length: int, dtype: str, *, threads: int, degrees: Degrees = ONE_PROCESS
) -> int:
    """What the threads hold for keys and values while the kernels of training attend, and from then on.

    Nothing where PyTorch attends: without kernels, where rows are cut, and in heads that do not fit.

    Args:
        model: its shape.
        rows: of a micro-batch.
        length: of a row.
        dtype: of the arithmetic.
        threads: of the process.
        degrees: how the model is divided.
    """
    latent = model.latent
    key = model.head_dim if latent is None else latent.qk_nope_head_dim + latent.qk_rope_head_dim
    value = model.head_dim if latent is None else latent.v_head_dim
    if not HAS_KERNELS or degrees.cp > 1 or key % HEAD_DIM_STEP or value % HEAD_DIM_STEP:
        return 0
    heads = model.num_attention_heads // degrees.tp
    kv_heads = heads if latent is not None else model.num_key_value_heads // degrees.tp
    kind = ValueType.BFLOAT16 if dtype == "bfloat16" else ValueType.FLOAT32
    struct = LearntAttentionStruct(
        **{"type": kind, "rows": rows, "length": length, "heads": heads, "kv_heads": kv_heads, "d_out": 1},
        **{"key_dim": key, "value_dim": value},
    )
    return min(threads, rows * kv_heads) * learnt_attention_bytes(struct)


def _others_keys_bytes(model: ModelConfig, degrees: Degrees, *, half: bool) -> int:
    """What all layers keep of a token where rows are cut: keys and values of the other processes."""
    kv = 2 * model.num_key_value_heads * model.head_dim
    if (latent := model.latent) is not None:
        kv = latent.qk_nope_head_dim + latent.qk_rope_head_dim + latent.v_head_dim
        kv *= model.num_attention_heads
    return model.num_hidden_layers * (2 if half else 4) * kv * (degrees.cp - 1)


def _read_bytes(model: ModelConfig, *, half: bool) -> tuple[int, int]:
    """Of what all layers keep of a token, what the matrices after norms read, and that where it is gathered.

    Every such product has a bfloat16 copy of its own; what is gathered they share.
    """
    layers, experts = model.num_hidden_layers, model.experts
    dense = layers - (0 if experts is None else len(experts.layers))
    gathered = (2 if half else 4) * model.hidden_size * (layers + dense)
    if not half:
        return gathered, gathered
    return 2 * model.hidden_size * (3 * layers + (2 if model.gated_mlp else 1) * dense), gathered


def _recomputed_bytes(
    model: ModelConfig, dtype: str, recomputing: ActivationCheckpointing, pieces: int
) -> int:
    """What all layers keep of a token: what comes in; `selective`: what products and attention gave too.

    Of matrices in pieces, each process has its part of that, but of the last ones' a summand of all.
    """
    layers, width = model.num_hidden_layers, 2 if dtype == "bfloat16" else 4
    kept = layers * 4 * model.hidden_size // pieces
    if recomputing == "selective":
        kv = 2 * model.num_key_value_heads * model.head_dim
        cut = layers * (2 * model.hidden_size + kv) + mlp_values(model, gated=4) // 2
        kept += width * (cut // pieces + layers * 2 * model.hidden_size)
    return kept
