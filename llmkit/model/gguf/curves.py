"""xIELU in GGUF files: its numbers are tensors of the model, and keys there with one for each layer."""

from collections.abc import Iterator, Mapping
from typing import Any

from llmkit.errors import ConfigError
from llmkit.formats.gguf.values import MetadataValue, Typed
from llmkit.formats.json_text import is_number

_MODULE = "mlp.act_fn"
_NUMBERS = ("alpha_p", "alpha_n", "beta", "eps")


def is_of_curve(name: str) -> bool:
    """Whether a tensor of the model is one of these numbers."""
    return f".{_MODULE}." in name


def curve_names(layers: int) -> dict[str, list[str]]:
    """The model's tensors, layer by layer, under the key that has their numbers."""
    return {
        f"xielu.{number}": [f"model.layers.{layer}.{_MODULE}.{number}" for layer in range(layers)]
        for number in _NUMBERS
    }


def curve_metadata(values: Mapping[str, float]) -> dict[str, MetadataValue]:
    """The keys of a model's numbers, by the names of its tensors; none where it has none."""
    if not values:
        return {}
    by_key = curve_names(len(values) // len(_NUMBERS))
    return {key: Typed("f32", [values[name] for name in names]) for key, names in by_key.items()}


def read_curves(metadata: Mapping[str, Any], layers: int, source: str) -> dict[str, float]:
    """The numbers of a file by the names of the model's tensors.

    Args:
        metadata: of the file.
        layers: how many the model has.
        source: the file's name, for messages.

    Raises:
        ConfigError: a key is missing, or has not a number for each layer.
    """
    return dict(_read(metadata, layers, source))


def _read(metadata: Mapping[str, Any], layers: int, source: str) -> Iterator[tuple[str, float]]:
    for key, names in curve_names(layers).items():
        found = metadata.get(key)
        if not isinstance(found, list) or len(found) != layers or not all(map(is_number, found)):
            raise ConfigError(
                f"{source}: {key} is not a list of {layers} numbers (found {found!r})",
                hint="convert the model again from where it was published",
            )
        yield from zip(names, found, strict=True)
