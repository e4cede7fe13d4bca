"""Servers that others run, behind the router: what of a request they would pass over without a word.

OpenAI's parameters are theirs to follow or to refuse. Those that we have beside them many servers leave
unread, and answer as if nothing had been asked. They are refused here where the server is known not to do
them; `retrieve` wherever nobody has told of an index.

A key's texts are kept apart from the next one's in their caches too, by what each server reads for that.

Sources: vLLM, entrypoints/openai/chat_completion/protocol.py; SGLang, srt/entrypoints/openai/protocol.py;
llama.cpp, tools/server/README.md. `owned_by` of /v1/models says which one it is.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from llmkit.server.errors import MOST_PARAM, ApiError, refused, shortened
from llmkit.server.gate import Caller
from llmkit.server.router.worker import Card, Worker
from llmkit.server.strict_json import as_whole
from llmkit.server.wire.llama import LLAMA
from llmkit.server.wire.rerank import RERANK

OURS = "llmkit"
BESIDE: dict[str, tuple[Any, ...]] = {
    **{"top_k": (0, -1), "min_p": (0,), "typical_p": (1,), "top_n_sigma": (0,), "xtc_probability": (0,)},
    **{"dry_multiplier": (0,), "adaptive_target": (-1,), "mirostat": (0,)},
    **{"repetition_penalty": (1,), "repeat_last_n": (-1,)},
    **{"ignore_eos": (False,), "stop_token_ids": ([],), "samplers": ()},
    **{"min_tokens": (0,), "include_stop_str_in_output": (False,)},
    **{"priority": (0,), "chat_template_kwargs": ({},), "structured_outputs": ({},)},
    "thinking_token_budget": (),
    **{"json_schema": (), "regex": (), "choice": ([],), "grammar": (), "cache_salt": ("",)},
}
"""What we have beside OpenAI's parameters, with the values that ask for nothing; null never does."""
_EVERY = {"top_k", "min_p", "ignore_eos", "chat_template_kwargs"}
DOES = {
    "vllm": _EVERY
    | {"repetition_penalty", "stop_token_ids", "priority", "structured_outputs", "cache_salt"}
    | {"min_tokens", "include_stop_str_in_output", "thinking_token_budget"},
    "sglang": _EVERY
    | {"repetition_penalty", "stop_token_ids", "json_schema", "regex", "cache_salt"}
    | {"min_tokens"},
    "llamacpp": _EVERY
    | {"typical_p", "top_n_sigma", "xtc_probability", "dry_multiplier", "adaptive_target"}
    | {"mirostat", "repeat_last_n", "samplers", "json_schema", "grammar"},
}
"""Those of them that a server follows. SGLang's `priority` means the reverse of ours."""
_TEXTS = ("/v1/completions", "/v1/chat/completions")
_ORDERED = (*_TEXTS, *LLAMA, *RERANK)
"""Where a server of ours takes a priority."""
_SALTED = (*_ORDERED, "/v1/responses", "/v1/messages")
"""Where it takes a word that keeps caches apart."""


def card_of(worker: Worker, model: str) -> Card:
    """What a worker says of a model."""
    return next((card for card in worker.cards if card.id == model), Card(model))


def passes_over(worker: Worker, model: str, content: Mapping[str, Any]) -> ApiError | None:
    """What of a request a worker would not do, and not say so; None: nothing.

    Args:
        worker: has the model.
        model: without an adapter.
        content: the body.
    """
    card = card_of(worker, model)
    if content.get("retrieve") is True and not card.told.get("has_index"):
        return refused("retrieve", "there is no index here")
    owner = card.told.get("owned_by")
    if worker.is_ours or owner == OURS:
        return None
    wanted = content.get("model")
    if wanted and wanted not in (one.id for one in worker.cards):
        told = shortened(str(wanted), MOST_PARAM)
        problem = f"model: there is no {told!r} here; adapters are asked for as its server names them"
        return ApiError(404, problem, code="model_not_found", param="model")
    does = DOES.get(str(owner))
    for name, nothing in BESIDE.items():
        value = content.get(name)
        if does is not None and name not in does and value is not None and value not in nothing:
            problem = f"the server that has this model ({owner}) does not do it"
            return refused(name, problem, code="unsupported_parameter")
    return None


def for_worker(
    worker: Worker, model: str, path: str, content: Mapping[str, Any], caller: Caller
) -> dict[str, Any]:
    """What a worker's body says otherwise than the client's; None stands for fields that are left out.

    Args:
        worker: who is asked.
        model: without an adapter.
        path: of the endpoint.
        content: the client's body.
        caller: whose it is.
    """
    if worker.is_ours:
        return {}
    owner = card_of(worker, model).told.get("owned_by")
    more: dict[str, Any] = {}
    if owner != OURS and "retrieve" in content:
        more["retrieve"] = None
    if caller.tenant:
        more |= _kept_apart(owner, path, content, caller.tenant)
    asked = as_whole(content.get("priority")) or 0
    taken = _ORDERED if owner == OURS else _TEXTS
    if path in taken and caller.lowest_priority > asked and (owner == OURS or "priority" in content):
        more["priority"] = caller.lowest_priority
    return more


def _kept_apart(owner: Any, path: str, content: Mapping[str, Any], tenant: str) -> dict[str, Any]:
    """By what a server keeps the caches of its clients apart; no client may say another's."""
    given = content.get("cache_salt") or ""
    takes = _SALTED if owner == OURS else _TEXTS if owner in ("vllm", "sglang") else ()
    if path not in takes or not isinstance(given, str):  # what is no text is for the worker to refuse
        return {}
    return {"cache_salt": _digest(tenant, given)}


def _digest(tenant: str, given: str) -> str:
    return hashlib.sha256(f"{tenant}\0{given}".encode(errors="surrogatepass")).hexdigest()
