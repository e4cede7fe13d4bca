"""Tokens that stop a model, told in generation_config.json to programs that take a chat template as it is."""

from collections.abc import Mapping, Sequence
from typing import Any


def with_turn_end(
    generation: Mapping[str, Any], stops: Sequence[int], turn_end: int | None
) -> dict[str, Any]:
    """The settings of a model that answers in a chat template, and is stopped where an answer ends in it.

    Args:
        generation: what generation_config.json says.
        stops: tokens that stop the model by its config.json, where `generation` names none.
        turn_end: the token that ends an answer; None: no one token does.
    """
    told = generation.get("eos_token_id", list(stops))
    known = told if isinstance(told, list) else [] if told is None else [told]
    if turn_end is None or turn_end in known:
        return dict(generation)
    return {**generation, "eos_token_id": [*known, turn_end] if known else turn_end}
