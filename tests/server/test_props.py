"""What llama.cpp's clients ask a server about is what it does."""

import asyncio
from typing import Any

from llmkit.engine.engine import EngineConfig
from llmkit.tokens.tokenizer import Tokenizer
from tests.server.conftest import CHATML, Serving


def test_a_server_tells_its_room_its_template_and_its_marks(serving: Serving, tokenizer: Tokenizer) -> None:
    async def ask() -> list[Any]:
        async with serving(engine=EngineConfig(positions=2048, max_texts=5)) as client:
            props = await client.get("/props")
            settings = props.json()["default_generation_settings"]["params"]
            texts = [
                await client.post("/completion", json={"prompt": "the", "n_predict": 9, "seed": 4, **one})
                for one in (
                    {},
                    {name: one for name, one in settings.items() if name not in ("n_predict", "seed")},
                )
            ]
            return [props, *texts, await client.get("/props", params={"model": "other"})]

    answer, plain, sent_back, missing = asyncio.run(ask())
    props = answer.json()
    assert props["default_generation_settings"]["n_ctx"] == 256 and props["total_slots"] == 5
    assert (props["model_alias"], props["chat_template"]) == ("tiny", CHATML)
    assert (props["bos_token"], props["eos_token"]) == ("", "<|end|>")
    assert props["modalities"] == {"vision": False, "audio": False}
    assert plain.json()["content"] == sent_back.json()["content"] != ""
    assert missing.status_code == 404
