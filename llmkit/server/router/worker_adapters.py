"""What a router asks one worker of its adapters."""

from typing import Any

import httpx
import msgspec

from llmkit.server.adapters import AdapterSpec
from llmkit.server.errors import ApiError
from llmkit.server.router.probes import headers_of
from llmkit.server.router.worker import Worker
from llmkit.server.strict_json import decode

LOAD_SECONDS = 120.0
"""That a worker may take to read an adapter."""
ASK_SECONDS = 10.0
SETTLE_SECONDS = 1.0
"""That a worker gives requests whose clients have left, before it says that memory is not free yet."""


async def adapters_of(worker: Worker) -> dict[str, AdapterSpec]:
    """Those that a worker has, by name.

    Raises:
        ApiError: 503: it does not answer.
    """
    told = await _ask(worker, "GET", "", None, ASK_SECONDS)
    found = (AdapterSpec(one["lora_name"], one["lora_path"], one["strength"]) for one in told["data"])
    return {one.name: one for one in found}


async def load_into(worker: Worker, spec: AdapterSpec) -> dict[str, Any]:
    """Load one, in the place of one of its name.

    Raises:
        ApiError: as the worker says; 503: it does not answer.
    """
    told = {"lora_name": spec.name, "lora_path": spec.path, "strength": spec.strength, "load_inplace": True}
    return await _ask(worker, "POST", "/load", told, LOAD_SECONDS)


async def unload_from(worker: Worker, name: str) -> dict[str, Any]:
    """Unload one; `freed` says whether its memory is free now.

    Raises:
        ApiError: 404: it has none of this name; 503: it does not answer.
    """
    told = {"lora_name": name, "wait_seconds": SETTLE_SECONDS}
    return await _ask(worker, "POST", "/unload", told, ASK_SECONDS)


async def _ask(
    worker: Worker, method: str, path: str, told: dict[str, Any] | None, seconds: float
) -> dict[str, Any]:
    """What a worker answers of its adapters.

    Raises:
        ApiError: as the worker says; 503: it does not answer.
    """
    content = None if told is None else msgspec.json.encode(told)
    try:
        answer = await worker.client.request(
            method,
            f"/worker/adapters{path}",
            content=content,
            timeout=seconds,
            headers={**headers_of(worker), "content-type": "application/json"},
        )
        found: dict[str, Any] = decode(answer.content, dict)
    except (httpx.TransportError, ApiError):
        raise ApiError(
            503, f"worker {worker.id} does not answer", code="worker_lost", retry_after=1.0
        ) from None
    if answer.status_code >= 400:
        error = found.get("error", {})
        message, code = str(error.get("message", "it failed")), error.get("code")
        raise ApiError(answer.status_code, message, code=code, param=error.get("param"))
    return found
