"""The flags of serve: what each does is tested with the command; here, that none is left over."""

from typing import get_type_hints

from llmkit.commands import serve_flags
from llmkit.commands.serve import serve


def test_every_flag_is_one_of_the_command() -> None:
    used = list(get_type_hints(serve, include_extras=True).values())
    names = [name for name in vars(serve_flags) if name[0].isupper()]
    unused = [
        name
        for name in names
        if name not in ("Annotated", "Option", "Path") and getattr(serve_flags, name) not in used
    ]
    assert unused == [] and len(names) > 20
