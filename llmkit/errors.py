"""Every error a user can act on: where and what, what was found, and the command that fixes it.

    LlmkitError              status
      AlreadyDone            0    what is asked for is there, and nothing is left to do
      GateFailed             1    ran well, and the answer is no
      UsageError             2    wrong usage or configuration
        ConfigError          2
      DataError              3    bad input data, or artefacts that do not belong together
      MissingError           4    a file, model or optional package is not there
      ResourceError          5    memory, disk, port
      RemoteError            6    a remote refused or is unreachable
      StoppedResumable       75   a checkpoint is saved, run the same line again

Anything else that escapes is a bug (status 70) and keeps its traceback.
"""

import errno
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""The system's numbers for no room: no space, a quota, a file beyond its limit."""

_CONTROLS = {number: f"\\x{number:02x}" for number in (*range(0x20), *range(0x7F, 0xA0))}
_BYTES = {0xDC00 + byte: f"\\x{byte:02x}" for byte in range(0x80, 0x100)}  # as Python holds them in names
_ESCAPES = {**_CONTROLS, **_BYTES, ord("\t"): "\\t", ord("\n"): "\\n", ord("\r"): "\\r"}


def room_hint(number: int | None) -> str:
    """What makes room, where the system gave one of `DISK_FULL`: no free space makes a limit larger."""
    return "raise the limit on a file's size (ulimit -f)" if number == errno.EFBIG else "free some space"


def as_word(path: object) -> str:
    """A path as a shell takes it, for the commands that hints give: quoted where it has a space."""
    import shlex  # for an error alone

    return shlex.quote(str(path))


class LlmkitError(Exception):
    """A problem in the user's terms, and a hint: the command or flag that fixes it."""

    status = 1

    def __init__(self, problem: str, *, hint: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.hint = hint


class AlreadyDone(LlmkitError):  # noqa: N818 (an end, not a fault)
    """What this command was to do is done: the same line run again, a shard that comes when all are done."""

    status = 0


class GateFailed(LlmkitError):  # noqa: N818 (an answer, not a fault)
    """The command ran well and the answer is no: over budget, does not fit, files differ, nothing found."""

    status = 1


class UsageError(LlmkitError):
    """The command line does not make sense as given."""

    status = 2


class ConfigError(UsageError):
    """A configuration (ours or a foreign config.json) has a wrong, unknown or unsupported value."""


class DataError(LlmkitError):
    """Input data is malformed, or two artefacts do not belong together (digest, dtype, checksum)."""

    status = 3


class MissingError(LlmkitError):
    """A file, a model or an optional package is missing."""

    status = 4


class ResourceError(LlmkitError):
    """Not enough memory, disk or another resource."""

    status = 5


class RemoteError(LlmkitError):
    """A remote refused or cannot be reached."""

    status = 6


class StoppedResumable(LlmkitError):  # noqa: N818 (a pause, not a fault)
    """Stopped on request with a checkpoint saved: the same command line continues."""

    status = 75


@contextmanager
def at_place(place: str, kind: type[LlmkitError] = DataError) -> Iterator[None]:
    """Put a place, such as the `file:line` of a record, before what is wrong there.

    Args:
        place: where the work inside is about.
        kind: which errors are about that place; they come out as the same errors.
    """
    try:
        yield
    except kind as error:
        error.problem = f"{place}: {error.problem}"
        error.args = (error.problem,)
        raise


def told(error: LlmkitError) -> dict[str, str]:
    """An error as another process is told of it."""
    return {"problem": error.problem, "hint": error.hint, "kind": type(error).__name__}


def as_told(kind: str, problem: str, hint: str) -> LlmkitError:
    """The error of another process, by the name of its class."""
    found = globals().get(kind)
    is_one = isinstance(found, type) and issubclass(found, LlmkitError)
    made: type[LlmkitError] = found if isinstance(found, type) and is_one else ResourceError
    return made(problem, hint=hint)


def visible(text: str) -> str:
    """Control characters as \\xNN: a file's own words cannot steer the terminal."""
    return text.translate(_CONTROLS)


def on_one_line(text: str) -> str:
    """A text that may have a file's name or a piece of data in it, without what a terminal acts upon.

    Control characters stand as escapes, and so do the bytes of a name that is not UTF-8.
    """
    return text.translate(_ESCAPES)


def nearest(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The known name that `word` was probably meant to be; None where none is alike by `cutoff`, of 1."""
    from difflib import get_close_matches  # only when something already went wrong

    matches = get_close_matches(word[:100], list(known), n=1, cutoff=cutoff)  # of megabytes it takes seconds
    return matches[0] if matches else None


def some_of(names: Sequence[str], most: int = 3) -> str:
    """The first of some names, and how many more there are: for messages."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
