"""`clean` as a stream: batches of documents in, over some processes, and out in the order they came."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec

from llmkit.formats.streams import is_terminal, open_output
from llmkit.progress import SILENT, Progress
from llmkit.workflows.clean.input import Batch, read_batches
from llmkit.workflows.clean.options import CleanFiles, CleanSettings
from llmkit.workflows.clean.steps import build_cleaner
from llmkit.workflows.clean.tally import Tally
from llmkit.workflows.clean.work import Cleaned
from llmkit.workflows.corpus_files import check_places
from llmkit.workflows.units import Piece
from llmkit.workflows.worker_pool import Handler, WorkerPool


def clean_stream(
    files: CleanFiles,
    settings: CleanSettings,
    inputs: Sequence[Path],
    check: Callable[[Tally], None],
    *,
    progress: Progress = SILENT,
) -> Tally:
    """Clean documents from `inputs`, in their order, into one file or stdout.

    Args:
        files: where things go.
        settings: what is done.
        inputs: files, folders already listed.
        check: called with what was counted so far, behind each batch; raises to stop before anything is kept.
        progress: told how far it is.

    Raises:
        UsageError: an output exists, or is or holds what is read, or two outputs are one.
        DataError, MissingError: of the readers and steps.
    """
    reads = files.reads(inputs, settings)
    check_places(files, reads)
    tally = Tally()
    flush = files.unbuffered or is_terminal(files.out)
    pieces = [Piece(str(path)) for path in inputs]
    batches = read_batches(
        pieces, field=settings.field, flowing=files.unbuffered, skips_bad=settings.keep_bad
    )
    with ExitStack() as stack:
        rejects: BinaryIO | None = None
        if files.rejects is not None:
            rejects = stack.enter_context(open_output(files.rejects, force=files.force, inputs=reads))
        out = stack.enter_context(open_output(files.out, force=files.force, inputs=reads))
        for cleaned in stack.enter_context(_results(batches, settings, files.workers)):
            out.write(cleaned.kept)
            if flush:
                out.flush()
            if rejects is not None:
                rejects.write(cleaned.rejects)
            tally.merge(cleaned.tally)
            check(tally)
            progress.update(tally.bytes, documents=tally.documents, kept=tally.kept)
    return tally


def cleaner_handler(settings: bytes) -> Handler:
    """What a worker does with a batch: both as msgpack. What its steps hold open ends with the process."""
    cleaner = build_cleaner(msgspec.json.decode(settings, type=CleanSettings))
    decode = msgspec.msgpack.Decoder(Batch).decode
    encode = msgspec.msgpack.Encoder().encode
    return lambda task: encode(cleaner(decode(task)))


@contextmanager
def _results(batches: Iterator[Batch], settings: CleanSettings, workers: int) -> Iterator[Iterator[Cleaned]]:
    """Results of batches, in their order."""
    if workers == 1:
        with build_cleaner(settings) as cleaner:
            yield map(cleaner, batches)
        return
    with WorkerPool(cleaner_handler, (msgspec.json.encode(settings),), workers=workers) as pool:
        tasks = map(msgspec.msgpack.Encoder().encode, batches)
        yield map(msgspec.msgpack.Decoder(Cleaned).decode, pool.ordered(tasks, name=_batch_name))


def _batch_name(number: int) -> str:
    return f"batch {number + 1}"
