"""The file of keys: who may ask, how much, and of what. It holds digests, so reading it gives nobody a key.

[keys.alice]
sha256 = "9f86d081…"           # llmkit serve --new-key alice prints a key and this entry
requests_per_minute = 60       # those that only count tokens too, and those whose prompt is refused
tokens_per_minute = 20_000
concurrent = 4                 # requests at once, from before their prompts are encoded
tokens_per_day = 1_000_000     # a request counts as all that it may come to until it is over
tokens_per_month = 20_000_000
models = ["small", "small:poet"]
priority = 0                   # the most urgent that it may ask for; lower goes first
admin = false                  # may also use the admin listener

Or, as llama.cpp's --api-key-file has it, the keys themselves, a line each, without limits. The one of line 2
is called key-2.
"""

import hashlib
import hmac
import re
import secrets
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from llmkit.errors import ConfigError, DataError, MissingError, nearest
from llmkit.server.gate import Caller

PREFIX = "lk-"
_DIGEST = 64
_BARE = re.compile(r"[^\s\[\]'\"]{8,}")
_FIXED = "llmkit serve --new-key NAME prints a key and its entry"


class KeyRules(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """What a key may do; None: no limit."""

    sha256: str
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    concurrent: int | None = None
    tokens_per_day: int | None = None
    tokens_per_month: int | None = None
    models: tuple[str, ...] | None = None
    priority: int = 0
    admin: bool = False


@dataclass(frozen=True)
class Keys:
    """All keys of a server, by name."""

    rules: dict[str, KeyRules]

    def find(self, key: str | None) -> str | None:
        """The name of the key, or None. Every entry is compared, in a time that tells nothing."""
        digest = digest_of(key or "")
        found = None
        for name, rules in self.rules.items():
            if hmac.compare_digest(digest, rules.sha256) and key:
                found = name
        return found

    def caller(self, name: str) -> Caller:
        """Whom a name stands for."""
        rules = self.rules[name]
        models = None if rules.models is None else frozenset(rules.models)
        return Caller(name, name, models, rules.priority, rules.admin)


def digest_of(key: str) -> str:
    """What the file has of a key. Keys are 256 random bits, which need no slow digest."""
    return hashlib.sha256(key.encode()).hexdigest()


def new_key() -> str:
    """A key that nobody has."""
    return PREFIX + secrets.token_urlsafe(32)


def entry_of(name: str, key: str) -> str:
    """The lines of the file for a key."""
    return f'[keys.{name}]\nsha256 = "{digest_of(key)}"\n'


def read_keys(path: Path) -> Keys:
    """Read a file of keys.

    Raises:
        MissingError: there is none.
        DataError: it is neither TOML nor keys alone.
        ConfigError: an entry says something that is not known, or a value that cannot be.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if (bare := _bare_keys(text)) is not None:
            return Keys({f"key-{number}": KeyRules(sha256=digest_of(key)) for number, key in bare})
        content = tomllib.loads(text)
    except FileNotFoundError:
        raise MissingError(f"{path}: no such file", hint=_FIXED) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: neither TOML ({error}) nor keys of 8 letters and more, a line each", hint=_FIXED
        ) from None
    entries = content.get("keys")
    if set(content) - {"keys"} or not isinstance(entries, dict) or not entries:
        found = ", ".join(content) or "nothing"
        raise ConfigError(f"{path}: no table [keys.NAME] (found {found})", hint=_FIXED)
    return Keys({name: _rules(entry, f"{path}: keys.{name}") for name, entry in entries.items()})


def key_lines(text: str) -> list[tuple[int, str]]:
    """What stands in a file of bare keys, by its line from 1; lines that begin with # are comments."""
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    return [(number, line) for number, line in lines if line and not line.startswith("#")]


def _bare_keys(text: str) -> list[tuple[int, str]] | None:
    """Keys by their lines, of a file that has nothing else; None of another: TOML has brackets or spaces."""
    keys = key_lines(text)
    return keys if keys and all(_BARE.fullmatch(key) for _, key in keys) else None


def _rules(entry: Any, where: str) -> KeyRules:
    if isinstance(entry, dict) and "key" in entry:
        raise ConfigError(f"{where}: the key itself, where only its sha256 belongs", hint=_FIXED)
    try:
        rules = msgspec.convert(entry, KeyRules)
    except msgspec.ValidationError as error:
        known = [field.name for field in msgspec.structs.fields(KeyRules)]
        wrong = str(error).partition("`")[2].partition("`")[0]
        meant = nearest(wrong, known)
        hint = f"did you mean {meant}?" if meant and "unknown" in str(error) else f"known: {', '.join(known)}"
        raise ConfigError(f"{where}: {error}", hint=hint) from None
    if len(rules.sha256) != _DIGEST or set(rules.sha256) - set("0123456789abcdef"):
        raise ConfigError(f"{where}: sha256 is {_DIGEST} hexadecimal digits", hint=_FIXED)
    for name in (
        "requests_per_minute",
        "tokens_per_minute",
        "concurrent",
        "tokens_per_day",
        "tokens_per_month",
    ):
        value = getattr(rules, name)
        if value is not None and not value > 0:
            raise ConfigError(
                f"{where}: {name} must be above 0 (found {value})", hint="leave it out for no limit"
            )
    return rules
