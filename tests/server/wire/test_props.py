"""The settings that /props tells are those that its clients may send back."""

import msgspec

from llmkit.engine.config import SamplingConfig
from llmkit.server.wire.llama import LlamaRequest, read_llama
from llmkit.server.wire.props import default_params
from llmkit.server.wire.sampling import WireLimits

STEPS = ("temperature", "min_p", "top_k", "top_p")


def test_settings_that_are_sent_back_change_nothing() -> None:
    base = SamplingConfig(
        **{"temperature": 0.3, "top_k": 7, "top_p": 0.9, "min_p": 0.1, "repetition_penalty": 1.2},
        **{
            "presence_penalty": 0.5,
            "repeat_last_n": 32,
            "samplers": STEPS,
            "stop": ("x",),
        },
    )
    told = msgspec.json.decode(
        msgspec.json.encode({"prompt": "a", **default_params(base)}), type=LlamaRequest
    )
    plain = read_llama(LlamaRequest(prompt="a"), base, WireLimits(), max_tokens=9)
    assert read_llama(told, base, WireLimits(), max_tokens=9).sampling == plain.sampling
    assert default_params(base)["repeat_penalty"] == 1.2
