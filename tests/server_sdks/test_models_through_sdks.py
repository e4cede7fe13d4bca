"""The official clients list models, each in its own words."""

import asyncio
from typing import Any

import pytest

from tests.server.adapters_made import read
from tests.server.conftest import Serving
from tests.server.test_adapters import adapters
from tests.server.test_lora import SPECS


def test_anthropics_client_goes_through_pages_and_openais_words_stay(serving: Serving) -> None:
    anthropic, httpx2 = pytest.importorskip("anthropic"), pytest.importorskip("httpx2")

    async def go() -> tuple[list[Any], Any, Any, Any]:
        async with serving(read=read) as client:
            for one in SPECS:
                await adapters(client).load(one)
            transport = httpx2.ASGITransport(client.app, raise_app_exceptions=False)  # type: ignore[attr-defined]
            async with httpx2.AsyncClient(transport=transport, base_url="http://server") as spoken:
                sdk = anthropic.AsyncAnthropic(
                    base_url="http://server", api_key="k", http_client=spoken, max_retries=0
                )
                listed = [one async for one in sdk.models.list(limit=1)]  # a page each
                one = await sdk.models.retrieve("tiny:poet")
                with pytest.raises(anthropic.NotFoundError) as missing:
                    await sdk.models.retrieve("none")
            return listed, one, missing.value, (await client.get("/v1/models/tiny:poet")).json()

    listed, one, missing, plain = asyncio.run(go())
    assert [each.id for each in listed] == ["tiny", "tiny:poet", "tiny:cook"] and listed[1] == one
    assert (one.display_name, one.type, one.lifecycle, one.max_input_tokens) == (
        *("tiny:poet", "model", "active"),
        256,
    )
    assert missing.type == "not_found_error" and plain["object"] == "model"
    assert plain["created"] == one.created_at.timestamp()
