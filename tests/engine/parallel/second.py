"""A second process of a test, for what one process cannot do twice at a time: the kernels' passes."""

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NoReturn

import torch

from llmkit.engine.engine import Engine, EngineConfig
from llmkit.engine.module_weights import pack_model
from llmkit.engine.native.weights import PackedModel
from llmkit.engine.parallel.group import GroupRanks
from llmkit.engine.parallel.mirror import Follower, Lead
from llmkit.engine.parallel.ranks import join_parts
from llmkit.kernels.library import set_threads
from llmkit.model.load import load_model
from llmkit.model.part import Part

CPU = torch.device("cpu")


def _part(folder: Path, ranks: GroupRanks) -> PackedModel:
    model = load_model(folder, part=ranks.part)
    join_parts(model, ranks)
    return pack_model(model)


def _follow(connection: Connection, store: Path) -> None:
    """Follow one engine after the other."""
    torch.set_num_threads(1)
    set_threads(1)
    ranks = GroupRanks(Part(1, 2), store, CPU)
    while (told := connection.recv()) is not None:
        folder, config = told
        follower = Follower(
            _part(folder, ranks),
            positions=config.positions,
            block_tokens=config.block_tokens,
            kv_dtype="float32",
            max_texts=config.max_texts,
        )
        while (message := connection.recv()) is not None:
            follower.obey(message)


class Second:
    """See `Followers`."""

    def __init__(self, connection: Connection, ranks: GroupRanks) -> None:
        self._connection, self._ranks = connection, ranks
        self.messages: list[bytes] = []

    def engine(self, folder: Path, config: EngineConfig) -> Engine:
        """An engine of a model in two parts; close its `lead` before there is another."""
        self._connection.send((folder, config))
        self.messages = []
        return Engine(_part(folder, self._ranks), config, lead=Lead(self))

    def tell(self, message: bytes) -> None:
        self.messages.append(message)
        self._connection.send(message)

    def lost(self, reason: str) -> NoReturn:
        raise AssertionError(reason)

    def close(self) -> None:
        self._connection.send(None)


@contextmanager
def second_process(folder: Path) -> Iterator[Second]:
    """It, until the end."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_follow, args=(there, folder / "store"), daemon=True)
    process.start()
    ranks = GroupRanks(Part(0, 2), folder / "store", CPU)
    yield Second(here, ranks)
    here.send(None)
    process.join(10)
    process.kill()
    ranks.close()
