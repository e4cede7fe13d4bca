"""What a process of a run sends the others in one update, counted from shapes. No torch.

A sum of b bytes over n processes takes 2 (n - 1) / n b from each, what is gathered or shared out (n - 1) / n
of the whole: no algorithm sends less. The few numbers of norms, and of losses of a batch, are not counted.
"""

from dataclasses import dataclass

from llmkit.estimate.architecture_of import architecture_of
from llmkit.model.config import ModelConfig
from llmkit.train.parallel.degrees import Degrees
from llmkit.train.parallel.own_part import OwnPart, layers_of, own_part, parts_of_batch

_FLOAT = 4
_TERMS = 3
"""Numbers that processes with parts of the logits tell each other of a target: see logit_parts.py."""


@dataclass(frozen=True, kw_only=True)
class Update:
    """One update, as a process sees it."""

    rows: int
    """Its rows of the batch."""
    pass_rows: int
    """At most, of one forward pass."""
    seq_len: int
    """Its positions of each row."""
    product_bytes: int
    """Of a number that a product gave."""
    stream_bytes: int
    """Of one that goes from layer to layer."""
    recomputes: bool = False
    """Layers are computed again in the backward pass up to their last product, and exchange again."""

    @property
    def tokens(self) -> int:
        """Of all its rows."""
        return self.rows * self.seq_len

    @property
    def passes(self) -> int:
        """Forward and backward."""
        return -(-self.rows // self.pass_rows)


def sent_bytes(model: ModelConfig, degrees: Degrees, update: Update) -> dict[str, int]:
    """Bytes that the process with most to send sends, by what they are; what there is none of is left out.

    Args:
        model: what is trained.
        degrees: how the run is divided.
        update: what each process does in it.

    Returns:
        gradients: summed over processes that share the batch.
        weights: gathered for a pass (--fsdp).
        activations: and their gradients, between parts of matrices (--tp), of rows (--cp), stages (--pp), and
            experts (--ep), which are taken to be chosen alike often.
    """
    architecture = architecture_of(model)
    most: dict[str, int] = {}
    for stage in range(degrees.pp):
        own = own_part(architecture, degrees, stage)
        sent = {"gradients": 0.0, "weights": 0.0, "activations": _activations(model, degrees, update, stage)}
        if degrees.fsdp > 1:
            sent |= _in_shards(own, update)
        else:
            sent["gradients"] = summed_bytes(own.all - own.experts, degrees.dp * degrees.ep * degrees.cp)
            sent["gradients"] += summed_bytes(own.experts, degrees.dp * degrees.cp)
        sent["gradients"] += _apart_on_pieces(own)
        if degrees.pp > 1 and architecture.tied_head and stage in (0, degrees.pp - 1):
            sent["gradients"] += model.vocab_size * model.hidden_size * _FLOAT / degrees.tp / degrees.shards
        if sum(sent.values()) > sum(most.values()):
            most = {name: round(size) for name, size in sent.items() if size}
    return most


def summed_bytes(numbers: float, processes: int) -> float:
    """Bytes of a sum of so many numbers that each process gets."""
    return 2 * _part(processes) * numbers * _FLOAT


def _in_shards(own: OwnPart, update: Update) -> dict[str, float]:
    """Weights gathered for the passes, and gradients summed into their shards and over replicas of these."""
    degrees, passes = own.degrees, update.passes
    if degrees.pp > 1:
        passes = parts_of_batch(update.rows, update.pass_rows, degrees.pp)
    sent = {"gradients": 0.0, "weights": 0.0}
    kept, experts_kept = own.sharded
    for ends, layers, held, shards in (
        (own.ends, own.layers, kept, degrees.shards),
        (0, own.experts, experts_kept, degrees.expert_shards),
    ):
        gathered, sums = passes * (ends + 2 * layers), passes
        if degrees.pp > 1:  # what a backward pass gathered, and its sums, stay to the last
            gathered, sums = ends + (passes + 1) * layers, 1
        sent["weights"] += _part(shards) * gathered * update.product_bytes
        each = _part(shards) * (ends + layers) * _FLOAT + summed_bytes(held, degrees.dp)
        sent["gradients"] += sums * each
    return sent


def _apart_on_pieces(own: OwnPart) -> float:
    """Gradients of what --tp does not cut: each of its processes learns from its positions."""
    degrees = own.degrees
    if degrees.tp == 1:
        return 0.0
    if degrees.fsdp > 1:
        uncut = own.uncut / degrees.shards + own.experts / degrees.expert_shards
        return summed_bytes(uncut, degrees.tp)
    among = degrees.dp * degrees.cp
    return sum(
        summed_bytes(numbers, processes * degrees.tp) - summed_bytes(numbers, processes)
        for numbers, processes in ((own.uncut, among * degrees.ep), (own.experts, among))
    )


def _activations(model: ModelConfig, degrees: Degrees, update: Update, stage: int) -> float:
    """What passes between processes that have parts of the model, there and back."""
    layers = layers_of(stage, degrees.pp, model.num_hidden_layers)
    row = update.tokens * model.hidden_size / degrees.tp  # of each of its processes
    again = 1 + update.recomputes
    sent = moves = 0.0
    if degrees.tp > 1:
        sparse = () if model.experts is None else model.experts.layers
        pairs = len(layers) + sum(layer not in sparse for layer in layers)  # of matrices that are cut
        moves = (2 + 2 * again) * pairs - update.recomputes * sum(layer not in sparse for layer in layers)
        moves += 2 * (stage == degrees.pp - 1)  # the head
        moves += (1 + again) * len(layers) * (_gathered_width(model) / model.hidden_size - 1)
        sent += (degrees.tp - 1) * row * moves * update.product_bytes
        sent += (degrees.tp - 1) * row * 2 * (stage == 0) * update.stream_bytes  # embeddings
        sent += (degrees.tp - 1) * update.tokens * _TERMS * _FLOAT * (stage == degrees.pp - 1)
    if degrees.cp > 1:
        each = 2 * model.num_key_value_heads * model.head_dim
        if (latent := model.latent) is not None:
            width = latent.qk_nope_head_dim + latent.qk_rope_head_dim + latent.v_head_dim
            each = model.num_attention_heads * width
        own = update.tokens * each * update.product_bytes / degrees.tp
        sent += (1 + again) * len(layers) * (degrees.cp - 1) * own
    if degrees.pp > 1:
        sent += ((stage > 0) + (stage < degrees.pp - 1)) * row * update.stream_bytes
    if degrees.ep > 1 and model.experts is not None:
        rows = row * model.experts.num_experts_per_tok * update.stream_bytes
        sent += _part(degrees.ep) * 2 * (1 + again) * len(model.experts.layers) * rows
    return sent


def _gathered_width(model: ModelConfig) -> int:
    """Numbers of a token that attention reads of other processes' positions, where heads are cut."""
    latent = model.latent
    if latent is None:
        return model.hidden_size
    return latent.kv_lora_rank + latent.qk_rope_head_dim + (latent.q_lora_rank or model.hidden_size)


def _part(processes: int) -> float:
    """What is elsewhere of what lies alike on so many processes."""
    return (processes - 1) / processes
