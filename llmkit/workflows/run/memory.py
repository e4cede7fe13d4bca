"""What training keeps in memory beside weights, gradients and moments: counted, then held against runs.

What autograd keeps was counted exactly, tensor by tensor, for each kind of layer (its test does it
again). What a process holds was measured on runs of 1M to 40M parameters: see tests/bench/README.md.
"""

from dataclasses import dataclass

from llmkit.kernels.learn import HEAD_DIM_STEP, LearntAttentionStruct, learnt_attention_bytes
from llmkit.kernels.memory import ValueType
from llmkit.model.config import ModelConfig
from llmkit.model.config_parts import LatentConfig
from llmkit.model.learnt.operations import HAS_KERNELS
from llmkit.model.recurrent.chunks import CHUNK
from llmkit.train.config import ActivationCheckpointing
from llmkit.train.parallel.degrees import ONE_PROCESS, Degrees
from llmkit.train.parallel.own_part import layers_of

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
_EXPERT_STREAM = 2
"""Rows of hidden_size that are kept for each expert of a token: what goes in and what comes out."""


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

    The layers' part, and at the end the logits and their gradient; or the logits and their logarithms of
    probabilities in float32, and with bfloat16 the logits in both.

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
    of_one = (10 if wide_logits or degrees.tp > 1 or not native else 4) if half else 8
    logits = head * model.vocab_size * of_one // degrees.tp
    if degrees.pp > 1:  # the pipeline holds on to them
        logits = round(1.5 * logits) if stage == degrees.pp - 1 else 0
    kept = layers_bytes(model, dtype, native=native)
    if degrees.cp > 1:
        kept += _others_keys_bytes(model, degrees, half=half)
    if degrees.tp > 1:
        read, whole = _read_bytes(model, half=half)
        kept = whole + (kept - read) // degrees.tp
    layers = len(layers_of(stage, degrees.pp, model.num_hidden_layers))
    wasted = 1.0 if has_experts_alone(model, degrees) else _ALLOCATOR[model.norm]
    own = wasted * (under_way * kept * layers // model.num_hidden_layers)
    if recomputing != "none":
        at_work = kept // model.num_hidden_layers  # one layer, whole
        again = _recomputed_bytes(model, dtype, recomputing, degrees.tp)
        again = under_way * again * layers // model.num_hidden_layers
        own = min(own, at_work + again)
    return round(tokens * own) + logits


def has_experts_alone(model: ModelConfig, degrees: Degrees) -> bool:
    """Whether one process has all experts of a model: their gradients, large blocks, find room in what is
    freed meanwhile, and nothing is wasted. Measured."""
    return model.sparse is not None and degrees.world == 1


def layers_bytes(model: ModelConfig, dtype: str, *, native: bool = HAS_KERNELS) -> int:
    """What autograd keeps of a token in all layers.

    In values of D, hidden_size: norms' inputs and outputs, queries before and after their norm and rotation,
    what attention gives, twice (once where kernels have rotated queries); of keys and values likewise. Of the
    MLP four values of F, intermediate_size, three where `silu_gated` makes them, or two where it has no gate.
    Norms keep float32 in bfloat16 arithmetic too, and so do normalised queries.
    With experts, F is that of all that a token uses, and their inputs and outputs are kept k times beside.
    """
    half = dtype == "bfloat16"
    kv = 2 * model.num_key_value_heads * model.head_dim
    if model.latent is not None:
        attention = _latent_bytes(model, model.latent, half=half, native=native)
    elif model.qk_norm != "none":
        attention = 32 * model.hidden_size + 6 * kv
    elif model.norm == "rms":
        attention = (24 if half else 28) * model.hidden_size + (2 if half else 4) * kv
    else:
        attention = (20 if half else 24) * model.hidden_size + (2 if half else 4) * kv
    if model.latent is None and model.norm == "rms" and native:
        attention -= (2 if half else 4) * model.num_attention_heads * model.head_dim
    gated = 3 if native and model.hidden_act == "silu" else 4
    if model.lone_mlps is not None:  # each behind one norm, and no positions are rotated
        attention = (6 if half else 8) * model.hidden_size + (2 if half else 4) * kv
        mixed = 8 * model.num_hidden_layers * model.hidden_size
        mixed += 4 * len(model.state_layers) * _state_values(model)
        mixed += len(model.attention_layers) * attention
        return mixed + (2 if half else 4) * _mlp_values(model, gated=gated)
    mixed = len(model.attention_layers) * attention
    mixed += len(model.state_layers) * (12 * model.hidden_size + 4 * _state_values(model))
    if half and model.experts is not None and model.experts.shared_intermediate_size:
        mixed += len(model.experts.layers) * 4 * model.hidden_size  # that the shared one's gate and up read
    return mixed + (2 if half else 4) * _mlp_values(model, gated=gated)


def _latent_bytes(model: ModelConfig, latent: LatentConfig, *, half: bool, native: bool) -> int:
    """What autograd keeps of a token in latent attention and both norms of its layer.

    Beside inputs and outputs of norms, the two narrow ones too: of each head its query and key, joined of two
    parts; what kv_b_proj gave, of which the value is a piece, and what attention gave. PyTorch's takes values
    as wide as keys, and what it gave is laid out anew.
    """
    key, value = model.head_dim, latent.v_head_dim
    if native and not (key % HEAD_DIM_STEP or value % HEAD_DIM_STEP):
        head = 2 * key + latent.qk_nope_head_dim + 2 * value
    else:
        head = 2 * key + 2 * max(key, value) + value
    heads = model.num_attention_heads * head + latent.qk_rope_head_dim
    narrow = latent.q_lora_rank + latent.kv_lora_rank
    return 16 * model.hidden_size + (10 if half else 8) * narrow + (2 if half else 4) * heads


def _state_values(model: ModelConfig) -> int:
    """What autograd keeps of a token in a layer of state, beside a norm's, in rows of documents: numbers of
    products, a convolution's inputs as often as it looks back, and the chunk of a rule or state space."""
    if (mamba := model.mamba) is not None:
        heads, keys = mamba.num_heads, mamba.num_groups * mamba.state_size
        chunk = (3 * heads + mamba.num_groups) * CHUNK + 2 * mamba.width * mamba.state_size // CHUNK
        return chunk + mamba.kernel * mamba.convolved + 13 * mamba.width + 7 * keys + 10 * heads
    if (delta := model.delta) is None:
        return 0 if model.short_conv is None else (6 + model.short_conv.kernel) * model.hidden_size
    heads, keys = delta.num_value_heads, delta.num_value_heads * delta.key_head_dim
    chunk = 6 * heads * CHUNK + keys * delta.value_head_dim // CHUNK
    return chunk + 9 * keys + 15 * delta.value_width + 12 * delta.key_width


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
        cut = layers * (2 * model.hidden_size + kv) + _mlp_values(model, gated=4) // 2
        kept += width * (cut // pieces + layers * 2 * model.hidden_size)
    return kept


def _mlp_values(model: ModelConfig, *, gated: int) -> int:
    """What the MLPs of all layers keep for each token, one with a gate so many values of its width."""
    experts = model.experts
    kept = gated if model.gated_mlp else 2
    dense = kept * model.intermediate_size
    mlps = model.num_hidden_layers if model.lone_mlps is None else len(model.lone_mlps)
    if experts is None:
        return mlps * dense
    k = experts.num_experts_per_tok
    inside = (4 if model.gated_mlp else 2) * k * experts.intermediate_size
    inside += kept * experts.shared_intermediate_size
    sparse = inside + _EXPERT_STREAM * k * model.hidden_size
    return (mlps - len(experts.layers)) * dense + len(experts.layers) * sparse
