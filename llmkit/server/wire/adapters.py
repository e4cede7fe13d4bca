"""What an admin sends to load and unload adapters, in vLLM's words, and what is answered.

    {"lora_name", "lora_path", "load_inplace"?, "strength"?, "base_model_name"?}
    {"lora_name", "wait_seconds"?, "base_model_name"?}

Source: vLLM 0.33's entrypoints, `LoadLoRAAdapterRequest` and `UnloadLoRAAdapterRequest`.
"""

import math
import re
from typing import Any

import msgspec

from llmkit.server.adapters import AdapterSpec
from llmkit.server.errors import refused

NAME_PATTERN = r"^\w[\w.-]{0,63}$"
"""Of an adapter's name."""
MOST_WAIT_SECONDS = 3600.0


class LoadAdapter(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Load one."""

    lora_name: str
    lora_path: str
    load_inplace: bool = False
    """Whether it takes the place of one of this name."""
    strength: float = 1.0
    """What its scale is multiplied with."""
    base_model_name: str | None = None
    """The model that it is for; None: the only one."""


class UnloadAdapter(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Unload one."""

    lora_name: str
    wait_seconds: float = 30.0
    """That the answer waits for requests that have it."""
    base_model_name: str | None = None


def read_load(body: LoadAdapter) -> AdapterSpec:
    """What is to be loaded.

    Raises:
        ApiError: 400: a name that no request could write, or a strength that is no number.
    """
    check_adapter_name(body.lora_name)
    if not math.isfinite(body.strength):
        raise refused("strength", "a number")
    if not body.lora_path or "\0" in body.lora_path:
        raise refused("lora_path", "the folder of an adapter")
    return AdapterSpec(body.lora_name, body.lora_path, body.strength)


def read_wait(body: UnloadAdapter) -> float:
    """How long requests are waited for.

    Raises:
        ApiError: 400.
    """
    if not 0 <= body.wait_seconds <= MOST_WAIT_SECONDS:
        raise refused("wait_seconds", f"from 0 to {MOST_WAIT_SECONDS:g} (found {body.wait_seconds})")
    return body.wait_seconds


def check_adapter_name(name: str) -> None:
    """Refuse what could not stand behind a model's name and a colon, or means something else.

    Raises:
        ApiError: 400.
    """
    if not re.fullmatch(NAME_PATTERN, name) or name == "off":  # off is the base alone, where a name is typed
        raise refused(
            "lora_name", f"letters, digits, '_', '.' and '-', at most 64, and not 'off' (found {name[:80]!r})"
        )


def loaded_object(model: str, spec: AdapterSpec, nbytes: int) -> dict[str, Any]:
    """An adapter that is loaded.

    Args:
        model: that it is for.
        spec: what was loaded.
        nbytes: memory that it takes beside the base, in each process.
    """
    return {
        "object": "adapter",
        "id": f"{model}:{spec.name}",
        "lora_name": spec.name,
        "lora_path": spec.path,
        "strength": spec.strength,
        "bytes": nbytes,
    }
