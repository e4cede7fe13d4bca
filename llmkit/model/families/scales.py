"""Factors in config.json: of embeddings, scores, branches and logits."""

from dataclasses import dataclass
from typing import Any

from llmkit.model.families.parts import Fields
from llmkit.model.keys import Keys


@dataclass(frozen=True)
class QueryScalar:
    """Gemma 2 and 3: scores are divided by the root of query_pre_attn_scalar."""

    default: int = 256

    def read(self, keys: Keys, found: Fields) -> dict[str, Any]:
        """Fields out of keys."""
        scalar = keys.number("query_pre_attn_scalar", default=self.default)
        if not scalar or scalar < 0:
            keys.wrong("query_pre_attn_scalar", "a number above 0")
        return {"attention_scale": scalar**-0.5}

    def write(self, fields: Fields) -> dict[str, Any]:
        """Keys out of fields."""
        scale = fields["attention_scale"] or fields["head_dim"] ** -0.5
        scalar = scale**-2
        return {"query_pre_attn_scalar": round(scalar) if abs(scalar - round(scalar)) < 1e-6 else scalar}


@dataclass(frozen=True)
class RootOfWidth:
    """Gemma: embeddings are multiplied with the root of hidden_size."""

    def read(self, keys: Keys, found: Fields) -> dict[str, Any]:
        """Fields out of keys."""
        return {"embedding_scale": found["hidden_size"] ** 0.5}

    def write(self, fields: Fields) -> dict[str, Any]:
        """Keys out of fields."""
        return {}


@dataclass(frozen=True)
class GraniteScales:
    """Granite's four multipliers; the logits' is a divisor."""

    def read(self, keys: Keys, found: Fields) -> dict[str, Any]:
        """Fields out of keys."""
        divisor = keys.number("logits_scaling", default=1.0)
        if not divisor:
            keys.wrong("logits_scaling", "a number other than 0")
        return {
            "embedding_scale": float(keys.number("embedding_multiplier", default=1.0) or 0.0),
            "residual_scale": float(keys.number("residual_multiplier", default=1.0) or 0.0),
            "attention_scale": float(keys.number("attention_multiplier", default=1.0) or 0.0),
            "logit_scale": 1.0 / divisor,
        }

    def write(self, fields: Fields) -> dict[str, Any]:
        """Keys out of fields."""
        return {
            "embedding_multiplier": fields["embedding_scale"],
            "residual_multiplier": fields["residual_scale"],
            "attention_multiplier": fields["attention_scale"] or fields["head_dim"] ** -0.5,
            "logits_scaling": 1.0 / fields["logit_scale"],
        }
