"""The adapters of `llmkit serve`: those of --adapter, and what an admin loads later. No torch at import."""

from pathlib import Path
from typing import TYPE_CHECKING

from llmkit.errors import ResourceError, UsageError
from llmkit.server.adapters import AdapterSpec, ServedAdapters
from llmkit.workflows.generate.adapter import AdapterSources, open_adapter
from llmkit.workflows.generate.job import Job

if TYPE_CHECKING:
    from llmkit.model.adapters.weights import AdapterWeights
    from llmkit.server.engine_thread import EngineThread


def specs_of(sources: AdapterSources) -> list[AdapterSpec]:
    """Adapters of --adapter, in the words of a server."""
    return [AdapterSpec(one.name, str(one.path), one.strength) for one in sources.sources]


def served_adapters(job: Job, thread: "EngineThread", device: str) -> ServedAdapters:
    """The adapters of a model that is served; more come and go.

    Args:
        job: the model.
        thread: its engine's, with the job's adapters.
        device: where the model is.
    """
    from llmkit.workflows.generate.device import device_memory_bytes

    def read(spec: AdapterSpec) -> "AdapterWeights":
        if job.config.tp > 1:
            raise UsageError(
                f"adapter {spec.name!r}: --tp {job.config.tp} cuts the model, and no adapter",
                hint="llmkit merge makes one model of both",
            )
        source = open_adapter(spec.name, Path(spec.path), spec.strength)
        available = device_memory_bytes(device)
        if available is not None and source.nbytes > available:
            raise ResourceError(
                f"adapter {spec.name!r}: takes {source.nbytes:,} bytes of memory "
                f"(found {available:,} available)",
                hint="unload another one first",
            )
        from llmkit.model.adapters.load import load_adapter  # torch: a server without adapters needs none

        return load_adapter(source.path, job.model)

    known = zip(specs_of(job.adapters), (one.nbytes for one in job.adapters.sources), strict=True)
    return ServedAdapters(known, thread=thread, read=read)
