"""The loop of `llmkit generate`: the texts of each row, one after the other, counted as they are written."""

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

from llmkit.engine.completion import Completion, complete
from llmkit.engine.decode import Engine
from llmkit.engine.seeds import derive_seed
from llmkit.progress import Progress
from llmkit.workflows.generate_job import Job
from llmkit.workflows.generate_output import Output
from llmkit.workflows.generate_rows import Row


@dataclass
class Written:
    """What has been written."""

    texts: int = 0
    prompt_tokens: int = 0
    """Of each text's prompt."""
    completion_tokens: int = 0
    seconds: float = 0.0
    """Of reading prompts and drawing tokens."""
    unmet: int = 0
    """Texts in which --require finds nothing."""
    cut_by_context: int = 0
    """Texts that ended with the model's context, before max_tokens."""


class Writing:
    """Writes the texts of one job, and counts them in `written`."""

    def __init__(self, job: Job, engine: Engine, output: Output, progress: Progress) -> None:
        self.written = Written()
        self._job = job
        self._engine = engine
        self._output = output
        self._progress = progress
        self._pattern = None if job.config.require is None else re.compile(job.config.require)

    def write(self, rows: Iterable[Row], total: int | None) -> None:
        """Write the texts of all rows; progress is in rows, of `total` where that is known."""
        try:
            for number, row in enumerate(rows):
                samples = row.request.sampling.samples
                for sample in range(samples):
                    self._write(_seeded(row, sample), sample, number + sample / samples, 1 / samples, total)
        except BaseException:
            self._output.abandon()
            raise

    def _write(self, row: Row, sample: int, done: float, share: float, total: int | None) -> None:
        """One text, which is `share` of a row and comes after `done` rows."""
        begin = time.perf_counter()
        room = row.request.room(self._job.model)
        count = 0

        def on_text(piece: str) -> None:
            nonlocal count
            count += 1
            self._output.write(piece)
            speed = f"{count / (time.perf_counter() - begin):,.0f}"
            self._progress.update(done + share * count / room, total, **{"tok/s": speed})

        self._output.begin(row)
        completion = complete(self._engine, row.request, self._job.tokenizer, on_text)
        self._output.end(row, completion, sample)
        self._count(row, completion, time.perf_counter() - begin)

    def _count(self, row: Row, completion: Completion, seconds: float) -> None:
        written, sampling = self.written, row.request.sampling
        written.texts += 1
        written.prompt_tokens += len(row.request.prompt)
        written.completion_tokens += len(completion.drawn)
        written.seconds += seconds
        if self._pattern is not None and not self._pattern.search(completion.text or ""):
            written.unmet += 1
        if completion.finish == "length" and len(completion.drawn) < sampling.max_tokens:
            written.cut_by_context += 1


def _seeded(row: Row, sample: int) -> Row:
    """The row with the seed of one of its texts: the first has the row's own."""
    sampling = row.request.sampling
    if not sample:
        return row
    seed = derive_seed(sampling.seed, f"sample {sample}")
    return replace(row, request=replace(row.request, sampling=replace(sampling, seed=seed)))
