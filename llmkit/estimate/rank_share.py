"""Which part of a tensor one of several tensor-parallel devices has, the way Megatron-LM and vLLM split."""

from fractions import Fraction
from math import ceil

from llmkit.errors import ConfigError
from llmkit.estimate.architecture import Architecture, TensorSpec
from llmkit.estimate.weight_bytes import WeightBytes

_WHOLE_MATRICES = ("router", "q_a_proj", "kv_a_proj")


def require_split(name: str, count: int, parts: int, *, flag: str) -> None:
    """Refuse to cut a number of heads or layers into unequal parts.

    Raises:
        ConfigError: `count` is not a multiple of `parts`.
    """
    if count % parts:
        raise ConfigError(
            f"{name} ({count}) is not a multiple of what it is split into ({parts})", hint=f"change {flag}"
        )


def rank_share(architecture: Architecture, tensor: TensorSpec, ranks: int) -> Fraction:
    """The part of a tensor on each of `ranks` devices; biases, norms, routers and down-projections are whole.

    A key/value head is never cut: where devices are more than these heads, each head is on several.
    """
    if tensor.module in _WHOLE_MATRICES or not (tensor.linear or tensor.module == "embed_tokens"):
        return Fraction(1)
    queries, keys = architecture.num_attention_heads, architecture.num_key_value_heads
    if tensor.module in ("k_proj", "v_proj"):
        return Fraction(1, min(ranks, keys))
    if tensor.module == "qkv_proj":
        return (Fraction(queries, ranks) + Fraction(2 * keys, min(ranks, keys))) / (queries + 2 * keys)
    return Fraction(1, ranks)


def rank_weight_bytes(architecture: Architecture, weights: WeightBytes, ranks: int) -> int:
    """What one of `ranks` devices holds of stored weights.

    A tensor has its share of the bytes of its part by the numbers it holds: where a part is stored in
    several ways, copies of single tensors are an average.
    """
    if ranks == 1:
        return weights.nbytes
    held: dict[str, Fraction] = {}
    numbers: dict[str, int] = {}  # tables that are not learnt too: they are no parameters, and held
    for tensor in architecture.tensors:
        share = tensor.numel * rank_share(architecture, tensor, ranks)
        held[tensor.part] = held.get(tensor.part, Fraction(0)) + share
        numbers[tensor.part] = numbers.get(tensor.part, 0) + tensor.numel
    return ceil(sum(nbytes * held[part] / numbers[part] for part, nbytes in weights.by_part.items()))
