"""Prompts prepared in processes that can be killed: how long and how large each may be is bounded."""

import asyncio
import contextlib
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from llmkit.engine.grammar import Rule
from llmkit.formats.frames import LENGTH, frame
from llmkit.server.each import each
from llmkit.server.errors import ApiError, as_api_error, refused
from llmkit.server.prompt_worker import as_error
from llmkit.server.turns import Turns
from llmkit.tokens.tools.turns import ToolTurns

S = TypeVar("S")
T = TypeVar("T")
START_SECONDS = 60.0
BYTES_PER_TOKEN = 16
"""More than a token of any language or code has on average: what has more of them than the context has tokens
is refused unread."""
LEAST_BYTES = 8192
_IDS_BYTES = 8 << 20
"""Of a list of ids, which no body has room for more than a million of."""
_RULE_BYTES = 1 << 20
"""Of a rule; a request's is held to less."""


@dataclass(frozen=True)
class TemplateFacts:
    """What is found out of a chat template by rendering it."""

    turn_end: int | None
    """Id of the token that ends a turn."""
    turns: ToolTurns
    """How it takes tools."""
    problem: str = ""
    """Why it was not found out."""


def most_prompt_bytes(context: int) -> int:
    """Bytes of a prompt that may be read by a model of so many positions."""
    return max(LEAST_BYTES, BYTES_PER_TOKEN * context)


