"""Small pieces that a family's config.json is read and written with: each knows some keys, both ways.

Reading gives fields of ModelConfig, writing gives keys. A family is a list of parts (`table.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from llmkit.model.keys import Keys

Fields = Mapping[str, Any]
"""Fields of ModelConfig, by name."""


class Part(Protocol):
    """Some keys of config.json."""

    def read(self, keys: Keys, found: Fields) -> dict[str, Any]:
        """Fields out of keys; `found` are those of the parts before."""

    def write(self, fields: Fields) -> dict[str, Any]:
        """Keys out of fields."""


@dataclass(frozen=True)
class Whole:
    """A whole number from 1, under the first name or, in other files, one of the rest."""

    field: str
    names: tuple[str, ...]
    default: int | None = None
    """None: it must be there."""

    def read(self, keys: Keys, found: Fields) -> dict[str, Any]:
        """Fields out of keys."""
        return {self.field: keys.whole(*self.names, default=self.default)}

    def write(self, fields: Fields) -> dict[str, Any]:
        """Keys out of fields."""
        return {self.names[0]: fields[self.field]}


@dataclass(frozen=True)
class Number:
    """A number; null is the default, or none."""

    field: str
    name: str
    default: float | None
    null_is_none: bool = False
    """Whether null means that there is none."""

    def read(self, keys: Keys, found: Fields) -> dict[str, Any]:
        """Fields out of keys."""
        if self.null_is_none and self.name in keys.config:
            return {self.field: keys.number(self.name, default=None)}
        return {self.field: keys.number(self.name, default=self.default)}

    def write(self, fields: Fields) -> dict[str, Any]:
        """Keys out of fields."""
        return {self.name: fields[self.field]}


@dataclass(frozen=True)
class Flag:
    """A switch that sets one or more fields."""

    fields: tuple[str, ...]
    name: str
    default: bool = False

    def read(self, keys: Keys, found: Fields) -> dict[str, Any]:
        """Fields out of keys."""
        value = keys.flag(self.name, self.default)
        return dict.fromkeys(self.fields, value)

    def write(self, fields: Fields) -> dict[str, Any]:
        """Keys out of fields."""
        return {self.name: fields[self.fields[0]]}


@dataclass(frozen=True)
class Choice:
    """A switch that picks one of two values."""

    field: str
    name: str
    off: Any
    on: Any
    default: bool = False

    def read(self, keys: Keys, found: Fields) -> dict[str, Any]:
        """Fields out of keys."""
        return {self.field: self.on if keys.flag(self.name, self.default) else self.off}

    def write(self, fields: Fields) -> dict[str, Any]:
        """Keys out of fields."""
        return {self.name: fields[self.field] == self.on}


@dataclass(frozen=True)
class Word:
    """A string, under the first name or, in other files, one of the rest."""

    field: str
    names: tuple[str, ...]
    default: str
    meanings: Mapping[str, str] | None = None
    """Of words that the class takes for others."""

    def read(self, keys: Keys, found: Fields) -> dict[str, Any]:
        """Fields out of keys."""
        word = keys.word(*self.names, default=self.default)
        return {self.field: (self.meanings or {}).get(word, word)}

    def write(self, fields: Fields) -> dict[str, Any]:
        """Keys out of fields."""
        return {self.names[0]: fields[self.field]}


@dataclass(frozen=True)
class Fixed:
    """What every model of the family has, and no key says."""

    fields: Fields

    def read(self, keys: Keys, found: Fields) -> dict[str, Any]:
        """Fields out of keys."""
        return dict(self.fields)

    def write(self, fields: Fields) -> dict[str, Any]:
        """Keys out of fields."""
        return {}


@dataclass(frozen=True)
class Constant:
    """Keys that may have one meaning here: written so, and refused where a file has another."""

    keys: Mapping[str, Any]

    def read(self, keys: Keys, found: Fields) -> dict[str, Any]:
        """Fields out of keys."""
        for name, value in self.keys.items():
            keys.known(name)
            given = keys.config.get(name)
            if given is not None and given != value:
                keys.wrong(name, f"{str(value).lower()}, which is all that is supported")
        return {}

    def write(self, fields: Fields) -> dict[str, Any]:
        """Keys out of fields."""
        return dict(self.keys)


@dataclass(frozen=True)
class Training:
    """Keys that only training by other programs reads; written with the value that does nothing."""

    keys: Mapping[str, Any] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    """Known and not written."""

    def read(self, keys: Keys, found: Fields) -> dict[str, Any]:
        """Fields out of keys."""
        keys.known(*self.keys, *self.ignored)
        return {}

    def write(self, fields: Fields) -> dict[str, Any]:
        """Keys out of fields."""
        return dict(self.keys)


@dataclass(frozen=True)
class SpecialIds:
    """The ids that begin, end and fill up a text: what the class takes where the keys are absent."""

    bos: int | None = None
    eos: int | tuple[int, ...] | None = None
    pad: int | None = None

    def read(self, keys: Keys, found: Fields) -> dict[str, Any]:
        """Fields out of keys."""
        return {
            "bos_token_id": keys.token("bos_token_id", self.bos),
            "eos_token_id": keys.tokens("eos_token_id", self.eos),
            "pad_token_id": keys.token("pad_token_id", self.pad),
        }

    def write(self, fields: Fields) -> dict[str, Any]:
        """Keys out of fields."""
        eos = fields["eos_token_id"]
        return {
            "bos_token_id": fields["bos_token_id"],
            "eos_token_id": list(eos) if isinstance(eos, tuple) else eos,
            "pad_token_id": fields["pad_token_id"],
        }


@dataclass(frozen=True)
class Heads:
    """Heads, the key/value heads they share, and the numbers of each."""

    kv_heads: int | None = None
    """Of the class, where the key is absent; None: as many as heads. null always means that."""
    head_dim: int | None = None
    """The same; None: hidden_size / num_attention_heads."""
    heads: int | None = None
    """The same; None: the key must be there."""
    has_head_dim: bool = True
    """Whether head_dim may be another than a share of hidden_size."""
    has_groups: bool = True
    """Whether the class reads num_key_value_heads."""

    def read(self, keys: Keys, found: Fields) -> dict[str, Any]:
        """Fields out of keys."""
        heads, hidden = keys.whole("num_attention_heads", default=self.heads), found["hidden_size"]
        shared = 0 if hidden % heads else hidden // heads
        head_dim = keys.optional("head_dim", self.head_dim)
        if not (head_dim or shared):
            keys.wrong("hidden_size", f"a multiple of num_attention_heads, {heads}")
        if head_dim not in (None, shared) and not self.has_head_dim:
            keys.wrong("head_dim", "hidden_size / num_attention_heads, which is all that is supported")
        return {
            "num_attention_heads": heads,
            "num_key_value_heads": self._kv_heads(keys, heads),
            "head_dim": head_dim or shared,
        }

    def write(self, fields: Fields) -> dict[str, Any]:
        """Keys out of fields."""
        names = ["num_attention_heads"]
        names += ["num_key_value_heads"] if self.has_groups else []
        names += ["head_dim"] if self.has_head_dim else []
        return {name: fields[name] for name in names}

    def _kv_heads(self, keys: Keys, heads: int) -> int:
        given = keys.optional("num_key_value_heads", self.kv_heads or heads) or heads
        if given != heads and not self.has_groups:
            keys.wrong("num_key_value_heads", "num_attention_heads, which is all that is supported")
        return given
