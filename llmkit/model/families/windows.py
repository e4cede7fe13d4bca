"""Which layers look how far back, in config.json: `layer_types`, `sliding_window` and their switches."""

from dataclasses import dataclass
from typing import Any

from llmkit.model.families.parts import Fields
from llmkit.model.keys import Keys
from llmkit.model.layer_kinds import KindsRule, layer_words, layers_of, rotary_layers


@dataclass(frozen=True)
class Windows:
    """Full and sliding layers."""

    rule: KindsRule
    """The family's own, where a file has no layer_types."""
    has_layer_types: bool = True
    """Whether the class reads layer_types."""
    has_switch: bool = False
    """Whether it reads use_sliding_window; and the next, max_window_layers."""
    has_max_window_layers: bool = False

    def read(self, keys: Keys, found: Fields) -> dict[str, Any]:
        """Fields out of keys."""
        kinds, window = self.rule(keys, found["num_hidden_layers"])
        sliding = layers_of(kinds, "sliding")
        return {"sliding_layers": sliding, "sliding_window": window if sliding else None}

    def write(self, fields: Fields) -> dict[str, Any]:
        """Keys out of fields."""
        layers, sliding = fields["num_hidden_layers"], set(fields["sliding_layers"])
        window = fields["sliding_window"]
        if self.has_layer_types and not self.has_switch:  # classes that make the mask even if no layer asks
            window = window or fields["max_position_embeddings"]
        keys: dict[str, Any] = {"sliding_window": window}
        if self.has_switch:
            keys["use_sliding_window"] = bool(sliding)
        if self.has_max_window_layers:
            keys["max_window_layers"] = min(sliding, default=layers)
        if self.has_layer_types:
            keys["layer_types"] = layer_words(layers, sliding, "sliding_attention")
        return keys


@dataclass(frozen=True)
class PositionsOfWindows:
    """Layers that see everything have no positions; no key says so."""

    always: bool
    """Whether that is so where the file has no window either."""

    def read(self, keys: Keys, found: Fields) -> dict[str, Any]:
        """Fields out of keys."""
        sliding, layers = set(found["sliding_layers"]), range(found["num_hidden_layers"])
        rotates_all = not self.always and keys.optional("sliding_window", 1) is None
        return {"no_rope_layers": () if rotates_all else tuple(one for one in layers if one not in sliding)}

    def write(self, fields: Fields) -> dict[str, Any]:
        """Keys out of fields."""
        return {} if self.always else {"sliding_window": fields["sliding_window"]}


@dataclass(frozen=True)
class NoRopeLayers:
    """Layers without positions: no_rope_layers has 1 for a layer that rotates, 0 for one that does not."""

    def read(self, keys: Keys, found: Fields) -> dict[str, Any]:
        """Fields out of keys."""
        rotates = rotary_layers(keys, found["num_hidden_layers"])
        return {"no_rope_layers": tuple(layer for layer, turned in enumerate(rotates) if not turned)}

    def write(self, fields: Fields) -> dict[str, Any]:
        """Keys out of fields."""
        without = set(fields["no_rope_layers"])
        return {"no_rope_layers": [int(layer not in without) for layer in range(fields["num_hidden_layers"])]}
