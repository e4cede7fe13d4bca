"""Adapters of a served model that come and go while it answers. No torch.

The engine knows each by a name that no other ever has: a request that was let in keeps what it asked for,
whatever is loaded or unloaded under that name meanwhile.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from llmkit.errors import LlmkitError
from llmkit.server.adapter_mixes import Mixes
from llmkit.server.errors import ApiError, as_api_error, refused

if TYPE_CHECKING:
    from llmkit.model.adapters.weights import AdapterWeights
    from llmkit.server.engine_thread import EngineThread


@dataclass(frozen=True)
class AdapterSpec:
    """An adapter as it was asked for."""

    name: str
    path: str
    strength: float = 1.0
    """What its scale is multiplied with."""


Reader = Callable[[AdapterSpec], "AdapterWeights"]
"""Reads an adapter's values; raises LlmkitError where they cannot be had."""


@dataclass(eq=False)
class _Loaded:
    """An adapter that the engine has."""

    spec: AdapterSpec
    called: str
    """By the engine."""
    nbytes: int
    users: int = 0
    """Requests that were let in with it."""
    unused: asyncio.Event = field(default_factory=asyncio.Event)
    """Set where there is none."""


class ServedAdapters:
    """What may stand behind a model's name and a colon; iterates over names.

    Attributes:
        scales: of those that change the base where a request names none: llama.cpp's global scales.
    """

    def __init__(
        self,
        loaded: Iterable[tuple[AdapterSpec, int]] = (),
        *,
        thread: "EngineThread | None" = None,
        read: Reader | None = None,
    ) -> None:
        """
        Args:
            loaded: what the engine has from the start, by the same names, and the bytes of each.
            thread: the engine's; None, as with `read`: none comes or goes.
            read: reads what is loaded.
        """
        self.scales: Mapping[str, float] = {}
        self._loaded = {spec.name: _Loaded(spec, spec.name, nbytes) for spec, nbytes in loaded}
        self._thread = thread
        self._mixes = None if thread is None else Mixes(thread.adapters)
        self._read = read
        self._changing = asyncio.Lock()
        self._leaving: set[asyncio.Task[None]] = set()
        self._numbers = count(1)

    def __iter__(self) -> Iterator[str]:
        return iter(self._loaded)

    def all(self) -> list[tuple[AdapterSpec, int]]:
        """Each, and the bytes that it takes beside the base."""
        return [(one.spec, one.nbytes) for one in self._loaded.values()]

    def marked(self, fingerprint: str, name: str | None, scales: Mapping[str, float]) -> str:
        """A fingerprint that is another where adapters change what the base says: `FINGERPRINT+a1b2c3d4`.

        An adapter that was loaded in the place of another changes it too. Another run of the server that has
        loaded the same paths has the same ones, whatever is there by then.

        Args:
            fingerprint: of the base.
            name, scales: see `used`; adapters that are not there are none.
        """
        strengths = scales if name is None else {name: 1.0}
        known = [(self._loaded[one], scale) for one, scale in strengths.items() if one in self._loaded]
        if not known:
            return fingerprint
        told = [
            (one.called, one.spec.path, scale if name is None else scale * one.spec.strength)
            for one, scale in known
        ]
        return f"{fingerprint}+{hashlib.sha256(repr(told).encode()).hexdigest()[:8]}"

    @contextlib.contextmanager
    def held(self, name: str | None) -> Iterator[str | None]:
        """What the engine calls an adapter, which stays until this ends; of None, the base alone, nothing.

        Raises:
            ApiError: 404: it is not there.
        """
        if name is None:
            yield None
            return
        one = self._get(name)
        one.users += 1
        one.unused.clear()
        try:
            yield one.called
        finally:
            one.users -= 1
            if not one.users:
                one.unused.set()

    @contextlib.asynccontextmanager
    async def used(self, name: str | None, scales: Mapping[str, float]) -> AsyncIterator[str | None]:
        """What the engine calls what a request is answered with, which stays until this ends.

        Args:
            name: of an adapter as it was loaded; None: scales say.
            scales: of adapters, several at once; of none: the base alone. 1 is an adapter's whole strength,
                whatever part of it it was loaded with.

        Raises:
            ApiError: 404: an adapter is not there; 400: it was loaded with a strength of 0; 503: see `Mixes`.
        """
        async with contextlib.AsyncExitStack() as stack:
            if name is None and scales:
                parts = tuple(
                    (stack.enter_context(self.held(one)) or "", self._share(one, scale))
                    for one, scale in scales.items()
                )
                if len(parts) > 1 or parts[0][1] != 1:
                    assert self._mixes is not None  # something has loaded them
                    yield await stack.enter_async_context(self._mixes.held(parts))
                else:
                    yield parts[0][0]
            else:
                yield stack.enter_context(self.held(name))

    async def load(self, spec: AdapterSpec, *, replace: bool = False) -> int:
        """Let requests name an adapter; the bytes that it takes.

        Args:
            spec: what is loaded.
            replace: whether it may take the place of one of its name, which requests under way keep.

        Raises:
            ApiError: 409: there is one of this name; 400: it cannot be read, or is another model's.
        """
        thread, read = self._thread, self._read
        if thread is None or read is None:
            raise ApiError(400, "no adapter comes or goes here", code="not_available")
        async with self._changing:
            if (old := self._loaded.get(spec.name)) is not None and not replace:
                raise adapter_exists(spec.name)
            called = f"{spec.name}#{next(self._numbers)}"  # no name that a client may write
            try:
                weights = await asyncio.to_thread(read, spec)
                nbytes = await thread.adapters.load(spec.name, weights, strength=spec.strength, called=called)
            except LlmkitError as error:
                raise as_api_error(error, "lora_path") from None
            self._loaded[spec.name] = _Loaded(spec, called, nbytes)
        if old is not None:
            self._leave_later(old, thread)
        return nbytes

    async def unload(self, name: str, *, wait_seconds: float) -> bool:
        """Let no new request name an adapter; those that were let in end with it.

        Args:
            name: of the adapter.
            wait_seconds: for them, until this returns.

        Returns:
            Whether they have ended, and its memory is free; else that is later.

        Raises:
            ApiError: 404: there is none of this name.
        """
        if (thread := self._thread) is None:
            raise ApiError(400, "no adapter comes or goes here", code="not_available")
        async with self._changing:
            one = self._get(name)
            del self._loaded[name]
            self.scales = {other: scale for other, scale in self.scales.items() if other != name}
        leaving = self._leave_later(one, thread)
        done, _ = await asyncio.wait((leaving,), timeout=wait_seconds)
        return bool(done)

    def _get(self, name: str) -> _Loaded:
        if name not in self._loaded:
            raise no_adapter(name)
        return self._loaded[name]

    def _share(self, name: str, scale: float) -> float:
        """What the change that an adapter makes, as it was loaded, is multiplied with.

        Raises:
            ApiError: 400.
        """
        strength = self._get(name).spec.strength
        if not strength:
            raise refused("lora", f"{name!r} was loaded with a strength of 0, which no scale makes more of")
        return scale / strength

    def _leave_later(self, one: _Loaded, thread: "EngineThread") -> "asyncio.Task[None]":
        """Give its memory back when no request has it."""
        if self._mixes is not None:
            self._mixes.forget(one.called)

        async def leave() -> None:
            if one.users:
                await one.unused.wait()
            await thread.adapters.unload(one.called)

        task = asyncio.create_task(leave())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)
        return task


def no_adapter(name: str) -> ApiError:
    """There is none of this name."""
    return ApiError(
        404, f"lora_name: there is no adapter {name!r} here", code="adapter_not_found", param="lora_name"
    )


def adapter_exists(name: str) -> ApiError:
    """There is one of this name, and nobody said that it may be replaced."""
    problem = f"lora_name: there is an adapter {name!r} already; load_inplace replaces it"
    return ApiError(409, problem, code="adapter_exists", param="lora_name")
