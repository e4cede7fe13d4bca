"""What a router asks one worker of its adapters; where the worker is a crew, each process of it."""

from typing import Any

import msgspec

from llmkit.server.adapters import AdapterSpec
from llmkit.server.errors import ApiError
from llmkit.server.router.crew import Reply
from llmkit.server.router.processes import ask_worker, no_answer
from llmkit.server.router.worker import Worker
from llmkit.server.strict_json import decode

LOAD_SECONDS = 120.0
"""That a worker may take to read an adapter."""
ASK_SECONDS = 10.0
SETTLE_SECONDS = 1.0
"""That a worker gives requests whose clients have left, before it says that memory is not free yet."""


async def adapters_of(worker: Worker) -> dict[str, AdapterSpec]:
    """Those that a worker has, by name; a crew's all have the same.

    Raises:
        ApiError: 503: it does not answer.
    """
    told, *_ = await _ask(worker, "GET", "", None, ASK_SECONDS)
    found = (AdapterSpec(one["lora_name"], one["lora_path"], one["strength"]) for one in told["data"])
    return {one.name: one for one in found}


async def load_into(worker: Worker, spec: AdapterSpec) -> list[dict[str, Any]]:
    """Load one, in the place of one of its name; what each process says.

    Raises:
        ApiError: as the worker says; 503: it does not answer.
    """
    told = {"lora_name": spec.name, "lora_path": spec.path, "strength": spec.strength, "load_inplace": True}
    return await _ask(worker, "POST", "/load", told, LOAD_SECONDS)


async def unload_from(worker: Worker, name: str) -> list[dict[str, Any]]:
    """Unload one; what each process says, where `freed` is whether its memory is free now.

    Raises:
        ApiError: 404: it has none of this name; 503: it does not answer.
    """
    told = {"lora_name": name, "wait_seconds": SETTLE_SECONDS}
    return await _ask(worker, "POST", "/unload", told, ASK_SECONDS)


def is_gone(answer: Exception) -> bool:
    """Whether a worker had no such adapter, which is what was wanted."""
    return isinstance(answer, ApiError) and answer.code == "adapter_not_found"


async def _ask(
    worker: Worker, method: str, path: str, told: dict[str, Any] | None, seconds: float
) -> list[dict[str, Any]]:
    """What a worker answers of its adapters, each of its processes.

    Raises:
        ApiError: as one of them says; 503: it does not answer.
    """
    content = None if told is None else msgspec.json.encode(told)
    replies = await ask_worker(worker, method, f"/worker/adapters{path}", content, seconds=seconds)
    answers = [_read(worker, one) for one in replies]
    failures = [one for one in answers if isinstance(one, ApiError)]
    if failures and (len(failures) == len(answers) or not all(map(is_gone, failures))):
        raise next((one for one in failures if not is_gone(one)), failures[0])
    return [one for one in answers if not isinstance(one, ApiError)]


def _read(worker: Worker, reply: Reply) -> dict[str, Any] | ApiError:
    """An answer, or what is wrong."""
    try:
        found: dict[str, Any] = decode(reply.content, dict)
    except ApiError:
        return no_answer(worker)
    if reply.status < 400:
        return found
    error = found.get("error", {})
    message, code = str(error.get("message", "it failed")), error.get("code")
    where = "" if reply.who == worker.id else f" ({reply.who})"
    return ApiError(reply.status, f"{message}{where}", code=code, param=error.get("param"))
