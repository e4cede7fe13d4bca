"""Flags that belong together, written once: a command takes a dataclass, and its flags are the fields."""

import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import wraps
from typing import Any


def with_flag_groups(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose flags are also those of the dataclasses that it takes, each in its group's place.

    The fields of such a dataclass are annotated as parameters of commands are, and have defaults.
    Behind the first such dataclass parameters are by keyword, as typer gives them: a `*` stands before it.
    """
    taken = inspect.signature(command)
    groups: dict[str, Any] = {
        name: one.annotation for name, one in taken.parameters.items() if is_dataclass(one.annotation)
    }

    @wraps(command)
    def grouped(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{one.name: given.pop(one.name) for one in fields(group)})
        command(**given)

    flags = [
        one
        for name, parameter in taken.parameters.items()
        for one in (_flags_of(groups[name]) if name in groups else [parameter])
    ]
    grouped.__signature__ = taken.replace(parameters=flags)  # type: ignore[attr-defined]
    return grouped


def _flags_of(group: Any) -> list[inspect.Parameter]:
    """A parameter for each field, as typer reads them."""
    return [
        inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=one.default, annotation=one.type)
        for one in fields(group)
    ]