class PromptPool:
    """Processes that turn prompts into ids, and ids into text.

    `tenant` is whose prompt it is: they take turns.
    """

    def __init__(
        self,
        tokenizer_path: Path,
        *,
        workers: int = 2,
        seconds: float = 10.0,
        most_bytes: int = 1 << 20,
        most_waiting: int = 256,
    ) -> None:
        """
        Args:
            tokenizer_path: as `load_tokenizer` takes it.
            workers: processes.
            seconds: that one prompt may take.
            most_bytes: of one prompt, with everything that is rendered with it.
            most_waiting: prompts that wait for a process.
        """
        self._path = tokenizer_path
        self._seconds = seconds
        self.most_bytes = most_bytes
        self._processes = [_Process(tokenizer_path) for _ in range(workers)]
        self._turns = Turns(self._processes, most_waiting=most_waiting, what="prompts", clock=time.monotonic)

    @property
    def waiting(self) -> int:
        """Prompts that wait for a process."""
        return self._turns.waiting

    @property
    def refused(self) -> int:
        """Prompts that were refused because too many waited."""
        return self._turns.refused

    async def start(self) -> None:
        """Start the processes, so that no request waits for one.

        Where it is cancelled, or one does not start, all that were being started are there or gone behind it.
        """
        starts = (process.start() for process in self._processes)
        for failed in await asyncio.gather(*starts, return_exceptions=True):
            if failed is not None:
                raise failed

    async def close(self) -> None:
        """End them."""
        await asyncio.gather(*(process.kill() for process in self._processes))

    async def encode(
        self,
        text: str,
        *,
        special: bool = True,
        whole: bool = False,
        marks: bool = False,
        parse_special: bool = False,
        suffix: str | None = None,
        files: Sequence[tuple[str, str]] = (),
        param: str = "prompt",
        tenant: str = "",
    ) -> list[int]:
        """The ids of a plain prompt.

        Args:
            text: the prompt.
            special: whether what belongs before a text is put there.
            whole: whether what belongs behind one is put there too.
            marks: whether it is a conversation as a template has written it, marks, beginning and all.
            parse_special: whether what looks like a special token is one, in any other text.
            suffix: what comes after a gap behind it; None: there is no gap.
            files: names and texts of other files, told before one with a gap.
            param: what the request calls it.
            tenant: whose it is.

        Raises:
            ApiError: 400: it is too long, takes too long, or the tokenizer refuses it; 503: too many wait.
        """
        message = {
            **{"text": text, "special": special, "whole": whole, "marks": marks},
            **{"suffix": suffix, "files": files, "parse_special": parse_special},
        }
        answer = await self._ask(message, param, tenant)
        return list(answer["ids"])

    async def encode_all(
        self,
        texts: Sequence[str],
        *,
        whole: bool = False,
        marks: bool = False,
        suffix: str | None = None,
        files: Sequence[tuple[str, str]] = (),
        param: str = "prompt",
        tenant: str = "",
    ) -> list[list[int]]:
        """The ids of the prompts of one request, of which no more wait at once than there are processes.

        Raises:
            ApiError: see `encode`; the others are given up.
        """
        work = partial(
            self.encode, whole=whole, marks=marks, suffix=suffix, files=files, param=param, tenant=tenant
        )
        return await self.each(work, texts)

    async def decode_all(self, prompts: Sequence[Sequence[int]], *, tenant: str = "") -> list[str]:
        """The texts of the prompts of one request that came as ids, as `encode_all` has it."""
        return await self.each(partial(self.decode, tenant=tenant), prompts)

    async def each(self, work: Callable[[S], Coroutine[Any, Any, T]], given: Sequence[S]) -> list[T]:
        """What some work here gives of each, no more at once than there are processes."""
        return await each(work, given, at_once=len(self._processes))

    async def encode_chat(
        self,
        messages: tuple[dict[str, Any], ...],
        *,
        tools: tuple[dict[str, Any], ...] = (),
        kwargs: dict[str, Any] | None = None,
        prefill: str = "",
        param: str = "messages",
        tenant: str = "",
    ) -> tuple[list[int], str]:
        """The ids of a conversation that the assistant is to go on with, and its text.

        Raises:
            ApiError: 400: as for `encode`, or the template refuses the messages.
        """
        message = {
            **{"messages": messages, "tools": tools or None},
            **{"kwargs": kwargs or {}, "prefill": prefill},
        }
        answer = await self._ask(message, param, tenant)
        return list(answer["ids"]), str(answer["text"])

    async def decode(self, ids: Sequence[int], param: str = "prompt", *, tenant: str = "") -> str:
        """The text of some ids. It holds up nobody here: the tokenizer lets no other thread run meanwhile.

        Args:
            ids: all of the vocabulary.
            param: what the request calls them.
            tenant: whose they are.

        Raises:
            ApiError: 400: it takes too long; 503: too many wait.
        """
        answer = await self._ask({"ids": ids}, param, tenant, most_bytes=_IDS_BYTES)
        return str(answer["text"])

    async def check_rule(self, rule: Rule | None, vocab_size: int, *, tenant: str = "") -> None:
        """Find out what is wrong with a rule, and how long it takes to compile, where that holds nobody up.

        Raises:
            ApiError: 400: it is wrong, or takes too long; 503: too many wait.
        """
        if rule is not None:
            kind, value = rule
            values = [value] if isinstance(value, str) else list(value)
            message = {"rule": [kind, *values], "vocab_size": vocab_size}
            await self._ask(message, kind, tenant, most_bytes=_RULE_BYTES)

    async def try_template(self) -> TemplateFacts:
        """What a server must know of the chat template; one that takes too long says nothing."""
        try:
            told = await self._ask({"template": True}, "chat template", "")
        except ApiError as error:
            return TemplateFacts(None, ToolTurns(shows_tools=False, shows_calls=False), error.message)
        return TemplateFacts(told["turn_end"], ToolTurns(**told["turns"]))

    async def _ask(
        self, message: dict[str, Any], param: str, tenant: str, *, most_bytes: int | None = None
    ) -> dict[str, Any]:
        most = most_bytes or self.most_bytes
        try:
            content = msgspec.msgpack.encode(message)
        except UnicodeEncodeError:
            raise refused(param, "half a character") from None
        except OverflowError:  # somewhere in a call's arguments, or in a tool's schema
            raise refused(param, "a whole number of more than 64 bits") from None
        if len(content) > most:
            problem = f"{param}: {len(content):,} bytes, and at most {most:,} are read"
            raise ApiError(400, problem, code="context_length_exceeded", param=param)
        process = await self._turns.take(tenant)
        # In a task of its own: a client that leaves must not leave a process with half an answer.
        answer = await asyncio.shield(asyncio.create_task(self._run(process, content, param)))
        error = as_error(answer)
        if error is not None:
            raise as_api_error(error, param)
        return answer

    async def _run(self, process: "_Process", content: bytes, param: str) -> dict[str, Any]:
        try:
            await process.start()  # not in the prompt's time
            return await asyncio.wait_for(process.ask(content), self._seconds)
        except TimeoutError:
            await process.kill()
            problem = f"{param}: takes more than {self._seconds:g} seconds to prepare"
            raise ApiError(400, problem, code="too_costly", param=param) from None
        except (asyncio.IncompleteReadError, ConnectionError):
            await process.kill()
            raise ApiError(400, f"{param}: cannot be prepared", code="too_costly", param=param) from None
        finally:
            self._turns.give_back(process)


class _Process:
    """A worker, started when it is needed."""

    def __init__(self, tokenizer_path: Path) -> None:
        self._path = tokenizer_path
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        if self._process is not None and self._process.returncode is None:
            return
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "llmkit.server.prompt_worker", str(self._path)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the server, which ends it
        )
        await asyncio.wait_for(self._read(), START_SECONDS)

    async def ask(self, content: bytes) -> dict[str, Any]:
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(frame(content))
        await self._process.stdin.drain()
        answer: dict[str, Any] = msgspec.msgpack.decode(await self._read())
        return answer

    async def kill(self) -> None:
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        self._process = None

    async def _read(self) -> bytes:
        assert self._process is not None and self._process.stdout is not None
        (size,) = LENGTH.unpack(await self._process.stdout.readexactly(LENGTH.size))
        return await self._process.stdout.readexactly(size)
