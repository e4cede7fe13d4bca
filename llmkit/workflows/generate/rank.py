"""Another process of --tp: `python -m llmkit.workflows.generate.rank`, started by the first one.

Its settings come as the first line of stdin, and every pass as a message after it. It says a line of JSON on
stdout when it has its part of the model, and ends when stdin does, which is when the first one is gone.
"""

import os
import select
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from llmkit.engine.config import Weights
from llmkit.errors import LlmkitError, told
from llmkit.formats.frames import read_frame
from llmkit.model.part import Part

if TYPE_CHECKING:
    from llmkit.engine.native.weights import PackedModel
    from llmkit.engine.parallel.ranks import Ranks
    from llmkit.model.transformer import Transformer

MEET = b""
"""The first message: all have their parts, and try how they add up."""


@dataclass(frozen=True, kw_only=True)
class RankSettings:
    """A process's part, and what all of them have in common."""

    model: str
    part: Part
    store: str
    """The file through which they find each other."""
    device: str
    dtype: str
    rope_scaling: dict[str, Any] | None
    threads: int
    positions: int
    block_tokens: int
    kv_dtype: str
    max_texts: int
    native: bool
    """Whether the kernels compute."""
    weights: Weights


def messages(stream: BinaryIO) -> Iterator[bytes]:
    """What the first process sends, until it is gone."""
    while (message := read_frame(stream)) is not None:
        yield message


def end_with_first(stdin: int) -> None:
    """End this process when the first one does, also where it waits for it on a GPU."""

    def wait() -> None:
        poll = select.poll()
        poll.register(stdin, 0)  # nothing but its end
        poll.poll()
        os._exit(1)

    threading.Thread(target=wait, name="first", daemon=True).start()


def load_part(settings: RankSettings, ranks: "Ranks") -> "Transformer | PackedModel":
    """A process's part of the model, joined to the others; packed, where the kernels compute.

    Raises:
        DataError, MissingError, ConfigError: see `load_model`.
    """
    import torch

    from llmkit.engine.module_weights import pack_model
    from llmkit.engine.parallel.ranks import join_parts
    from llmkit.kernels.library import set_threads
    from llmkit.kernels.packed import ROUNDED_FORMATS
    from llmkit.model.dtypes import DTYPES
    from llmkit.model.load import load_model

    torch.set_num_threads(settings.threads)
    model = load_model(
        Path(settings.model),
        dtype=DTYPES[settings.dtype],
        device=settings.device,
        rope_scaling=settings.rope_scaling,
        part=settings.part,
    )
    join_parts(model, ranks)
    if not settings.native:
        return model
    set_threads(settings.threads)
    packed = pack_model(model, ROUNDED_FORMATS.get(settings.weights), release=True)
    torch.set_num_threads(1)  # its threads would spin in the kernels' turn
    return packed


def follow(settings: RankSettings, ready: int) -> None:
    """Have a part of a model, and compute what the first process does.

    Raises:
        LlmkitError: there is no such model.
    """
    import torch

    from llmkit.engine.parallel.group import GroupRanks
    from llmkit.engine.parallel.mirror import Follower

    device = torch.device(settings.device)
    ranks = GroupRanks(settings.part, Path(settings.store), device)
    follower = Follower(
        load_part(settings, ranks),
        positions=settings.positions,
        block_tokens=settings.block_tokens,
        kv_dtype=settings.kv_dtype,
        max_texts=settings.max_texts,
    )
    os.write(ready, b"{}\n")
    for message in messages(sys.stdin.buffer):
        if message == MEET:
            ranks.sum(torch.zeros(1, device=device))
        else:
            follower.obey(message)
    os._exit(0)  # nobody is left to say goodbye to


def main() -> None:
    """Follow until the first process is gone."""
    ready = os.dup(1)
    os.dup2(2, 1)
    for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # sent to all of a group, it means the first
        signal.signal(one, signal.SIG_IGN)
    settings = msgspec.json.decode(sys.stdin.buffer.readline(), type=RankSettings)
    end_with_first(sys.stdin.fileno())
    try:
        follow(settings, ready)
    except LlmkitError as error:
        os.write(ready, msgspec.json.encode(told(error)) + b"\n")
        sys.exit(error.status)


if __name__ == "__main__":
    main()
