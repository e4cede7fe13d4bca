"""Adapters by their numbers, as llama.cpp asks for them: `lora` of a request, and `/lora-adapters`.

    [{"id", "scale"}, ...]

Source: llama.cpp, tools/server/README.md, "GET /lora-adapters".
"""

import math
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from llmkit.server.errors import refused
from llmkit.server.wire.json_schema import Schema, integer, number

MOST_ADAPTERS = 16
"""That one request is answered with."""
MOST_SCALE = 1000.0


LORA_SCALE: dict[str, Schema] = {
    "id": integer(minimum=0),
    "scale": number(minimum=-MOST_SCALE, maximum=MOST_SCALE),
}
"""What is refused of a scale by hand, as a schema."""


class LoraScale(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """An adapter, and what its change is multiplied with."""

    id: int
    """Its place in the list."""
    scale: float
    name: str | None = None
    path: str | None = None
    task_name: str | None = None
    prompt_prefix: str | None = None
    """These four stand in the list, which may be sent back as it is; nobody reads them."""


class LoraAdapter(msgspec.Struct, kw_only=True):
    """An adapter that there is. No file of the server is told."""

    id: int
    name: str
    """As it stands behind a model's name and a colon."""
    path: str
    """The same: by it llama.cpp's clients know an adapter."""
    scale: float
    """Where a request names none; 0: it changes nothing there."""
    task_name: str = ""
    prompt_prefix: str = ""


class ScalesSet(msgspec.Struct):
    """The answer to new scales."""

    success: bool = True


def name_with(model: str, adapters: Iterable[str]) -> str:
    """What an answer is counted under: `MODEL`, `MODEL:ADAPTER`, or of several `MODEL:ADAPTER+ADAPTER`.

    Scales are left out: there are any number of them, and figures by name would have no end.
    """
    joined = "+".join(adapters)
    return f"{model}:{joined}" if joined else model


def lora_list(names: Sequence[str], scales: Mapping[str, float], seen: set[str]) -> list[LoraAdapter]:
    """What there is.

    Args:
        names: of all, in their order.
        scales: of those that change the base.
        seen: those that the caller may use.
    """
    return [
        LoraAdapter(id=place, name=name, path=name, scale=scales.get(name, 0.0))
        for place, name in enumerate(names)
        if name in seen
    ]


def check_scales(told: Sequence[LoraScale], param: str = "lora") -> None:
    """Refuse what no model could follow.

    Raises:
        ApiError: 400, naming the parameter.
    """
    if len(told) > MOST_ADAPTERS:
        raise refused(param, f"at most {MOST_ADAPTERS} adapters (found {len(told)})")
    if len({one.id for one in told}) < len(told):
        raise refused(param, "one adapter twice")
    for one in told:
        if not math.isfinite(one.scale) or abs(one.scale) > MOST_SCALE:
            raise refused(param, f"scales from -{MOST_SCALE:g} to {MOST_SCALE:g} (found {one.scale:g})")


def named_scales(names: Sequence[str], told: Sequence[LoraScale], param: str = "lora") -> dict[str, float]:
    """Scales by name, in the order of the list; those of 0 change nothing and are left out.

    Args:
        names: of all adapters, in their order.
        told: after `check_scales`.
        param: what the list is called.

    Raises:
        ApiError: 400: there is none of a number.
    """
    for one in told:
        if not 0 <= one.id < len(names):
            there = f"from 0 to {len(names) - 1}" if names else "none at all"
            raise refused(param, f"there is no adapter {one.id} here (there are: {there})")
    return {names[one.id]: one.scale for one in sorted(told, key=lambda one: one.id) if one.scale}
