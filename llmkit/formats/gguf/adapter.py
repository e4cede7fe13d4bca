"""A low-rank adapter as one GGUF file: what convert_lora_to_gguf.py writes and llama.cpp's --lora reads.

    general.type = "adapter", adapter.type = "lora", general.architecture, adapter.lora.alpha
    NAME.lora_a (r, in), NAME.lora_b (out, r)        of a matrix (out, in) that a model's file calls NAME
    token_embd.weight.lora_a (V, r), .lora_b (D, r)  of an embedding (V, D): row i takes lora_b times row i

What is added is alpha / r times the product, or the product alone where alpha is zero or not there.
Source: ggml-org/llama.cpp convert_lora_to_gguf.py and src/llama-adapter.cpp.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from llmkit.errors import ConfigError, DataError, some_of
from llmkit.formats.gguf.header import GgufHeader, GgufTensorInfo, read_gguf_header
from llmkit.formats.gguf.magic import is_gguf
from llmkit.formats.gguf.values import MetadataValue, Typed
from llmkit.formats.peft import FETCH_AGAIN

ADAPTER, IMATRIX = "adapter", "imatrix"
"""What general.type says of files that are no models: adapters, and importance matrices."""
FIRST, SECOND = ".lora_a", ".lora_b"
EMBEDDING = "token_embd.weight"
_TYPE, _ADAPTER_TYPE, _ALPHA = "general.type", "adapter.type", "adapter.lora.alpha"
_ARCHITECTURE = "general.architecture"
_TRIGGER = "adapter.alora.invocation_tokens"
_BASE = "general.base_model.0"
_HUB = "https://huggingface.co/"


@dataclass(frozen=True)
class GgufPair:
    """The two factors of a matrix's change, as the header describes them."""

    A: GgufTensorInfo
    B: GgufTensorInfo

    @property
    def rank(self) -> int:
        """r: what a row of lora_b has."""
        return self.B.dims[0]

    @property
    def halves(self) -> tuple[GgufTensorInfo, GgufTensorInfo]:
        """Both."""
        return self.A, self.B


@dataclass(frozen=True)
class GgufAdapter:
    """The header of an adapter's file, found to be whole."""

    architecture: str
    """Of its base, in llama.cpp's word."""
    alpha: float
    """0: products are added as they are."""
    base: str | None
    """The model that it names."""
    pairs: Mapping[str, GgufPair]
    """By what the base's file calls the matrix."""

    def scale(self, rank: int) -> float:
        """What the product of factors of a rank is multiplied with."""
        return self.alpha / rank if self.alpha else 1.0


def gguf_kind(path: Path) -> str:
    """What a GGUF file says that it is (general.type): model, adapter, imatrix, …

    Raises:
        DataError: it is damaged.
    """
    return str(read_gguf_header(path).metadata.get(_TYPE, "model"))


def is_gguf_adapter(path: Path) -> bool:
    """Whether a path is an adapter in a GGUF file.

    Raises:
        DataError: it is a damaged GGUF file.
    """
    return is_gguf(path) and gguf_kind(path) == ADAPTER


def read_gguf_adapter(path: Path) -> GgufAdapter:
    """What an adapter's file has.

    Raises:
        MissingError: no such file.
        ConfigError: it is no low-rank adapter, or has what is not supported: it is named.
        DataError: it is damaged, or a factor lacks its other half.
    """
    header = read_gguf_header(path)
    metadata = header.metadata
    for key, wanted in ((_TYPE, ADAPTER), (_ADAPTER_TYPE, "lora")):
        if metadata.get(key) != wanted:
            raise ConfigError(
                f"{path}: {key} is {metadata.get(key)!r} (known: {wanted!r})",
                hint="give an adapter: PEFT's folder, or what convert_lora_to_gguf.py has made of one",
            )
    if _TRIGGER in metadata:
        raise ConfigError(
            f"{path}: it acts only after certain tokens ({_TRIGGER}), which is not supported",
            hint="give an adapter that acts on every token",
        )
    alpha = metadata.get(_ALPHA, 0.0)
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 0 <= alpha < float("inf"):
        raise DataError(f"{path}: {_ALPHA} is {alpha!r}, no number from 0", hint=FETCH_AGAIN)
    architecture = metadata.get(_ARCHITECTURE)
    if not isinstance(architecture, str):
        raise DataError(f"{path}: {_ARCHITECTURE} is {architecture!r}, no name", hint=FETCH_AGAIN)
    return GgufAdapter(architecture, float(alpha), _base(header), _pairs(path, header))


def adapter_metadata(architecture: str, alpha: float, base: str | None) -> dict[str, MetadataValue]:
    """The keys that a reader needs, and the name of the base."""
    keys: dict[str, MetadataValue] = {
        _ARCHITECTURE: architecture,
        _TYPE: ADAPTER,
        _ADAPTER_TYPE: "lora",
        _ALPHA: Typed("f32", alpha),
    }
    if base:
        keys |= {"general.base_model.count": Typed("u32", 1), f"{_BASE}.name": base}
    return keys


def _pairs(path: Path, header: GgufHeader) -> dict[str, GgufPair]:
    halves: dict[str, dict[str, GgufTensorInfo]] = {}
    for tensor in header.tensors:
        suffix = next((one for one in (FIRST, SECOND) if tensor.name.endswith(one)), None)
        if suffix is None:
            raise ConfigError(
                f"{path}: {tensor.name} is no factor of a low-rank change, which is not supported",
                hint="merge the adapter into its base with the program that made it, and use that model",
            )
        halves.setdefault(tensor.name.removesuffix(suffix), {})[suffix] = tensor
    if not halves:
        raise DataError(f"{path}: no tensor of an adapter", hint=FETCH_AGAIN)
    if lone := [name + next(iter(pair)) for name, pair in halves.items() if len(pair) < 2]:
        raise DataError(f"{path}: {some_of(lone)} without its other half", hint=FETCH_AGAIN)
    pairs = {name: GgufPair(pair[FIRST], pair[SECOND]) for name, pair in halves.items()}
    for name, pair in pairs.items():
        shapes = [one.dims[::-1] for one in (pair.A, pair.B)]
        rank_of_A = shapes[0][1 if name == EMBEDDING else 0] if len(shapes[0]) == 2 else None
        if len(shapes[1]) != 2 or rank_of_A != pair.rank or not pair.rank:
            raise DataError(
                f"{path}: {name}: lora_a {list(shapes[0])} and lora_b {list(shapes[1])} do not multiply",
                hint=FETCH_AGAIN,
            )
    return pairs


def _base(header: GgufHeader) -> str | None:
    """The base as the Hub calls it, where that is said, else its name."""
    found = [header.metadata.get(f"{_BASE}.{key}") for key in ("repo_url", "name")]
    url, name = (one if isinstance(one, str) and one else None for one in found)
    return url.removeprefix(_HUB) if url is not None and url.startswith(_HUB) else name
