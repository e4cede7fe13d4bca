"""`/infill`: llama.cpp's endpoint for the text in a gap, which editors ask (llama.vim, llama.vscode).

Source: llama.cpp, tools/server/README.md, "POST /infill".
"""

import msgspec

from llmkit.engine.config import SamplingConfig
from llmkit.server.ask import Ask
from llmkit.server.errors import refused
from llmkit.server.wire.llama import LlamaFields, read_alike_llama
from llmkit.server.wire.sampling import WireLimits

MOST_FILES = 1024
_NAMES = {"suffix": "input_suffix", "prompt": "input_prefix"}
"""What a body calls what has other names inside."""


class File(msgspec.Struct):
    """Another file, or a part of it; editors say more of it, such as its time."""

    text: str
    filename: str = "tmp"


class InfillRequest(LlamaFields, kw_only=True, forbid_unknown_fields=True):
    """The body."""

    input_prefix: str
    input_suffix: str
    input_extra: list[File] | None = None
    prompt: str | None = None
    """What stands before the gap in its own line."""


def read_infill(told: InfillRequest, base: SamplingConfig, limits: WireLimits, *, max_tokens: int) -> Ask:
    """What a body asks for.

    Args, Raises: see `read_alike_llama`.
    """
    if len(told.input_extra or ()) > MOST_FILES:
        raise refused("input_extra", f"at most {MOST_FILES:,} files")
    alike = read_alike_llama(told, base, limits, max_tokens=max_tokens)
    alike["names"] = {**alike["names"], **_NAMES}
    return Ask(
        kind="text",
        texts=(told.input_prefix + (told.prompt or ""),),
        suffix=told.input_suffix,
        files=tuple((one.filename, one.text) for one in told.input_extra or ()),
        **alike,
    )
