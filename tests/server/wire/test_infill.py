"""Bodies and answers of gaps in llama.cpp's words, without a server."""

from typing import Any

import msgspec
import pytest

from llmkit.engine.config import SamplingConfig
from llmkit.server.ask import Ask, LineRule
from llmkit.server.errors import ApiError
from llmkit.server.wire.infill import InfillRequest, read_infill
from llmkit.server.wire.sampling import WireLimits

BASE = SamplingConfig(temperature=0.8, top_k=40)
EDITOR: dict[str, Any] = {
    **{"id_slot": 0, "input_prefix": "def f():\n", "input_suffix": "\n", "prompt": "    x = "},
    "input_extra": [{"text": "import a\n", "time": 12.5, "filename": "a.py"}, {"text": "b"}],
    **{"n_predict": 128, "stop": [], "n_indent": 4, "top_k": 40, "top_p": 0.9, "stream": False},
    **{"samplers": ["top_k", "top_p", "infill"], "cache_prompt": True},
    **{"t_max_prompt_ms": 500, "t_max_predict_ms": 1000, "response_fields": ["content"]},
}
"""As llama.vim asks."""


def body(**fields: Any) -> InfillRequest:
    return msgspec.convert({"input_prefix": "a", "input_suffix": "b", **fields}, InfillRequest)


def read(**fields: Any) -> Ask:
    return read_infill(body(**fields), BASE, WireLimits(), max_tokens=512)


def test_what_an_editor_asks_for_is_all_followed() -> None:
    ask = read(**EDITOR)
    assert (ask.texts, ask.suffix) == (("def f():\n    x = ",), "\n")
    assert ask.files == (("a.py", "import a\n"), ("tmp", "b"))
    assert ask.lines == LineRule(indent=4, seconds=1.0)
    assert (ask.sampling.max_tokens, ask.sampling.samplers) == (128, ("top_k", "top_p"))
    # what the order leaves out does nothing, whatever the server's own settings are
    assert (ask.sampling.temperature, ask.sampling.top_k, ask.sampling.top_p) == (1.0, 40, 0.9)


def test_a_gap_may_be_empty_on_both_sides_and_other_files_are_not_without_number() -> None:
    ask = read(input_prefix="", input_suffix="")
    assert (ask.texts, ask.suffix, ask.files, ask.lines, ask.marks) == (("",), "", (), LineRule(), False)
    with pytest.raises(ApiError) as caught:
        read(input_extra=[{"text": ""}] * 1025)
    assert caught.value.param == "input_extra"
