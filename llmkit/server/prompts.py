"""Prompts prepared in processes that can be killed: how long and how large each may be is bounded."""

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import Any

import msgspec

from llmkit.engine.grammar import Rule
from llmkit.server.errors import ApiError, as_api_error
from llmkit.server.prompt_worker import as_error, frame

START_SECONDS = 60.0


class PromptPool:
    """Processes that turn prompts into ids."""

    def __init__(
        self, tokenizer_path: Path, *, workers: int = 2, seconds: float = 10.0, most_bytes: int = 1 << 20
    ) -> None:
        """
        Args:
            tokenizer_path: as `load_tokenizer` takes it.
            workers: processes.
            seconds: that one prompt may take.
            most_bytes: of one prompt, with everything that is rendered with it.
        """
        self._path = tokenizer_path
        self._seconds = seconds
        self._most_bytes = most_bytes
        self._idle: asyncio.Queue[_Process] = asyncio.Queue()
        self._processes = [_Process(tokenizer_path) for _ in range(workers)]
        for process in self._processes:
            self._idle.put_nowait(process)

    async def start(self) -> None:
        """Start the processes, so that no request waits for one."""
        await asyncio.gather(*(process.start() for process in self._processes))

    async def close(self) -> None:
        """End them."""
        await asyncio.gather(*(process.kill() for process in self._processes))

    async def encode(self, text: str, *, special: bool = True) -> list[int]:
        """The ids of a plain prompt.

        Args:
            text: the prompt.
            special: whether what belongs before a text is put there.

        Raises:
            ApiError: 400: it is too long, takes too long, or the tokenizer refuses it.
        """
        answer = await self._ask({"text": text, "special": special}, "prompt")
        return list(answer["ids"])

    async def encode_chat(
        self,
        messages: tuple[dict[str, Any], ...],
        *,
        tools: tuple[dict[str, Any], ...] = (),
        kwargs: dict[str, Any] | None = None,
        prefill: str = "",
    ) -> tuple[list[int], str]:
        """The ids of a conversation that the assistant is to go on with, and its text.

        Raises:
            ApiError: 400: as for `encode`, or the template refuses the messages.
        """
        message = {
            "messages": messages,
            "tools": tools or None,
            "kwargs": kwargs or {},
            "prefill": prefill,
        }
        answer = await self._ask(message, "messages")
        return list(answer["ids"]), str(answer["text"])

    async def check_rule(self, rule: Rule | None, vocab_size: int) -> None:
        """Find out what is wrong with a rule, and how long it takes to compile, where that holds nobody up.

        Raises:
            ApiError: 400: it is wrong, or takes too long.
        """
        if rule is not None:
            kind, value = rule
            values = [value] if isinstance(value, str) else list(value)
            await self._ask({"rule": [kind, *values], "vocab_size": vocab_size}, kind)

    async def _ask(self, message: dict[str, Any], param: str) -> dict[str, Any]:
        try:
            content = msgspec.msgpack.encode(message)
        except UnicodeEncodeError:
            raise ApiError(400, f"{param}: half a character", code="invalid_value", param=param) from None
        if len(content) > self._most_bytes:
            problem = f"{param}: {len(content):,} bytes, and at most {self._most_bytes:,} are read"
            raise ApiError(400, problem, code="context_length_exceeded", param=param)
        # In a task of its own: a client that leaves must not leave a process with half an answer.
        answer = await asyncio.shield(asyncio.create_task(self._run(content, param)))
        error = as_error(answer)
        if error is not None:
            raise as_api_error(error, param)
        return answer

    async def _run(self, content: bytes, param: str) -> dict[str, Any]:
        process = await self._idle.get()
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
            self._idle.put_nowait(process)


class _Process:
    """A worker, started when it is needed."""

    def __init__(self, tokenizer_path: Path) -> None:
        self._path = tokenizer_path
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        if self._process is not None and self._process.returncode is None:
            return
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "llmkit.server.prompt_worker", str(self._path)),
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
        size = int.from_bytes(await self._process.stdout.readexactly(4), "little")
        return await self._process.stdout.readexactly(size)
