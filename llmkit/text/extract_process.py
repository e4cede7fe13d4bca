"""Extraction under a limit: a child process that a page may hang or crash, at the cost of that page.

The limit is CPU time of the child, set by a timer of the kernel that ends it (SIGPROF) wherever it hangs, in
Python or in C. So the answer does not depend on how busy the machine is. A second timer on the wall clock,
far longer, ends a child that waits for something that never comes. Frames both ways: length (u32, little
endian), JSON.
"""

import signal
import subprocess
import sys
from types import TracebackType

import msgspec

from llmkit.errors import MissingError
from llmkit.formats.frames import read_frame, write_frame
from llmkit.machine import signal_name
from llmkit.text.extract import PACKAGES, Method, require_extractor
from llmkit.text.rule import Verdict

CPU_SECONDS = 10.0
READY = b"ready"
"""The child's first frame, once its libraries are loaded; else why they are not."""


class Reply(msgspec.Struct, frozen=True):
    """What the child says of one page; `error` is the exception that the library raised."""

    text: str = ""
    title: str = ""
    error: str = ""


class Extraction(msgspec.Struct, frozen=True):
    """The text and title of a page, or why there is none."""

    text: str
    title: str
    verdict: Verdict | None


class Extractor:
    """Extracts pages one after the other in a child process, which is started again when a page ended it.

    A context manager. Rules of its verdicts: `extract timeout` (value and threshold in CPU seconds),
    `extract crash` (the signal or status that ended the child), `extract error` (what the library raised),
    `extract empty` (nothing in the page is content).
    """

    def __init__(self, method: Method, *, seconds: float = CPU_SECONDS) -> None:
        """MissingError where the method's package is not installed; the child starts with the first page.

        Args:
            method: fast or precise.
            seconds: CPU time for one page.
        """
        require_extractor(method)
        self._method = method
        self._seconds = seconds
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Extractor":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __call__(self, html: str) -> Extraction:
        """Extract one page.

        Raises:
            MissingError: the child does not start.
        """
        page = html.encode("utf-8", "replace")
        reply = self._ask(page)
        if isinstance(reply, Verdict):
            return Extraction("", "", reply)
        verdict = None
        if reply.error:
            verdict = Verdict("extract error", reply.error, None)
        elif not reply.text:
            verdict = Verdict("extract empty", 0, 1)
        return Extraction(reply.text, reply.title, verdict)

    def close(self) -> None:
        """End the child."""
        if self._child is not None:
            child, self._child = self._child, None
            child.kill()
            child.communicate()

    def _ask(self, page: bytes) -> Reply | Verdict:
        for _ in range(2):  # a child that died between two pages, or while it was sent one, had not begun it
            child = self._child or self._start()
            self._child = child
            assert child.stdin is not None and child.stdout is not None
            try:
                write_frame(child.stdin, page)
            except BrokenPipeError:
                self.close()
                continue
            content = read_frame(child.stdout)
            if content is not None:
                return msgspec.json.decode(content, type=Reply)
            return self._ended(child)
        return Verdict("extract crash", "the child process takes no page", None)

    def _ended(self, child: subprocess.Popen[bytes]) -> Verdict:
        status = child.wait()
        self.close()
        if -status in (signal.SIGPROF, signal.SIGALRM):
            return Verdict("extract timeout", self._seconds, self._seconds)
        name = signal_name(-status) if status < 0 else f"exit status {status}"
        return Verdict("extract crash", name, None)

    def _start(self) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "llmkit.text.extract_worker", self._method, str(self._seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert child.stdout is not None
        said = read_frame(child.stdout)
        if said != READY:
            child.communicate()
            why = "" if not said else f": {' '.join(said.decode(errors='replace').split())[:200]}"
            raise MissingError(
                f"--extract {self._method}: {PACKAGES[self._method]} does not load{why}",
                hint="pip install 'llmkit[corpus]'",
            )
        return child
