"""Adapters in vLLM's words: what is read, and which names no request could write."""

from typing import Any

import pytest

from llmkit.server.adapters import AdapterSpec
from llmkit.server.errors import ApiError
from llmkit.server.strict_json import decode
from llmkit.server.wire.adapters import (
    LoadAdapter,
    UnloadAdapter,
    check_adapter_name,
    loaded_object,
    read_load,
    read_wait,
)


@pytest.mark.parametrize("name", ["sql", "sql-2.v1", "a_b", "7", "x" * 64, "наречие"])
def test_a_name_that_can_stand_behind_a_colon_is_taken(name: str) -> None:
    check_adapter_name(name)


@pytest.mark.parametrize(
    "name", ["", "off", "a:b", "a/b", "../a", ".hidden", "a b", "a\nb", "a\0", "sql#1", "x" * 65]
)
def test_another_is_refused(name: str) -> None:
    with pytest.raises(ApiError) as caught:
        check_adapter_name(name)
    assert (caught.value.status, caught.value.param) == (400, "lora_name")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"lora_name": "a"}', "lora_path"),
        (b'{"lora_name": "a", "lora_path": ""}', "lora_path"),
        (b'{"lora_name": "a", "lora_path": "p", "strength": "much"}', "strength"),
        (b'{"lora_name": "a", "lora_path": "p", "lora_int_id": 1}', "lora_int_id"),
        (b'{"lora_name": 7, "lora_path": "p"}', "lora_name"),
    ],
)
def test_what_cannot_be_followed_is_named(body: bytes, param: str) -> None:
    with pytest.raises(ApiError) as caught:
        read_load(decode(body, LoadAdapter))
    assert (caught.value.status, caught.value.param) == (400, param)


def test_what_is_asked_for_is_what_is_loaded() -> None:
    told = decode(b'{"lora_name": "a", "lora_path": "p", "strength": 0.5}', LoadAdapter)
    assert read_load(told) == AdapterSpec("a", "p", 0.5) and not told.load_inplace
    found: dict[str, Any] = loaded_object("m", AdapterSpec("a", "p", 0.5), 12)
    assert (found["id"], found["bytes"], found["lora_path"]) == ("m:a", 12, "p")


@pytest.mark.parametrize(("seconds", "fits"), [(0, True), (3600, True), (-1, False), (3601, False)])
def test_nobody_waits_for_ever(seconds: float, fits: bool) -> None:
    body = UnloadAdapter(lora_name="a", wait_seconds=seconds)
    if fits:
        assert read_wait(body) == seconds
        return
    with pytest.raises(ApiError) as caught:
        read_wait(body)
    assert caught.value.param == "wait_seconds"
