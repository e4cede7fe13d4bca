"""A model as it is served: how it draws, makes vectors, judges and calls, as its files and the flags say."""

from typing import TYPE_CHECKING

from llmkit.model.fingerprint import model_fingerprint
from llmkit.model.relevance import Relevance, read_relevance
from llmkit.server.config import ServeConfig
from llmkit.workflows.generate.job import Job

if TYPE_CHECKING:
    from llmkit.server.adapters import ServedAdapters
    from llmkit.server.engine_thread import EngineThread
    from llmkit.server.prompts import PromptPool, TemplateFacts
    from llmkit.server.served import Served


def fingerprint_of(job: Job, version: str) -> str:
    """What is told as `system_fingerprint`: of the weights, and the version's name where it has one."""
    digest = f"fp_{model_fingerprint(job.files.model, job.model)[:16]}"
    return f"{digest}-{version}" if version else digest


def relevance_of(job: Job) -> Relevance | None:
    """How the model judges whether documents answer a query; None: it was not made for that.

    Raises:
        ConfigError, DataError: see `read_relevance`; or it judges by a token that it does not have.
    """
    found = read_relevance(job.files.model)
    if found is not None:
        found.check(job.model.vocab_size, job.files.model)
    return found


def served_model(
    job: Job,
    config: ServeConfig,
    name: str,
    context: int,
    thread: "EngineThread",
    prompts: "PromptPool",
    template: "TemplateFacts",
    adapters: "ServedAdapters",
) -> "Served":
    """The model of a job.

    Args:
        job: the model, opened.
        config: whom to serve.
        name: what clients call it.
        context: positions that a text may have.
        thread: writes its texts.
        prompts: encodes its prompts.
        template: what was found out of its chat template.
        adapters: what may stand behind its name.

    Raises:
        ConfigError, DataError: its files ask for something that is not supported, or are damaged.
    """
    from llmkit.server.served import Served

    assert job.tokenizer is not None
    return Served(
        name,
        fingerprint=fingerprint_of(job, config.version),
        config=job.model,
        tokenizer=job.tokenizer,
        thread=thread,
        prompts=prompts,
        base=job.sampling,
        context=context,
        turn_end=template.turn_end,
        tool_form=config.tool_form,
        tool_turns=template.turns,
        tells_thoughts=config.reasoning_format == "auto",
        adapters=adapters,
        pooling=job.pooling,
        relevance=relevance_of(job),
    )
