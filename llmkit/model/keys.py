"""Looks keys up in a foreign config.json, and refuses what no look-up understood and what changes sizes."""

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

from llmkit.errors import ConfigError, nearest
from llmkit.formats.json_text import is_number
from llmkit.model.config_checks import MOST_LAYERS

STRUCTURAL = (
    *("num_", "_size", "_dim", "_rank", "window", "shared", "expert", "layers", "heads", "sharing"),
    *("multi_query", "state", "conv", "mtp", "nextn", "bias", "qk_norm", "qk_layernorm", "layer_types"),
)
"""A key with one of these in its name decides, as a rule, which tensors or caches there are."""
ARITHMETIC = (
    *("scale", "scaling", "softcap", "multiplier", "norm", "rope", "rotary", "alibi", "clip", "parallel"),
    *("residual", "factor", "sink", "position", "hidden_act", "activation", "mask", "lora"),
)
"""A key with one of these in its name changes, as a rule, what a model computes."""
HARMLESS = frozenset(
    (
        *("output_hidden_states", "chunk_size_feed_forward", "num_labels", "num_beams", "num_beam_groups"),
        *(
            "num_return_sequences",
            "no_repeat_ngram_size",
            "encoder_no_repeat_ngram_size",
            "num_logits_to_keep",
        ),
        *("num_assistant_tokens", "ep_size"),
    )
)
"""Named as if structural, and of no consequence: settings of generation, of training, of one program."""
OTHER_READERS = (
    "rope_",
    "quantization_config",
    "initializer",
    "id2label",
    "label2id",
    "task_specific_params",
)
"""Beginnings of keys that others read, or that hold numbers of no tensor's shape."""
FOREIGN = {
    "is_encoder_decoder": (True, "an encoder"),
    "add_cross_attention": (True, "cross-attention"),
    "use_bidirectional_attention": (True, "attention to later tokens"),
    "is_causal": (False, "attention to later tokens"),
}
"""Refused when set to this, whatever the family, and what it means."""
OF_PICTURES = "vision"
"""Gemma 4's use_bidirectional_attention where only a picture's own tokens see later ones."""
LARGEST = 2**31 - 1
"""Beyond this any size is."""

Switch = bool | str | tuple[str, bool]
"""Yes, no, or the key that says so: false where absent, or what stands beside it."""


