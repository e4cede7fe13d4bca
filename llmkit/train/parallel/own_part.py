"""What a process holds of a model that is divided over several: numbers of parameters, counted. No torch."""

from dataclasses import dataclass

from llmkit.estimate.architecture import Architecture, TensorSpec
from llmkit.train.parallel.degrees import Degrees

_CUT = ("embeddings", "head", "attention", "mlp")
"""Parts whose matrices --tp cuts; norms, routers and experts are whole on every process, and learn from the
positions there."""
_WHOLE = (
    *(".shared_expert", ".q_a_proj", ".kv_a_proj_with_mqa"),
    *(".o_proj.bias", ".down_proj.bias", ".c_proj.bias"),
)
"""But not these."""
_OF_HEADS = (".q_norm.weight", ".k_norm.weight")
"""And of norms these, where one is over all heads."""


@dataclass(frozen=True)
class OwnPart:
    """Numbers of the parameters of a stage, cut by --tp and --ep; --fsdp cuts them once more."""

    ends: int
    """Outside the layers: embeddings, last norm, head."""
    layers: int
    """In the layers, without `experts`."""
    experts: int
    largest_layer: int
    """With its experts."""
    uncut: int
    """Of `ends` and `layers`, what --tp does not cut."""
    degrees: Degrees

    @property
    def all(self) -> int:
        """While they are gathered."""
        return self.ends + self.layers + self.experts

    @property
    def kept(self) -> int:
        """Between the passes."""
        rest, experts = self.sharded
        return rest + experts

    @property
    def sharded(self) -> tuple[int, int]:
        """Of `kept`, what is beside the experts, and these."""
        degrees = self.degrees
        rest = self.ends + self.layers
        return -(-rest // degrees.shards), -(-self.experts // degrees.expert_shards)


def layers_of(stage: int, stages: int, layers: int) -> range:
    """The layers of a stage: alike many, where they do not divide one more at the first stages."""
    each, more = divmod(layers, stages)
    begin = stage * each + min(stage, more)
    return range(begin, begin + each + (stage < more))


def parts_of_batch(rows: int, most: int, stages: int) -> int:
    """Parts that a batch goes through stages in: of at most `most` rows, as many as stages if it can be."""
    wanted = min(rows, max(stages, -(-rows // most)))
    return next(count for count in range(wanted, rows + 1) if rows % count == 0)


def own_part(architecture: Architecture, degrees: Degrees, stage: int = 0) -> OwnPart:
    """What a process of a stage has.

    Args:
        architecture: the model.
        degrees: how it is divided.
        stage: of layers, from 0.
    """
    own = layers_of(stage, degrees.pp, architecture.num_hidden_layers)
    ends = layers = experts = uncut = 0
    each: dict[int, int] = {}
    for tensor in architecture.tensors:
        if not tensor.learnt:
            continue
        count = _cut(tensor, architecture, degrees)
        is_here = tensor.layer in own or _is_at(tensor, architecture, stage, degrees.pp)
        if is_here and tensor.part != "experts" and not _is_cut(tensor, architecture):
            uncut += count
        if tensor.layer is None:
            ends += count if is_here else 0
        elif is_here:
            each[tensor.layer] = each.get(tensor.layer, 0) + count
            if tensor.part == "experts":
                experts += count
            else:
                layers += count
    return OwnPart(ends, layers, experts, max(each.values(), default=0), uncut, degrees)


def _cut(tensor: TensorSpec, architecture: Architecture, degrees: Degrees) -> int:
    if tensor.part == "experts":
        return tensor.numel // degrees.ep
    return tensor.numel // degrees.tp if _is_cut(tensor, architecture) else tensor.numel


def _is_cut(tensor: TensorSpec, architecture: Architecture) -> bool:
    """Whether --tp cuts it."""
    if tensor.part == "norms":  # of all heads at once, or of each
        return tensor.name.endswith(_OF_HEADS) and tensor.numel > architecture.head_dim
    if tensor.part not in _CUT:
        return False
    return not any(name in tensor.name for name in _WHOLE)


def _is_at(tensor: TensorSpec, architecture: Architecture, stage: int, stages: int) -> bool:
    """Whether a tensor outside the layers is at a stage; an embedding that is the head too is at both."""
    if tensor.layer is not None:
        return False
    first, last = stage == 0, stage == stages - 1
    if tensor.part in ("embeddings", "positions"):
        return first or (last and architecture.tied_head and tensor.part == "embeddings")
    return last
