"""llmkit bench serve on the command line: what is wrong is said before anything is sent."""

from collections.abc import Callable
from typing import Any

import pytest


@pytest.mark.parametrize(
    ("args", "status", "says"),
    [
        ((), 2, "--url"),
        (("--url", "http://127.0.0.1:9"), 2, "nothing says when the load ends"),
        (("--url", "http://127.0.0.1:9", "-n", "1", "--long-share", "2"), 2, "is not between 0 and 100%"),
        (("--url", "http://127.0.0.1:9", "-n", "1"), 1, "no answer (ConnectError)"),
    ],
)
def test_what_cannot_be_measured_is_said(
    args: tuple[str, ...], status: int, says: str, llmkit_run: Callable[..., Any]
) -> None:
    done = llmkit_run("bench", "serve", *args)
    assert says in done.err and done.status >= 1 and done.out == b""
    assert (done.status == 2) == (status == 2)
