"""The part of a model that one of several processes has: heads, and columns of every MLP (1909.08053).

Queries, keys, values, gates and ups are cut by what comes out, o and down by what goes in, so that what a
branch gives is the sum of what the parts give. Heads that share keys and values have them on every process
that needs them. Embeddings, routers and norms are whole.
Shapes: H query heads, K key/value heads, E head_dim, F intermediate_size, N experts, D hidden_size.
"""

from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from llmkit.errors import ConfigError
from llmkit.model.config import ModelConfig

if TYPE_CHECKING:  # whether a model can be cut is asked before torch is there
    from torch import Tensor

_BY_HEAD = ("q_proj", "q_b_proj", "kv_b_proj", "sinks")
_BY_KV_HEAD = ("k_proj", "v_proj")
_BY_COLUMN = ("gate_proj", "up_proj")
_SUMMED = ("o_proj", "down_proj")
"""Modules cut by what goes in. Their biases count once: the first process has them."""


@dataclass(frozen=True)
class Part:
    """One of `count` equal parts."""

    index: int
    count: int

    def cut(self, name: str, tensor: "Tensor", config: ModelConfig) -> "Tensor":
        """What the part has of a tensor, in memory of its own; the tensor itself, where it has all of it.

        Args:
            name: the model's.
            tensor: whole.
            config: the whole model's.
        """
        *_, owner, last = name.split(".")
        is_stack = owner == "experts"
        if is_stack:
            module, is_bias = last.removesuffix("_bias"), last.endswith("_bias")
        else:
            module, is_bias = (last, False) if last == "sinks" else (owner, last == "bias")
        if module in _SUMMED:
            if is_bias:
                return tensor if self.index == 0 else tensor.new_zeros(tensor.shape)
            return self._share(tensor, tensor.dim() - 1)
        if is_stack and module == "gate_up_proj":  # the rows of the gate, then those of up
            halves = tensor.unflatten(1, (2, -1))
            return self._share(halves, 2).flatten(1, 2)
        if module in _BY_KV_HEAD:
            return self._kv_heads(tensor, config)
        return self._share(tensor, 0) if module in (*_BY_HEAD, *_BY_COLUMN) else tensor

    def rows(self, total: int) -> range:
        """Which of so many rows are the part's, where they need not be divided evenly."""
        return range(self.index * total // self.count, (self.index + 1) * total // self.count)

    def _share(self, tensor: "Tensor", dim: int) -> "Tensor":
        size = tensor.shape[dim] // self.count
        return tensor.narrow(dim, self.index * size, size).clone()

    def _kv_heads(self, tensor: "Tensor", config: ModelConfig) -> "Tensor":
        """Rows of keys or values, by head; a head is on several processes where there are more of these."""
        total = config.num_key_value_heads
        if total >= self.count:
            return self._share(tensor, 0)
        by_head = tensor.unflatten(0, (total, -1))
        return by_head[self.index * total // self.count].clone()


def part_config(config: ModelConfig, count: int) -> ModelConfig:
    """The shape of each of `count` parts. It is no family's: a part is never written to a file.

    Raises:
        ConfigError: the model does not fall into so many parts.
    """
    _check(config, count)
    changed: dict[str, Any] = {
        "num_attention_heads": config.num_attention_heads // count,
        "num_key_value_heads": max(1, config.num_key_value_heads // count),
        "intermediate_size": config.intermediate_size // count,
    }
    if (experts := config.experts) is not None:
        sizes = {name: getattr(experts, name) // count for name in _expert_sizes(config)}
        changed["experts"] = replace(experts, **sizes)
    made = copy(config)
    for name, value in changed.items():
        object.__setattr__(made, name, value)
    return made


def _check(config: ModelConfig, count: int) -> None:
    if config.full_heads is not None:
        raise ConfigError(
            f"--tp {count}: {config.model_type} has layers with heads of their own, which are not divided",
            hint="leave out --tp",
        )
    if config.state_layers or config.lone_mlps or config.attention_gate:
        raise ConfigError(
            f"--tp {count}: {config.model_type} has layers that keep a state, which are not divided",
            hint="leave out --tp",
        )
    sizes = {"num_attention_heads": config.num_attention_heads}
    if config.experts is None or len(config.experts.layers) < config.num_hidden_layers:
        sizes["intermediate_size"] = config.intermediate_size
    sizes |= {f"experts' {name}": size for name, size in _expert_sizes(config).items()}
    for name, size in sizes.items():
        if size % count:
            raise ConfigError(
                f"--tp {count}: the model's {name} is {size}", hint=f"--tp with a divisor of {size}"
            )
    heads = config.num_key_value_heads
    if config.latent is None and heads % count and count % heads:
        raise ConfigError(
            f"--tp {count}: the model's num_key_value_heads is {heads}",
            hint=f"--tp with a divisor of {heads}, or a multiple",
        )
    if config.qk_norm == "projection":
        raise ConfigError(
            f"--tp {count}: {config.model_type}'s norm over all heads at once is not divided",
            hint="leave out --tp",
        )


def _expert_sizes(config: ModelConfig) -> dict[str, int]:
    if config.experts is None:
        return {}
    sizes = {"intermediate_size": config.experts.intermediate_size}
    if shared := config.experts.shared_intermediate_size:
        sizes["shared_intermediate_size"] = shared
    return sizes
