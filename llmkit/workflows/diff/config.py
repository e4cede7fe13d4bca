"""Two configs key by key: those of models, and adapter_config.json."""

from pathlib import Path
from typing import Any

import msgspec

from llmkit.errors import MissingError
from llmkit.formats.gguf.magic import is_gguf
from llmkit.formats.model_folder import CONFIG, GENERATION_CONFIG, read_json_object
from llmkit.formats.peft import ADAPTER_CONFIG
from llmkit.model.config import ModelConfig
from llmkit.model.source import config_source, read_model_config
from llmkit.workflows.diff.forms import one_form, other_form
from llmkit.workflows.diff.keys import KeyDiff, Side, diff_keys, split_remarks

_WHO_WROTE_IT = {
    "transformers_version",
    "_name_or_path",
    "_from_model_config",
    "peft_version",
    "auto_mapping",
}
_SETS = ("target_modules", "modules_to_save", "exclude_modules")
"""Lists that PEFT writes from Python sets: in any order."""


_NOT_IN_GGUF = {"dtype", "initializer_range", "bos_token_id", "eos_token_id", "pad_token_id"}
"""What such a file does not say of the model: its types differ from tensor to tensor, its ids are the
tokenizer's."""


class OneSided(msgspec.Struct, frozen=True, kw_only=True):
    """A file that one artefact has and the other has not."""

    file: str
    only: Side


class MovedKeys(msgspec.Struct, frozen=True, kw_only=True):
    """Keys by which the two files say the same: the forms of transformers 4 and 5."""

    a: list[str]
    b: list[str]


class ConfigDiff(msgspec.Struct, frozen=True, kw_only=True):
    """How the configs of two artefacts differ."""

    same: bool
    files: list[str]
    """Compared; in both."""
    missing: list[OneSided]
    keys: list[KeyDiff]
    moved: MovedKeys | None
    remarks: list[KeyDiff]
    """Differences that do not count: which version wrote the file, from where."""


def diff_model_configs(a: Path, b: Path, *, any_dtype: bool = False) -> ConfigDiff:
    """The configs of two model folders, or two config.json files.

    Args:
        a, b: a folder, or the file.
        any_dtype: another dtype is only a remark.

    Raises:
        MissingError: neither has a config.json.
        DataError: one is damaged.
    """
    config_a, config_b = _read(a, CONFIG), _read(b, CONFIG)
    remarks = _WHO_WROTE_IT | ({"dtype", "text_config.dtype"} if any_dtype else set())
    files = [(CONFIG, config_a, config_b)]
    if a.is_dir() and b.is_dir():
        files.append((GENERATION_CONFIG, _read(a, GENERATION_CONFIG), _read(b, GENERATION_CONFIG)))
    if config_a is None and config_b is None:
        raise MissingError(
            f"{a / CONFIG}: no such file, and none in {b}", hint="--only tensors leaves it out"
        )
    moved = None
    if config_a is not None and config_b is not None:
        moved = _moved(config_a, config_b)
        files[0] = (CONFIG, one_form(config_a), one_form(config_b))
    return _report(files, remarks, moved)


def diff_read_configs(a: Path, b: Path) -> ConfigDiff:
    """What is read of the configs of two models, of which one is a GGUF file: that has other keys, and fewer.

    Args:
        a, b: a folder, a GGUF file, or a config.json.

    Raises:
        MissingError, ConfigError, DataError: one is not there, not supported, or damaged.
    """

    def read(path: Path) -> dict[str, Any]:
        is_model = path.is_dir() or is_gguf(path)
        content = read_model_config(path) if is_model else read_json_object(path)
        return one_form(ModelConfig.from_hf(content, source=config_source(path)).to_hf())

    return _report([(CONFIG, read(a), read(b))], _WHO_WROTE_IT | _NOT_IN_GGUF, None)


def diff_adapter_configs(a: Path, b: Path) -> ConfigDiff:
    """The adapter_config.json of two adapter folders.

    Raises:
        MissingError: one is not there.
        DataError: one is damaged.
    """
    configs = [_sorted_sets(read_json_object(folder / ADAPTER_CONFIG)) for folder in (a, b)]
    return _report([(ADAPTER_CONFIG, configs[0], configs[1])], _WHO_WROTE_IT, None)


def _report(
    files: list[tuple[str, dict[str, Any] | None, dict[str, Any] | None]],
    remarks: set[str],
    moved: MovedKeys | None,
) -> ConfigDiff:
    missing = [
        OneSided(file=file, only="b" if a is None else "a")
        for file, a, b in files
        if (a is None) != (b is None)
    ]
    both = [(file, a, b) for file, a, b in files if a is not None and b is not None]
    found = [one for file, a, b in both for one in diff_keys(file, a, b)]
    counted, uncounted = split_remarks(found, remarks)
    return ConfigDiff(
        same=not missing and not counted,
        files=[file for file, _, _ in both],
        missing=missing,
        keys=counted,
        moved=moved,
        remarks=uncounted,
    )


def _read(path: Path, name: str) -> dict[str, Any] | None:
    """A config by its folder or its own path; None where the folder has none."""
    if not path.is_dir():
        return read_json_object(path)
    return read_json_object(path / name) if (path / name).is_file() else None


def _moved(a: dict[str, Any], b: dict[str, Any]) -> MovedKeys | None:
    moved = MovedKeys(a=other_form(a, b), b=other_form(b, a))
    return moved if moved.a or moved.b else None


def _sorted_sets(config: dict[str, Any]) -> dict[str, Any]:
    lists = {key: sorted(config[key], key=str) for key in _SETS if isinstance(config.get(key), list)}
    return config | lists
