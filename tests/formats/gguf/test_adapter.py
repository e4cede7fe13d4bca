"""What the header of an adapter's GGUF file must have; the gguf package writes the files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmkit.errors import ConfigError, DataError
from llmkit.formats.gguf.adapter import gguf_kind, is_gguf_adapter, read_gguf_adapter

FACTORS = {"blk.0.attn_q.weight.lora_a": (2, 8), "blk.0.attn_q.weight.lora_b": (6, 2)}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """A file as convert_lora_to_gguf.py makes it, by the writer that it uses."""
    gguf = pytest.importorskip("gguf")

    def call(shapes: dict[str, tuple[int, ...]] | None = None, *, kind: str = "adapter", **keys: Any) -> Path:
        path = tmp_path / "adapter.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        writer.add_type(kind)
        told: dict[str, Any] = {"adapter.type": "lora", "adapter.lora.alpha": 5.0}
        for key, value in (told | {name.replace("__", "."): one for name, one in keys.items()}).items():
            add = writer.add_float32 if isinstance(value, float) else writer.add_string
            writer.add_array(key, value) if isinstance(value, list) else add(key, value)
        for name, shape in (FACTORS if shapes is None else shapes).items():
            writer.add_tensor(name, np.ones(shape, np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    return call


def test_a_file_of_the_gguf_package_is_read(write: Callable[..., Path]) -> None:
    path = write(general__base_model__0__name="Llama 7B")
    found = read_gguf_adapter(path)
    assert (gguf_kind(path), is_gguf_adapter(path)) == ("adapter", True)
    assert (found.architecture, found.alpha, found.base) == ("llama", 5.0, "Llama 7B")
    (name, pair), *others = found.pairs.items()
    assert (name, pair.rank, pair.A.numel + pair.B.numel, others) == ("blk.0.attn_q.weight", 2, 28, [])
    assert found.scale(2) == 2.5


def test_a_base_on_the_hub_is_told_as_the_hub_calls_it(write: Callable[..., Path]) -> None:
    url = "https://huggingface.co/meta-llama/Llama-3.2-1B"
    path = write(general__base_model__0__name="Llama 3.2 1B", general__base_model__0__repo_url=url)
    assert read_gguf_adapter(path).base == "meta-llama/Llama-3.2-1B"


def test_an_alpha_of_zero_leaves_products_as_they_are(write: Callable[..., Path]) -> None:
    assert read_gguf_adapter(write(adapter__lora__alpha=0.0)).scale(16) == 1.0


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ({"kind": "model"}, ConfigError, "general.type is 'model'"),
        ({"adapter__type": "loha"}, ConfigError, "adapter.type is 'loha'"),
        ({"adapter__alora__invocation_tokens": [1, 2]}, ConfigError, "only after certain tokens"),
        ({"adapter__lora__alpha": float("nan")}, DataError, "alpha is nan"),
        ({"adapter__lora__alpha": "five"}, DataError, "alpha is 'five'"),
        ({"shapes": {}}, DataError, "no tensor of an adapter"),
        ({"shapes": {"blk.0.attn_norm.weight": (8,)}}, ConfigError, "attn_norm.weight is no factor"),
        ({"shapes": {"blk.0.attn_q.weight.lora_b": (6, 2)}}, DataError, "lora_b without its other half"),
        (
            {"shapes": FACTORS | {"blk.0.attn_q.weight.lora_b": (6, 3)}},
            DataError,
            r"\[2, 8\] and lora_b \[6, 3\] do not multiply",
        ),
    ],
)
def test_what_is_no_low_rank_adapter_is_refused_by_name(
    given: dict[str, Any], kind: type[Exception], message: str, write: Callable[..., Path]
) -> None:
    with pytest.raises(kind, match=message):
        read_gguf_adapter(write(**given))
