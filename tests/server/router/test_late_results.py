"""A worker that ends as its request is given up: nothing is printed of that, and other faults are told."""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from llmkit.server.router.late_results import ignore_late_results


async def _give_up_as_it_is_read(path: Path) -> None:
    """Cancel a reader of anyio's in the turn in which its socket has something to read."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        async with await anyio.connect_unix(path) as stream:
            reading = asyncio.create_task(stream.receive())
            await asyncio.sleep(0.01)
            other, _ = listener.accept()
            other.close()
            asyncio.get_running_loop().call_soon(reading.cancel)
            await asyncio.wait([reading])
            assert reading.cancelled()


async def _fail_in_a_callback(path: Path) -> None:
    asyncio.get_running_loop().call_soon(path.read_bytes)
    await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("work", "ignores", "told"),
    [
        (_give_up_as_it_is_read, False, "Future.set_result"),
        (_give_up_as_it_is_read, True, ""),
        (_fail_in_a_callback, True, "read_bytes"),
    ],
)
def test_only_a_result_that_comes_too_late_is_not_told(
    work: Callable[[Path], object],
    ignores: bool,
    told: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        if ignores:
            ignore_late_results(asyncio.get_running_loop())
        await work(tmp_path / "socket")  # type: ignore[misc]

    asyncio.run(scenario())
    assert told in caplog.text and bool(caplog.text) == bool(told)
