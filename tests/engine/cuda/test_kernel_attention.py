"""Attention over pages by kernels is attention over each text's own keys and values."""

from collections.abc import Callable
from typing import Any

import pytest

from llmkit.engine.cuda import kernel_attention as module
from llmkit.engine.cuda.kernel_attention import KernelAttention
from tests.engine.cuda.cases import RULES, SPANS, check

pytestmark = pytest.mark.usefixtures("interpreted")
Make = Callable[..., Any]


@pytest.mark.parametrize("spans", SPANS.values(), ids=SPANS)
@pytest.mark.parametrize("name", RULES)
def test_kernels_compute_the_definition(make_text: Make, spans: list[tuple[int, int]], name: str) -> None:
    check(KernelAttention(), make_text, spans, name)


@pytest.mark.parametrize("name", RULES)
def test_a_text_read_in_parts_gives_what_it_gives_whole(
    make_text: Make, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_parts", lambda programs, capacity: 4)
    monkeypatch.setattr(module, "_TILE", 2)
    for spans in ("decoding", "all sorts"):  # a prompt is among those, too
        check(KernelAttention(), make_text, SPANS[spans], name)


def test_a_few_queries_to_a_tile_give_what_all_of_them_give(
    make_text: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PROMPT_ROWS", 8)  # two queries of three heads, and two rows for nobody
    check(KernelAttention(), make_text, SPANS["all sorts"], "window")


def test_parts_are_as_many_as_keep_a_gpu_busy_and_none_is_short() -> None:
    assert module._parts(4, 8192) == 32  # one text, four key heads: parts of 256 positions
    assert module._parts(4, 255) == 1
    assert module._parts(128, 8192) == 2
    assert module._parts(1000, 1 << 20) == 1
