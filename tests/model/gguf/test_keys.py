"""Keys of a GGUF file with their types checked, and float32 numbers as people wrote them."""

import struct
from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.formats.gguf.header import SkippedArray
from llmkit.model.gguf.keys import GgufKeys, as_float32, shortest


def _keys(**metadata: Any) -> GgufKeys:
    return GgufKeys({f"llama.{name}": value for name, value in metadata.items()}, "llama", "a.gguf")


def test_a_key_is_read_under_its_architecture() -> None:
    keys = _keys(
        block_count=3, eps=as_float32(1e-5), on=True, kind="yarn", heads=[4, 4], pattern=[True, False]
    )
    assert (keys.whole("block_count"), keys.number("eps"), keys.flag("on", False)) == (3, 1e-5, True)
    assert (keys.word("kind", ""), keys.whole("heads"), keys.listed("pattern", 2)) == (
        "yarn",
        4,
        [True, False],
    )
    assert (keys.whole("absent", 7), keys.optional("absent"), keys.optional("block_count")) == (7, None, 3)
    assert (keys.number("absent", 0.5), keys.flag("absent", True), keys.listed("absent", 2)) == (
        0.5,
        True,
        None,
    )


@pytest.mark.parametrize("value", [1.5, True, -1, "4", [4, 8], SkippedArray(2000)])
def test_what_is_no_whole_number_is_named(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"a.gguf: llama.heads is not one whole number"):
        _keys(heads=value).whole("heads")


def test_what_is_missing_or_of_another_type_is_named() -> None:
    with pytest.raises(ConfigError, match=r"no llama.block_count"):
        _keys().whole("block_count")
    with pytest.raises(ConfigError, match=r"no llama.eps"):
        _keys().number("eps")
    with pytest.raises(ConfigError, match=r"llama.eps is not a number"):
        _keys(eps="1").number("eps")
    with pytest.raises(ConfigError, match=r"llama.on is not true or false"):
        _keys(on=1).flag("on", False)
    with pytest.raises(ConfigError, match=r"llama.kind is not a string"):
        _keys(kind=1).word("kind", "")
    with pytest.raises(ConfigError, match=r"llama.pattern is not a list of 3"):
        _keys(pattern=[True]).listed("pattern", 3)


@pytest.mark.parametrize(
    "value", [1e-5, 1e-6, 0.1, 10_000.0, 500_000.0, 1.0, 0.0, 0.0625, 1.1920929e-07, 3.4e38]
)
def test_a_float32_is_the_decimal_it_was_written_as(value: float) -> None:
    (stored,) = struct.unpack("<f", struct.pack("<f", value))
    assert shortest(stored) == value


def test_any_float32_comes_back_as_itself() -> None:
    for number in range(1, 4000):
        (stored,) = struct.unpack("<f", struct.pack("<I", number * 1_000_003 % 0x7F800000))
        assert as_float32(shortest(stored)) == stored
    assert shortest(5) == 5
    assert as_float32(1e300) == 1e300
