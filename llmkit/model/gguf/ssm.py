"""Keys of a GGUF file of layers that keep matrices: Mamba-2's and the gated delta rule's. No torch."""

from typing import NamedTuple

from llmkit.formats.gguf.values import MetadataValue, Typed
from llmkit.model.gguf.keys import GgufKeys


class StateKeys(NamedTuple):
    """What these keys say of a layer."""

    kernel: int
    """Tokens of its convolution."""
    key_dim: int
    groups: int
    """Of heads that share a key."""
    heads: int
    head_dim: int


def ssm_metadata(name: str, told: StateKeys) -> dict[str, MetadataValue]:
    """The keys of an architecture of this name."""
    return {
        f"{name}.ssm.conv_kernel": Typed("u32", told.kernel),
        f"{name}.ssm.state_size": Typed("u32", told.key_dim),
        f"{name}.ssm.group_count": Typed("u32", told.groups),
        f"{name}.ssm.time_step_rank": Typed("u32", told.heads),
        f"{name}.ssm.inner_size": Typed("u32", told.heads * told.head_dim),
    }


def read_ssm(keys: GgufKeys) -> StateKeys:
    """What a file says.

    Raises:
        ConfigError: a key is missing or wrong.
    """
    heads, inner = keys.whole("ssm.time_step_rank"), keys.whole("ssm.inner_size")
    if not heads or inner % heads:
        keys.wrong("ssm.inner_size", f"a multiple of ssm.time_step_rank, {heads}")
    return StateKeys(
        kernel=keys.whole("ssm.conv_kernel"),
        key_dim=keys.whole("ssm.state_size"),
        groups=keys.whole("ssm.group_count"),
        heads=heads,
        head_dim=inner // heads,
    )
