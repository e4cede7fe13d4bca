"""Attention over gathered pages is attention over each text's own keys and values."""

from collections.abc import Callable
from typing import Any

import pytest

from llmkit.engine.cuda.attention import GatheredAttention
from tests.engine.cuda.cases import RULES, SPANS, check


@pytest.mark.parametrize("spans", SPANS.values(), ids=SPANS)
@pytest.mark.parametrize("name", RULES)
def test_gathered_attention_is_the_definition(
    make_text: Callable[..., Any], spans: list[tuple[int, int]], name: str
) -> None:
    check(GatheredAttention(), make_text, spans, name)
