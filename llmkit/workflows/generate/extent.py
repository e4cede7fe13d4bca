"""The most that a job can ask for, which decides how much memory is set aside."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from llmkit.workflows.generate.job import Job
from llmkit.workflows.generate.row import Refusal, Row

_BYTES_A_TOKEN = 2
"""Of a call's result: most texts have more bytes to a token, and so fewer tokens than are counted on."""


@dataclass(frozen=True)
class Extent:
    """The most that a job can ask for."""

    rows: int
    prompt_tokens: int
    """Of the longest prompt."""
    positions: int
    """Of the longest text with its prompt, without its last token, which is never read."""
    texts: int
    """Of all rows' samples."""


def extent_of(job: Job, rows: Iterable[Row | Refusal]) -> Extent:
    """The extent of some rows, which are read to their end."""
    count = prompt_tokens = positions = texts = 0
    for row in rows:
        count += 1
        if isinstance(row, Refusal):
            continue
        texts += row.request.sampling.samples
        length = len(row.request.prompt)
        prompt_tokens = max(prompt_tokens, length)
        positions = max(positions, length + row.request.room(job.model) - 1)
    return Extent(count, prompt_tokens, positions, texts)


def tool_extent(job: Job, extent: Extent) -> Extent:
    """The same where functions may be called: texts come one at a time, and have the results in them."""
    tools = job.files.tools
    if job.talk is None or tools is None:
        return extent
    turn = job.sampling.max_tokens + tools.limits.output_bytes // _BYTES_A_TOKEN
    most = extent.positions + job.talk.toolbox.max_calls * turn
    return replace(extent, positions=min(most, job.model.max_position_embeddings), texts=min(extent.texts, 1))
