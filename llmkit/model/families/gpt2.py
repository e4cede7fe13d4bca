"""GPT-2's own ways in config.json: a width that follows from another, one kind of head, its positions."""

from dataclasses import dataclass
from typing import Any

from llmkit.model.families.parts import Fields
from llmkit.model.keys import Keys


@dataclass(frozen=True)
class InnerWidth:
    """n_inner; null is four times the width."""

    def read(self, keys: Keys, found: Fields) -> dict[str, Any]:
        """Fields out of keys."""
        return {"intermediate_size": keys.optional("n_inner") or 4 * found["hidden_size"]}

    def write(self, fields: Fields) -> dict[str, Any]:
        """Keys out of fields."""
        return {"n_inner": fields["intermediate_size"]}


@dataclass(frozen=True)
class OneKindOfHead:
    """n_head heads that share hidden_size, each with keys and values of its own."""

    def read(self, keys: Keys, found: Fields) -> dict[str, Any]:
        """Fields out of keys."""
        heads, hidden = keys.whole("n_head", "num_attention_heads"), found["hidden_size"]
        if hidden % heads:
            keys.wrong("n_head", f"a divisor of n_embd, {hidden}")
        return {"num_attention_heads": heads, "num_key_value_heads": heads, "head_dim": hidden // heads}

    def write(self, fields: Fields) -> dict[str, Any]:
        """Keys out of fields."""
        return {"n_head": fields["num_attention_heads"]}


@dataclass(frozen=True)
class Positions:
    """Learned positions, or fixed sinusoids: a key of our own, as others read the table from the file."""

    def read(self, keys: Keys, found: Fields) -> dict[str, Any]:
        """Fields out of keys."""
        position = keys.word("position_embedding_type", default="learned")
        if position not in ("learned", "sinusoidal"):
            keys.wrong("position_embedding_type", "learned or sinusoidal")
        return {"position": position}

    def write(self, fields: Fields) -> dict[str, Any]:
        """Keys out of fields."""
        keys = {"n_ctx": fields["max_position_embeddings"]}
        return keys | (
            {"position_embedding_type": "sinusoidal"} if fields["position"] == "sinusoidal" else {}
        )
