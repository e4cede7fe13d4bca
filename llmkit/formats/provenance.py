"""llmkit.json: what made an artefact folder. Nothing in it depends on where, when or how fast it was made."""

import re
from pathlib import Path
from typing import Any

import msgspec

from llmkit.errors import DataError
from llmkit.formats.json_text import json_text
from llmkit.formats.jsonl import MALFORMED
from llmkit.version import __version__

FILE_NAME = "llmkit.json"


class WithPaths(str):
    """A setting in which paths may stand: a line for the shell, or a name where a file may be given too."""

    def shortened(self) -> str:
        """It with the name of a file in place of each absolute path that there is."""
        text = str(self)
        for pattern in (_QUOTED, _BARE):
            text = pattern.sub(_name_of, text)
        return text


_QUOTED = re.compile(r"""(?<=['"])/[^'"]+(?=['"])""")
_BARE = re.compile(r"""(?<![^\s'"=:;|&<>(),])/(?:\\.|[^\s'"=:;|&<>(),])+""")


def _name_of(match: re.Match[str]) -> str:
    is_there = Path(match[0].replace("\\", "")).exists()  # sed's /x/d is no path
    return Path(match[0]).name if is_there else match[0]


class Invocation(msgspec.Struct, frozen=True):
    """A command and the settings that decide its output's bytes (not where it goes, nor how many workers)."""

    command: str
    settings: dict[str, Any] = msgspec.field(default_factory=dict)
    """Every setting as resolved, defaults included, by the name of its flag."""
    words: tuple[str, ...] = ()
    """What was not left to its default, as it would be typed."""

    @property
    def command_line(self) -> str:
        """The command as a person would type it, paths reduced to their names."""
        import shlex  # for a record alone

        return shlex.join(("llmkit", *self.command.split(), *self.words))


def write_provenance(
    folder: Path,
    invocation: Invocation,
    *,
    inputs: dict[str, str] | None = None,
    tokenizer_sha256: str | None = None,
    packages: tuple[str, ...] = (),
) -> None:
    """Write `folder/llmkit.json`.

    Args:
        folder: an artefact folder, usually still under its temporary name.
        invocation: the command that makes it.
        inputs: each input's name and SHA-256.
        tokenizer_sha256: digest of the tokenizer.json that the artefact belongs to.
        packages: distributions whose versions bear on the bytes.
    """
    record = {
        **_called(invocation),
        "inputs": inputs or {},
        "tokenizer_sha256": tokenizer_sha256,
        "versions": {name: _version(name) for name in packages},
    }
    (folder / FILE_NAME).write_bytes(json_text(record))


def read_provenance(folder: Path) -> dict[str, Any] | None:
    """What `write_provenance` wrote, or None where a folder has none.

    Raises:
        DataError: the file is damaged.
    """
    path = folder / FILE_NAME
    if not path.exists():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except MALFORMED as error:
        raise DataError(f"{path}: not a JSON object ({error})", hint=f"python -m json.tool {path}") from None


def is_made_by(record: dict[str, Any], invocation: Invocation) -> bool:
    """Whether what `read_provenance` gave is of the same command line, with whatever inputs."""
    made = msgspec.json.decode(json_text(_called(invocation)), type=dict[str, Any])
    return record | made == record


def portable(value: Any) -> Any:
    """A setting without the place it was made in: paths become their names."""
    if isinstance(value, WithPaths):
        return value.shortened()
    if isinstance(value, Path):
        return value.name or str(value)
    if isinstance(value, list | tuple):
        return [portable(item) for item in value]
    return value


def _called(invocation: Invocation) -> dict[str, Any]:
    return {
        "schema": "llmkit.provenance/1",
        "llmkit": __version__,
        "command_line": invocation.command_line,
        "settings": {name: portable(value) for name, value in invocation.settings.items()},
        "seed": invocation.settings.get("seed"),
    }


def _version(package: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version  # 15 ms that --help need not wait for

    try:
        return version(package).partition("+")[0]
    except PackageNotFoundError:
        return None
