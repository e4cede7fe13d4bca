"""`/props`: what llama.cpp's clients ask a server about itself.

What has no meaning here is left out: no file that a client could open, no slot that a text has to itself.
Source: llama.cpp, tools/server/README.md, "GET /props".
"""

from typing import Any

import msgspec

from llmkit.engine.config import SamplingConfig

_CALLED = {"repetition_penalty": "repeat_penalty"}
_TOLD = (
    *("temperature", "top_k", "top_p", "min_p", "typical_p", "top_n_sigma"),
    *("xtc_probability", "xtc_threshold"),
    *("repetition_penalty", "presence_penalty", "frequency_penalty", "repeat_last_n"),
    *("dry_multiplier", "dry_base", "dry_allowed_length", "dry_penalty_last_n", "dry_sequence_breakers"),
    *("adaptive_target", "adaptive_decay", "mirostat", "mirostat_tau", "mirostat_eta", "samplers"),
    *("stop", "ignore_eos"),
)
"""Settings of the sampler that its `/completion` takes."""


class Modalities(msgspec.Struct):
    """What may be asked about beside text."""

    vision: bool = False
    audio: bool = False


class DefaultSettings(msgspec.Struct):
    """What holds where a request says nothing."""

    n_ctx: int
    params: dict[str, Any]


class Props(msgspec.Struct, kw_only=True):
    """The answer of /props."""

    default_generation_settings: DefaultSettings
    total_slots: int
    model_alias: str
    chat_template: str
    bos_token: str
    eos_token: str
    modalities: Modalities = msgspec.field(default_factory=Modalities)
    build_info: str
    is_sleeping: bool = False


def default_params(base: SamplingConfig) -> dict[str, Any]:
    """Settings in llama.cpp's words: a client may send them back as they are, and nothing changes."""
    told = {_CALLED.get(name, name): getattr(base, name) for name in _TOLD}
    return {"n_predict": -1, "seed": -1, **told}
