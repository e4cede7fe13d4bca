"""Settings under the names of their flags: as TOML for --config, as words for the record in llmkit.json."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from llmkit.errors import ConfigError, DataError, MissingError
from llmkit.workflows.peer_names import meant


def setting_name(param: Any) -> str:
    """The key of a parameter: `--seq-len` is seq_len, `--max` is max, an argument keeps its own name."""
    if param.param_type_name == "argument":
        return str(param.name)
    return flag_name(param).lstrip("-").replace("-", "_")


def flag_name(param: Any) -> str:
    """The name of an option that counts: of its long ones the first; others are those of peers."""
    return str(next((name for name in param.opts if name.startswith("--")), param.opts[0]))


def read_settings(path: Path, params: Iterable[Any], command: str) -> dict[str, Any]:
    """The values of a TOML file by parameter, to stand in for defaults.

    Args:
        path: flat `key = value` lines; keys as `setting_name` has them, or with dashes.
        params: the command's parameters.
        command: its name, for messages.

    Raises:
        MissingError: no such file.
        DataError: not TOML.
        ConfigError: a key that the command does not know; the nearest known one is named.
    """
    import tomllib  # what a command without --config need not wait for

    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingError(f"{path}: no such file", hint="--print-config > FILE.toml writes one") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not TOML: {error}", hint="key = value, strings in quotes") from None
    known = {setting_name(param): param.name for param in params}
    values = {}
    for key, value in settings.items():
        name = key.replace("-", "_")
        if name not in known:
            guess = meant(name, known)
            hint = f"did you mean {guess}?" if guess else f"known keys: {', '.join(sorted(known))}"
            raise ConfigError(f"{path}: unknown key {key!r} for {command}", hint=hint)
        values[known[name]] = value
    return values


def to_toml(settings: Mapping[str, Any]) -> str:
    """Flat settings as TOML that `read_settings` reads back; unset ones are left out."""
    return "".join(
        f"{name} = {_toml_value(value)}\n" for name, value in settings.items() if value not in (None, [], ())
    )


def words_of(param: Any, value: Any) -> list[str]:
    """What a person would type to give a parameter this value; nothing for its default and for no value."""
    if value in (None, [], (), param.default):
        return []
    values = list(value) if isinstance(value, list | tuple) else [value]
    if param.param_type_name == "argument":
        return [str(one) for one in values]
    flag = flag_name(param)
    if isinstance(value, bool):
        off = max(param.secondary_opts, key=len, default=None)
        return [flag] if value else [off] if off else []
    return [word for one in values for word in (flag, str(one))]


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml_value(item) for item in value)}]"
    import json

    return json.dumps(str(value), ensure_ascii=False)  # a JSON string is a TOML string