class Keys:
    """A config.json and its name; remembers which keys were understood.

    Every look-up raises ConfigError, naming the key, where a value has the wrong kind.
    """

    def __init__(self, config: Mapping[str, Any], source: str) -> None:
        self.config = config
        self.source = source
        self._understood: set[str] = set()

    def known(self, *names: str) -> None:
        """Keys that this family has, and that change no size."""
        self._understood.update(names)

    def whole(self, *names: str, default: int | None = None) -> int:
        """The whole number from 1 under the first of `names` that is set; without `default`, one must be."""
        self.known(*names)
        for name in names:
            if (value := self._look_up(name, None)) is not None:
                return self._checked(name, value)
        if default is None:
            raise ConfigError(
                f"{self.source}: no {names[0]!r} (found: {', '.join(sorted(self.config)) or 'no keys'})",
                hint="give the config.json of a model folder",
            )
        return default

    def optional(self, name: str, default: int | None = None) -> int | None:
        """A whole number from 1; null or 0 is None, and an absent key the default."""
        value = self._look_up(name, default)
        return None if value is None or (value == 0 and value is not False) else self._checked(name, value)

    def count(self, name: str, default: int) -> int:
        """A whole number from 0."""
        value = self._look_up(name, default)
        return 0 if value is None else self._checked(name, value, least=0)

    def flag(self, name: str, default: bool = False) -> bool:
        """true or false; null is false."""
        value = self._look_up(name, default)
        if value is not None and not isinstance(value, bool):
            self.wrong(name, "true or false")
        return bool(value)

    def switch(self, switch: Switch) -> bool:
        """Whether a switch is on."""
        if isinstance(switch, bool):
            return switch
        return self.flag(switch) if isinstance(switch, str) else self.flag(*switch)

    def numbers(self, name: str) -> tuple[int, ...] | None:
        """A list of whole numbers from 0; None where there is none."""
        value = self._look_up(name, None)
        if value is None:
            return None
        if not isinstance(value, list):
            self.wrong(name, "a list of whole numbers")
        return tuple(self._checked(name, one, least=0) for one in value)

    def words(self, name: str) -> tuple[str, ...] | None:
        """A list of strings; None where there is none."""
        value = self._look_up(name, None)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            self.wrong(name, "a list of strings")
        return tuple(value)

    def number(self, *names: str, default: float | None) -> float | None:
        """The number under the first of `names` that is set; null is the default."""
        self.known(*names)
        for name in names:
            value = self._look_up(name, None)
            if value is not None:
                if not is_number(value) or (isinstance(value, float) and not math.isfinite(value)):
                    self.wrong(name, "a number")
                return value
        return default

    def object(self, name: str) -> Mapping[str, Any]:
        """The object under `name`; empty where there is none."""
        value = self._look_up(name, None)
        if value is not None and not isinstance(value, Mapping):
            self.wrong(name, "an object")
        return value or {}

    def token(self, name: str, default: int | None) -> int | None:
        """A special id, where null means that there is none; the default where it is absent."""
        value = self._look_up(name, default)
        return None if value is None else self._checked(name, value, least=-1)

    def tokens(self, name: str, default: int | tuple[int, ...] | None) -> int | tuple[int, ...] | None:
        """A special id, or several of them."""
        value = self._look_up(name, default)
        if isinstance(value, list | tuple):
            return tuple(self._checked(name, one, least=0) for one in value)
        return self.token(name, default if isinstance(default, int) else None)

    def word(self, *names: str, default: str) -> str:
        """The string under the first of `names` that is set."""
        self.known(*names)
        for name in names:
            value = self._look_up(name, None)
            if value is not None:
                return value if isinstance(value, str) else self.wrong(name, "a string")
        return default

    def per_layer(self, name: str, layers: int) -> tuple[int, ...]:
        """One whole number from 1 for each layer, given once for all or as a list."""
        if not isinstance(self._look_up(name, None), list):
            return (self.whole(name),) * layers
        found = self.numbers(name) or ()
        if len(found) != layers or 0 in found:
            self.wrong(name, f"{layers} whole numbers from 1, one for each layer")
        return found

    def wrong(self, name: str, wanted: str) -> NoReturn:
        """Refuse the value under `name`."""
        raise ConfigError(
            f"{self.source}: {name} is not {wanted} (found {self.config.get(name)!r})",
            hint="copy it from the model's original config.json",
        )

    def refuse_unknown(
        self, family: str, *, signs: tuple[str, ...] = STRUCTURAL, elsewhere: tuple[str, ...] = OTHER_READERS
    ) -> None:
        """Refuse the first key that is set, was not understood, and has one of `signs` in its name.

        Args:
            family: its model_type.
            signs: parts of names.
            elsewhere: beginnings of keys that others read.
        """
        for name, (refused, meaning) in FOREIGN.items():
            value = self.config.get(name)
            if value is not None and bool(value) == refused and value != OF_PICTURES:
                raise ConfigError(
                    f"{self.source}: {name} {json.dumps(value)} ({meaning}) is not supported",
                    hint="give a decoder-only language model",
                )
        for name, value in self.config.items():
            unset = not value  # null, false, 0 and empty ask for nothing
            if unset or name in self._understood or name in HARMLESS or name.startswith(elsewhere):
                continue
            if any(sign in name for sign in signs) and not name.endswith(("token_id", "_eps", "_epsilon")):
                guess = nearest(name, self._understood)
                raise ConfigError(
                    f"{self.source}: {name} ({value!r}) is not known for model_type {family}",
                    hint=f"did you mean {guess}?"
                    if guess
                    else "the result would be a guess: remove the key if it is unused",
                )

    def _look_up(self, name: str, default: Any) -> Any:
        self.known(name)
        return self.config.get(name, default)

    def _checked(self, name: str, value: Any, least: int = 1) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            self.wrong(name, f"a whole number from {least}")
        if value > MOST_LAYERS and name in ("num_hidden_layers", "n_layer"):
            self.wrong(name, f"a possible number, which ends at {MOST_LAYERS}")
        if value > LARGEST:
            self.wrong(name, f"a possible number, which ends at {LARGEST}")
        return value
