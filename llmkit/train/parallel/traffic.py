"""What a process of a run sends the others in one update, counted from shapes. No torch.

A sum of b bytes over n processes takes 2 (n - 1) / n b from each, what is gathered or shared out (n - 1) / n
of the whole: no algorithm sends less. The few numbers of losses and norms are not counted.
"""

from dataclasses import dataclass

from llmkit.estimate.architecture_of import architecture_of
from llmkit.model.config import ModelConfig
from llmkit.train.parallel.degrees import Degrees
from llmkit.train.parallel.own_part import own_part, parts_of_batch

_FLOAT = 4


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
    replicas = degrees.dp * degrees.cp
    for stage in range(degrees.pp):
        own = own_part(architecture, degrees, stage)
        whole = own.all * _FLOAT
        passes = update.passes
        if degrees.pp > 1:
            passes = parts_of_batch(update.rows, update.pass_rows, degrees.pp)
        sent = {"gradients": 0.0, "weights": 0.0, "activations": _activations(model, degrees, update, stage)}
        if degrees.fsdp > 1:
            layers, sums = own.layers + own.experts, passes
            gathered = passes * (own.ends + 2 * layers)
            if degrees.pp > 1:  # what a backward pass gathered, and its sums, stay to the last
                gathered, sums = own.ends + (passes + 1) * layers, 1
            sent["weights"] = _part(degrees.shards) * gathered * update.product_bytes
            each = _part(degrees.shards) * whole + 2 * _part(degrees.dp) * own.kept * _FLOAT
            sent["gradients"] = sums * each
        elif degrees.ep > 1:
            experts = own.experts * _FLOAT
            sent["gradients"] = 2 * _part(degrees.dp) * experts
            sent["gradients"] += 2 * _part(degrees.dp * degrees.ep) * (whole - experts)
        else:
            sent["gradients"] = 2 * _part(replicas) * whole
        if degrees.pp > 1 and architecture.tied_head and stage in (0, degrees.pp - 1):
            sent["gradients"] += model.vocab_size * model.hidden_size * _FLOAT / degrees.tp / degrees.fsdp
        if sum(sent.values()) > sum(most.values()):
            most = {name: round(size) for name, size in sent.items() if size}
    return most


def _activations(model: ModelConfig, degrees: Degrees, update: Update, stage: int) -> float:
    """What passes between processes that have parts of the model, there and back."""
    layers = model.num_hidden_layers // degrees.pp + (stage < model.num_hidden_layers % degrees.pp)
    row = update.tokens * model.hidden_size
    again = 1 + update.recomputes
    sent = 0.0
    if degrees.tp > 1:
        sums = (3 + again) * layers * update.product_bytes * row
        if stage == 0:
            sums += update.stream_bytes * row  # embeddings
        sent += 2 * _part(degrees.tp) * sums
        if stage == degrees.pp - 1:
            logits = update.tokens * model.vocab_size
            sent += _part(degrees.tp) * logits * update.product_bytes
            sent += 2 * _part(degrees.tp) * row * update.product_bytes
    if degrees.cp > 1:
        each = 2 * model.num_key_value_heads * model.head_dim
        if (latent := model.latent) is not None:
            width = latent.qk_nope_head_dim + latent.qk_rope_head_dim + latent.v_head_dim
            each = model.num_attention_heads * width
        own = update.tokens * each * update.product_bytes / degrees.tp
        sent += (1 + again) * layers * (degrees.cp - 1) * own
    if degrees.pp > 1:
        sent += ((stage > 0) + (stage < degrees.pp - 1)) * row * update.stream_bytes
    if degrees.ep > 1 and model.experts is not None:
        rows = row * model.experts.num_experts_per_tok * update.stream_bytes
        sent += _part(degrees.ep) * 2 * (1 + again) * len(model.experts.layers) * rows
    return sent


def _part(processes: int) -> float:
    """What is elsewhere of what lies alike on so many processes."""
    return (processes - 1) / processes
