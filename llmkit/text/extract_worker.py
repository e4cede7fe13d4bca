"""The child of `Extractor`: `python -m llmkit.text.extract_worker METHOD SECONDS`, pages in, texts out."""

import logging
import signal
import sys
from typing import BinaryIO, cast

import msgspec

from llmkit.formats.frames import read_frame, write_frame
from llmkit.text.extract import Method, extract_text, page_title
from llmkit.text.extract_process import READY, Reply

WALL_FACTOR, WALL_SECONDS = 20.0, 60.0
"""The wall clock's limit: so many times the CPU's and so many seconds more; a loaded machine stays within."""


def serve(source: BinaryIO, sink: BinaryIO, method: Method, seconds: float) -> None:
    """Answer pages until `source` ends; a page that takes longer than `seconds` of CPU ends this process."""
    try:
        extract_text("<html><body><p>Load what there is to load.</p></body></html>", method)
    except ImportError as error:  # a package that this one needs
        write_frame(sink, f"{error}".encode())
        return
    write_frame(sink, READY)
    while (page := read_frame(source)) is not None:
        signal.setitimer(signal.ITIMER_PROF, seconds)
        signal.setitimer(signal.ITIMER_REAL, WALL_SECONDS + WALL_FACTOR * seconds)
        reply = _reply(page.decode("utf-8"), method)
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        write_frame(sink, msgspec.json.encode(reply))


def main() -> None:
    """Serve stdin to stdout; the parent ends this with the end of stdin, so Ctrl-C is for it alone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    logging.disable(logging.CRITICAL)  # trafilatura reports pages that it does not like
    method, seconds = cast(Method, sys.argv[1]), float(sys.argv[2])
    serve(sys.stdin.buffer, sys.stdout.buffer, method, seconds)


def _reply(html: str, method: Method) -> Reply:
    try:
        text = extract_text(html, method)
    except Exception as error:  # whatever a library says of a broken page, it costs that page
        return Reply(error=f"{type(error).__name__}: {str(error)[:200]}")
    return Reply(text=text.encode("utf-8", "replace").decode("utf-8"), title=page_title(html))


if __name__ == "__main__":
    main()
