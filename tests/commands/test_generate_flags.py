"""The flags of generate: what each does is tested with the command; here, that none is left over."""

import inspect
from typing import get_type_hints

from llmkit.commands import generate_flags
from llmkit.commands.generate import generate


def test_every_flag_is_one_of_the_command() -> None:
    used = list(get_type_hints(generate, include_extras=True).values())
    names = [name for name in vars(generate_flags) if name[0].isupper() and name not in ("Annotated", "Path")]
    unused = [
        name
        for name in names
        if name not in ("Argument", "Option") and getattr(generate_flags, name) not in used
    ]
    assert unused == [] and len(names) > 15
    assert set(inspect.signature(generate).parameters) >= {"stats", "resume", "prefill"}
