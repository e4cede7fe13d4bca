"""Layers of Mamba-2 in GGUF files, and layers of one branch alone: their keys, both ways. No torch.

A layer keeps a state that has neither key/value heads nor, where layers are one branch, an MLP.
Source: ggml-org/llama.cpp `conversion/granite.py`, `conversion/nemotron.py`, `src/models/nemotron-h.cpp`.
"""

from dataclasses import replace
from typing import Any

from llmkit.formats.gguf.values import MetadataValue, Typed
from llmkit.model.config_states import Mamba2Config, MultipliersConfig
from llmkit.model.gguf.heads import key_heads
from llmkit.model.gguf.keys import GgufKeys
from llmkit.model.gguf.ssm import StateKeys, read_ssm, ssm_metadata

ONE_BRANCH = ("nemotron_h", "nemotron_h_moe")
"""The architectures each of whose layers is Mamba-2, attention or an MLP, and nothing beside it; all MLPs of
the second are experts."""
MAMBA_ARCHITECTURES = ("granitehybrid", *ONE_BRANCH)
SIDE_BY_SIDE = "falcon-h1"
"""The architecture all of whose layers have Mamba-2 beside attention."""
_FEED = "feed_forward_length"
_OTHER_EPS = "attention.layer_norm_epsilon"

Metadata = dict[str, MetadataValue]


def mamba_metadata(name: str, mamba: Mamba2Config) -> Metadata:
    """The keys of these layers; which they are, the numbers of key/value heads say.

    Args:
        name: of the architecture.
        mamba: what they are.
    """
    sizes = mamba.kernel, mamba.state_size, mamba.num_groups, mamba.num_heads, mamba.head_dim
    return ssm_metadata(name, StateKeys(*sizes))


def read_mamba(keys: GgufKeys, heads: int, layers: int, lone_mlps: tuple[int, ...]) -> dict[str, Any]:
    """Fields of ModelConfig of a model with such layers.

    Args:
        keys: of the file.
        heads: of queries, in layers of attention.
        layers: of the model.
        lone_mlps: layers that are an MLP alone.

    Raises:
        ConfigError: a key is missing or wrong.
    """
    shared, without = key_heads(keys, heads, layers)
    states = tuple(layer for layer in without if layer not in lone_mlps)
    mamba = _layers(keys, states)
    return {"num_key_value_heads": shared, "mamba": mamba if states else None}


def read_side_by_side(keys: GgufKeys, layers: int, *, norm: bool) -> dict[str, Any]:
    """Fields of ModelConfig of a model all of whose layers have both; its multipliers are in its weights.

    Args:
        keys: of the file.
        layers: of the model.
        norm: whether there is one of what Mamba-2 reads.

    Raises:
        ConfigError: a key is missing or wrong.
    """
    mamba = replace(_layers(keys, tuple(range(layers))), beside_attention=True, norm=norm)
    return {"mamba": mamba, "multipliers": MultipliersConfig()}


def _layers(keys: GgufKeys, layers: tuple[int, ...]) -> Mamba2Config:
    told = read_ssm(keys)
    return Mamba2Config(
        layers=layers,
        num_heads=told.heads,
        head_dim=told.head_dim,
        num_groups=told.groups,
        state_size=told.key_dim,
        kernel=told.kernel,
    )


def other_eps(keys: GgufKeys) -> float | None:
    """What norms have in files without layer_norm_rms_epsilon; None: that key must be there.

    Raises:
        ConfigError: it is no number.
    """
    if keys.architecture not in ONE_BRANCH:
        return None
    return keys.number(_OTHER_EPS, 0.0) or None


def one_branch_metadata(
    name: str, width: int, layers: int, lone_mlps: tuple[int, ...], eps: float
) -> Metadata:
    """The keys of a model whose layers are one branch alone.

    Args:
        name: of the architecture.
        width: of an MLP, or of one expert.
        layers: of the model.
        lone_mlps: those that are an MLP; the others have a width of 0.
        eps: of its norms. llama.cpp loads no file without this key, and takes layer_norm_rms_epsilon.
    """
    widths = [width if layer in lone_mlps else 0 for layer in range(layers)]
    return {
        f"{name}.{_FEED}": Typed("u32", widths),
        f"{name}.{_OTHER_EPS}": Typed("f32", eps),
    }


def read_lone_mlps(keys: GgufKeys, layers: int) -> dict[str, Any]:
    """Fields of ModelConfig: which layers are an MLP alone, and how wide they are.

    Raises:
        ConfigError: layers have different widths, or none is an MLP.
    """
    listed = keys.listed(_FEED, layers)
    widths = listed if isinstance(listed, list) else [listed or 0] * layers
    found = {one for one in widths if one}
    if len(found) != 1:
        keys.wrong(_FEED, "0 or one other number in each layer")
    mlps = tuple(layer for layer, one in enumerate(widths) if one)
    return {"intermediate_size": found.pop(), "lone_mlps": mlps}
