"""What an adapter calls its base, whichever form it has."""

from collections.abc import Callable
from pathlib import Path

import pytest

from llmkit.errors import ConfigError
from llmkit.formats.provenance import Invocation
from llmkit.workflows.adapter_base import named_base
from llmkit.workflows.convert.convert import convert
from llmkit.workflows.convert.options import ConvertConfig


def test_a_folder_and_its_gguf_file_name_the_same_base(
    tiny_adapter: Callable[..., Path], tiny_model: Callable[..., Path], as_gguf: Callable[[Path, Path], Path]
) -> None:
    model, folder = tiny_model(), tiny_adapter(base_model_name_or_path="org/name")
    assert named_base(folder) == named_base(as_gguf(folder, model)) == "org/name"


@pytest.mark.parametrize("named", [None, ""])
def test_a_base_without_a_name_is_none(
    named: str | None,
    tiny_adapter: Callable[..., Path],
    tiny_model: Callable[..., Path],
    as_gguf: Callable[[Path, Path], Path],
) -> None:
    model, folder = tiny_model(), tiny_adapter(base_model_name_or_path=named)
    assert named_base(folder) is named_base(as_gguf(folder, model)) is None


def test_a_gguf_file_of_a_model_is_no_adapter(tiny_model: Callable[..., Path], tmp_path: Path) -> None:
    out = tmp_path / "m.gguf"
    convert(tiny_model(), out, ConvertConfig(), force=False, invocation=Invocation("convert", {}, ()))
    with pytest.raises(ConfigError, match=r"general\.type is 'model'"):
        named_base(out)
