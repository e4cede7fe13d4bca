"""What a model family is, and the parts that most of them share. Defaults are those of transformers 5.24."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmkit.model.families.parts import Fields, Fixed, Flag, Number, Part, Training, Whole, Word
from llmkit.model.families.stored import Stored
from llmkit.model.keys import ARITHMETIC, STRUCTURAL, Keys


@dataclass(frozen=True)
class Family:
    """One model_type."""

    architecture: str
    """The class in transformers."""
    parts: tuple[Part, ...]
    stored: tuple[Stored, ...] = ()
    """Tensors that files keep otherwise than the model does."""
    tied: bool = False
    """tie_word_embeddings of the class, where the key is absent."""

    def read(self, keys: Keys, name: str) -> dict[str, Any]:
        """Fields of ModelConfig out of a config.json.

        Raises:
            ConfigError: a key is missing, has a wrong value, or is not understood and changes the arithmetic.
        """
        found: dict[str, Any] = {"tie_word_embeddings": keys.flag("tie_word_embeddings", self.tied)}
        for part in self.parts:
            found |= part.read(keys, found)
        keys.refuse_unknown(name, signs=(*STRUCTURAL, *ARITHMETIC), elsewhere=_OTHERS)
        return found

    @property
    def fixed(self) -> dict[str, Any]:
        """Fields that every model of the family has alike, and no key says."""
        return {
            key: value for part in self.parts if isinstance(part, Fixed) for key, value in part.fields.items()
        }

    def write(self, fields: Fields) -> dict[str, Any]:
        """Keys out of fields of ModelConfig."""
        keys: dict[str, Any] = {}
        for part in self.parts:
            keys |= part.write(fields)
        return keys | {"tie_word_embeddings": fields["tie_word_embeddings"]}


_OTHERS = ("id2label", "label2id", "task_specific_params", "initializer")
_DROPOUT = Training({"attention_dropout": 0.0}, ignored=("pretraining_tp", "rope_interleaved"))
NO_DROPOUT = {"embd_pdrop": 0.0, "resid_pdrop": 0.0}
QKV_AND_O = ("attention_bias", "output_bias")


def sizes(
    max_positions: int,
    act: str = "silu",
    act_names: tuple[str, ...] = ("hidden_act",),
    vocab_size: int | None = None,
    act_meanings: Mapping[str, str] | None = None,
    mlp_names: tuple[str, ...] = ("intermediate_size",),
) -> tuple[Part, ...]:
    """Widths, layers, context and activation, under most families' keys, with a class's defaults."""
    return (
        Whole("vocab_size", ("vocab_size",), vocab_size),
        Whole("hidden_size", ("hidden_size",)),
        Whole("intermediate_size", mlp_names),
        Whole("num_hidden_layers", ("num_hidden_layers",)),
        Whole("max_position_embeddings", ("max_position_embeddings",), max_positions),
        Word("hidden_act", act_names, act, act_meanings),
        _DROPOUT,
    )


def rms(eps: float = 1e-6) -> Part:
    """RMSNorm's epsilon, and what the class takes where the key is absent."""
    return Number("norm_eps", "rms_norm_eps", eps)


def layer_norm(name: str = "layer_norm_eps") -> tuple[Part, ...]:
    """LayerNorm in place of RMSNorm, its epsilon under the key `name`."""
    return (Number("norm_eps", name, 1e-5), Fixed({"norm": "layer"}))


BIAS = Flag(QKV_AND_O, "attention_bias")
PLAIN_MLP = {"gated_mlp": False, "mlp_bias": True}
BIASED = {"attention_bias": True, "output_bias": True}
