"""Parts of one model in threads of this process: what processes do, without their start."""

import queue
import threading
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from llmkit.engine.engine import Engine, EngineConfig
from llmkit.engine.parallel.mirror import Follower, Lead
from llmkit.engine.parallel.ranks import join_parts
from llmkit.model.load import load_model
from llmkit.model.part import Part
from llmkit.model.transformer import Transformer

SECONDS = 60


class Meeting:
    """Where threads leave what they have for each other."""

    def __init__(self, count: int) -> None:
        self.barrier = threading.Barrier(count, timeout=SECONDS)
        self.slots: list[Tensor] = [torch.empty(0)] * count
        self.sums = 0

    def exchanged(self, index: int, own: Tensor) -> list[Tensor]:
        self.slots[index] = own.clone()
        self.barrier.wait()
        found = list(self.slots)
        self.barrier.wait()
        return found


class ThreadRanks:
    """See `Ranks`."""

    def __init__(self, part: Part, meeting: Meeting) -> None:
        self.part, self._meeting = part, meeting

    def sum(self, branch: Tensor) -> Tensor:
        self._meeting.sums += self.part.index == 0
        return branch.copy_(torch.stack(self._meeting.exchanged(self.part.index, branch)).sum(0))

    def gathered(self, scores: Tensor, total: int) -> Tensor:
        return torch.cat(self._meeting.exchanged(self.part.index, scores), dim=-1)


class ThreadFollowers:
    """See `Followers`."""

    def __init__(self, followers: list[Follower], meeting: Meeting) -> None:
        self.messages: list[bytes] = []
        self._meeting = meeting
        self._queues = [queue.SimpleQueue[bytes | None]() for _ in followers]
        self._threads = [
            threading.Thread(target=self._run, args=pair, daemon=True)
            for pair in zip(followers, self._queues, strict=True)
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, follower: Follower, messages: "queue.SimpleQueue[bytes | None]") -> None:
        while (message := messages.get()) is not None:
            try:
                follower.obey(message)
            except Exception:
                self._meeting.barrier.abort()
                raise

    def tell(self, message: bytes) -> None:
        self.messages.append(message)
        for one in self._queues:
            one.put(message)

    def lost(self, reason: str) -> NoReturn:
        self._meeting.barrier.abort()
        raise AssertionError(reason)

    def close(self) -> None:
        for one in self._queues:
            one.put(None)
        for thread in self._threads:
            thread.join(SECONDS)


def load_parts(
    folder: Path, count: int, dtype: torch.dtype = torch.float32
) -> tuple[list[Transformer], Meeting]:
    meeting = Meeting(count)
    parts = [Part(index, count) for index in range(count)]
    models = [load_model(folder, dtype=dtype, part=part) for part in parts]
    for model, part in zip(models, parts, strict=True):
        join_parts(model, ThreadRanks(part, meeting))
    return models, meeting


def divided_engine(
    folder: Path,
    count: int,
    config: EngineConfig,
    **options: Any,
) -> tuple[Engine, ThreadFollowers]:
    """An engine whose model is in so many parts; close its `lead`."""
    models, meeting = load_parts(folder, count)
    followers = [
        Follower(
            model,
            positions=config.positions,
            block_tokens=config.block_tokens,
            kv_dtype=config.kv_dtype or "float32",
            max_texts=config.max_texts,
        )
        for model in models[1:]
    ]
    told = ThreadFollowers(followers, meeting)
    return Engine(models[0], config, lead=Lead(told), **options), told
