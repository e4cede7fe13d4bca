"""The files beside a model's by which sentence-transformers says what is done with it, step by step.

Source: sentence-transformers 6, base/model.py and base/modules/transformer.py.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from llmkit.errors import ConfigError, DataError
from llmkit.formats.jsonl import MALFORMED
from llmkit.formats.model_folder import CONFIG, read_json_object

MODULES = "modules.json"
PROMPTS, TRANSFORMER = "config_sentence_transformers.json", "sentence_bert_config.json"


@dataclass(frozen=True)
class Step:
    """One step, the model itself being the first."""

    kind: str
    """Its class, without the package."""
    folder: Path

    @property
    def path(self) -> Path:
        """Its settings."""
        return self.folder / CONFIG

    def settings(self) -> dict[str, Any]:
        """What its own config.json says.

        Raises:
            MissingError, DataError: see `read_json_object`.
        """
        return read_json_object(self.path)


def read_steps(folder: Path) -> list[Step]:
    """The steps, in order; none where nothing is said.

    Raises:
        DataError: modules.json is damaged.
    """
    path = folder / MODULES
    if not path.is_file():
        return []
    try:
        told = msgspec.json.decode(path.read_bytes(), type=list[dict[str, Any]])
    except MALFORMED as error:
        hint = "as sentence-transformers writes it"
        raise DataError(f"{path}: not a list of steps ({error})", hint=hint) from None
    return [
        Step(str(one.get("type", "")).rpartition(".")[2], folder / str(one.get("path", ""))) for one in told
    ]


def step_files(folder: Path) -> list[Path]:
    """The files that say what is done with a model, by their place in its folder.

    Raises:
        DataError: modules.json is damaged, or a step is outside the folder or has more than plain files.
    """
    found = {Path(name) for name in (MODULES, PROMPTS, TRANSFORMER) if (folder / name).is_file()}
    whole = folder.resolve()
    for inside in (step.folder.resolve() for step in read_steps(folder)):
        if not inside.is_relative_to(whole):
            raise DataError(f"{folder / MODULES}: {inside} is outside", hint="folders within the model's")
        for path in () if inside == whole else inside.rglob("*"):  # goes into no link to a folder
            if path.is_file():
                found.add(path.relative_to(whole))
            elif path.is_symlink() or not path.is_dir():
                raise DataError(
                    f"{path}: neither a file nor a folder", hint=f"take it out, or out of {MODULES}"
                )
    return sorted(found)


def copy_steps(source: Path, folder: Path) -> None:
    """Put what is said of a model beside another with the same steps.

    Args:
        source: folder of the model.
        folder: of the other.

    Raises:
        DataError: see `step_files`.
    """
    for file in step_files(source):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / file, folder / file)


def refuse_others(folder: Path, steps: list[Step], known: tuple[str, ...]) -> None:
    """Raises ConfigError where there is a step that is not done here."""
    other = next((one.kind for one in steps if one.kind not in known), None)
    if other is not None:
        raise ConfigError(
            f"{folder / MODULES}: the step {other} is not done here",
            hint=f"those that are: {', '.join(known)}",
        )


def read_settings(folder: Path, file: str) -> dict[str, Any]:
    """What PROMPTS says of all steps together, or TRANSFORMER of how the model is given texts; empty where
    there is no such file.

    Raises:
        DataError: the file is damaged.
    """
    path = folder / file
    return read_json_object(path) if path.is_file() else {}


def read_prompts(folder: Path) -> dict[str, str]:
    """What stands before texts, by names; the one that always does is called "" too.

    Raises:
        DataError: a prompt is no text, or the one that always stands there is none of them.
    """
    path, told = folder / PROMPTS, read_settings(folder, PROMPTS)
    prompts, default = told.get("prompts") or {}, told.get("default_prompt_name")
    if not isinstance(prompts, dict) or not all(isinstance(one, str) for one in prompts.values()):
        raise DataError(f"{path}: a prompt that is no text", hint='{"prompts": {"query": "Query: "}}')
    named = {"query": "", "document": "", **prompts}  # these two are always there
    if default is not None and not (isinstance(default, str) and default in named):
        raise DataError(
            f"{path}: default_prompt_name {default!r} is none of prompts", hint=f"one of: {', '.join(named)}"
        )
    return {**prompts, "": "" if default is None else named[default]}


def read_longest(folder: Path) -> int | None:
    """Tokens that the model is given at once; None: as many as it takes.

    Raises:
        DataError: it is no number, or the file is damaged.
    """
    longest = read_settings(folder, TRANSFORMER).get("max_seq_length")
    if longest is None or (type(longest) is int and longest > 0):
        return longest
    raise DataError(
        f"{folder / TRANSFORMER}: max_seq_length {longest!r} is no number of tokens", hint="512, or null"
    )


def within(told: dict[str, Any], *keys: str, path: Path) -> dict[str, Any]:
    """An object inside an object inside …; empty where one is not there.

    Raises:
        DataError: one of them is no object.
    """
    for key in keys:
        told = told.get(key) or {}
        if not isinstance(told, dict):
            raise DataError(
                f"{path}: {key} is no object (found {told!r})", hint="as sentence-transformers writes it"
            )
    return told
