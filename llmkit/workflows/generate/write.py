"""The loop of `llmkit generate`: the texts of each row, as many at once as the engine takes, counted."""

import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from llmkit.engine.completion import Completion, complete_all
from llmkit.engine.engine import Engine
from llmkit.engine.meter import Meter
from llmkit.engine.request import Request
from llmkit.engine.seeds import derive_seed
from llmkit.formats.streams import would_wait
from llmkit.progress import Progress
from llmkit.workflows.generate.code import first_code_block
from llmkit.workflows.generate.job import Job
from llmkit.workflows.generate.output import Output
from llmkit.workflows.generate.row import Refusal, Row


@dataclass
class Written:
    """What has been written."""

    texts: int = 0
    prompt_tokens: int = 0
    """Of each text's prompt; of a text with calls in it, of all prompts that its parts came after."""
    completion_tokens: int = 0
    seconds: float = 0.0
    """Of reading prompts and drawing tokens."""
    unmet: int = 0
    """Texts in which --require finds nothing."""
    cut_by_context: int = 0
    """Texts that ended with the model's context, before max_tokens."""
    refused: int = 0
    """Rows whose answer is an error."""
    without_code: int = 0
    """Texts in which --extract-code finds no code block."""


class Writing:
    """Writes the texts of one job.

    Attributes:
        written: what has been written.
        meter: how fast.
    """

    def __init__(self, job: Job, engine: Engine, output: Output, progress: Progress) -> None:
        self.written = Written()
        self._job = job
        self.meter = Meter(engine)
        self._output = output
        self._progress = progress
        self._pattern = None if job.config.require is None else re.compile(job.config.require)

    def write(self, rows: Iterable[Row | Refusal], total: int | None) -> None:
        """Write the texts of all rows; progress is in rows, of `total` where that is known."""
        source = self._job.files.jsonl
        ordered = not self._job.config.unordered
        texts = _Texts(
            rows,
            lambda: source is not None and not self.meter.is_idle and would_wait(source),
            self._refuse,
            ordered=ordered,
        )
        begin, done, drawn = time.perf_counter(), 0.0, 0
        opened = -1
        try:
            for piece in complete_all(self.meter, texts, self._job.tokenizer, ordered=ordered):
                row, sample = texts.pending[piece.index]
                if piece.index > opened and ordered:
                    opened = piece.index
                    texts.refuse_before(opened)
                    self._output.begin(row)
                self._output.write(piece.text, piece.token)
                drawn += 1
                if piece.completion is not None:
                    del texts.pending[piece.index]
                    self._output.end(row, piece.completion, sample)
                    done += 1 / row.request.sampling.samples
                    self._count(row, piece.completion)
                self.written.seconds = time.perf_counter() - begin
                shown = done + self.written.refused
                self._progress.update(shown, total, **{"tok/s": f"{drawn / self.written.seconds:,.0f}"})
            texts.refuse_before(None)
        except BaseException:
            self._output.abandon()
            raise

    def _count(self, row: Row, completion: Completion) -> None:
        written, sampling = self.written, row.request.sampling
        written.texts += 1
        written.prompt_tokens += row.prompt_tokens
        written.completion_tokens += len(completion.drawn)
        text = row.prefill + (completion.text or "")
        if self._pattern is not None and not self._pattern.search(text):
            written.unmet += 1
        if self._job.config.extract_code and first_code_block(text) is None:
            written.without_code += 1
        if completion.finish == "length" and len(completion.drawn) < sampling.max_tokens:
            written.cut_by_context += 1

    def _refuse(self, row: Refusal) -> None:
        self._output.refuse(row)
        self.written.refused += 1


class _Texts:
    """The requests of all texts, a row's samples one after the other; and which row each one is of."""

    def __init__(
        self,
        rows: Iterable[Row | Refusal],
        must_not_wait: Callable[[], bool],
        refuse: Callable[[Refusal], None],
        *,
        ordered: bool,
    ) -> None:
        """
        Args:
            rows: read one by one.
            must_not_wait: whether the next row would keep texts waiting that are at work.
            refuse: takes the rows that have no text, in their turn.
            ordered: whether that is after the texts before them.
        """
        self.pending: dict[int, tuple[Row, int]] = {}
        """Row and sample of the texts that are not complete."""
        self._rows = iter(rows)
        self._must_not_wait = must_not_wait
        self._refuse = refuse
        self._ordered = ordered
        self._refused: deque[tuple[int, Refusal]] = deque()

    def refuse_before(self, index: int | None) -> None:
        """It is the turn of the refused rows before a text; None: of all."""
        while self._refused and (index is None or self._refused[0][0] <= index):
            self._refuse(self._refused.popleft()[1])

    def __iter__(self) -> Iterator[Request | None]:
        index = 0
        while True:
            while self._must_not_wait():
                yield None
            row = next(self._rows, None)
            if row is None:
                return
            if isinstance(row, Refusal):
                self._refused.append((index, row))
                if not self._ordered or not self.pending:  # nothing comes before it any more
                    self.refuse_before(None)
                continue
            for sample in range(row.request.sampling.samples):
                if sample in row.skip:
                    continue
                own = seeded(row, sample)
                self.pending[index] = own, sample
                yield own.request
                index += 1


def seeded(row: Row, sample: int) -> Row:
    """The row with the seed of one of its texts: the first has the row's own."""
    sampling = row.request.sampling
    if not sample:
        return row
    seed = derive_seed(sampling.seed, f"sample {sample}")
    return replace(row, request=replace(row.request, sampling=replace(sampling, seed=seed)))
