"""How long a text with calls in it may become, with their results."""

from dataclasses import replace

from llmkit.workflows.generate.extent import Extent
from llmkit.workflows.generate.job import Job

_BYTES_A_TOKEN = 2
"""Of a result, at least, as a rule: what memory is set aside for."""


def tool_extent(job: Job, extent: Extent) -> Extent:
    """The extent of some rows, with the results that their texts may have in them, one text at a time."""
    tools = job.files.tools
    if job.talk is None or tools is None:
        return extent
    turn = job.sampling.max_tokens + tools.limits.output_bytes // _BYTES_A_TOKEN
    most = extent.positions + job.talk.toolbox.max_calls * turn
    return replace(extent, positions=min(most, job.model.max_position_embeddings), texts=min(extent.texts, 1))
