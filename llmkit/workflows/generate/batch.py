"""Rows of OpenAI's batch files: {"custom_id", "method", "url", "body"}, read as what is asked of the engine.

Every parameter of a body is honoured, or says nothing here (`store: false`), or is refused by its name: none
is passed over. Beside OpenAI's parameters a body may have ours (top_k, min_p, regex, …).

Source: OpenAI's API reference, "Batch: The request input object", "Create chat completion", "Create
completion".
"""

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from llmkit.engine.config import NO_RULE
from llmkit.formats.digest import digest_bytes
from llmkit.formats.jsonl import MALFORMED, Line, Record, decode_field, encode_line
from llmkit.server.ask import ToolChoice
from llmkit.server.errors import ApiError
from llmkit.server.wire.messages_in import read_messages, read_template_kwargs, read_thinking_budget
from llmkit.server.wire.rules import RuleFields, read_rule, rule_names
from llmkit.server.wire.sampling import HINTS, SAYS_NOTHING, the_most_tokens
from llmkit.server.wire.tools import read_offer
from llmkit.workflows.generate.overrides import OVERRIDES

if TYPE_CHECKING:
    from llmkit.workflows.generate.calls import Calls

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
_RULES: dict[str, Any] = {told.name: told.type for told in msgspec.structs.fields(RuleFields)}
_SHARED: dict[str, Any] = {
    **{name: kind for name, kind in OVERRIDES.items() if name not in ("samples", "logprobs", *NO_RULE)},
    **_RULES,
    **{"model": str, "n": int, "user": str, "safety_identifier": str, "max_completion_tokens": int},
    **dict.fromkeys(HINTS, str),
}
_OWN: dict[str, dict[str, Any]] = {
    CHAT: {
        **{"messages": list[dict[str, Any]], "logprobs": bool, "top_logprobs": int},
        **{"tools": list[dict[str, Any]], "tool_choice": str | dict[str, Any]},
        **{"parallel_tool_calls": bool, "reasoning_effort": str, "chat_template_kwargs": dict[str, Any]},
        "thinking_token_budget": int,
    },
    TEXT: {"prompt": str | list[Any], "suffix": str, "logprobs": int, "echo": bool},
}
_SAYS_NOTHING: dict[str, tuple[Any, ...]] = {
    **SAYS_NOTHING,
    "stream": (False,),
    **{"tools": ([],), "tool_choice": ("none", "auto"), "parallel_tool_calls": (True, False)},
    **{"functions": ([],), "function_call": ("none", "auto"), "modalities": (["text"],)},
    **{"verbosity": ("medium",), "suffix": ("",), "best_of": (1,)},
}
"""Parameters that are not done here, with the values that ask for nothing; null never does."""


class RefusedError(Exception):
    """A row that gets an error for its answer."""

    def __init__(
        self, problem: str, *, param: str | None = None, status: int = 400, code: str | None = None
    ) -> None:
        """
        Args:
            problem: what is wrong, for whoever reads the answer.
            param: the parameter that it is about.
            status: as HTTP has it.
            code: OpenAI's name for this kind.
        """
        super().__init__(problem)
        self.problem = problem
        self.param = param
        self.status = status
        self.code = code

    @classmethod
    def of(cls, error: ApiError) -> "RefusedError":
        """What the server would answer."""
        return cls(error.message, param=error.param, status=error.status, code=error.code)


@dataclass(frozen=True)
class Call:
    """Who asked, and how the answer is to look."""

    custom_id: str
    key: str
    """Of the row's content: the same row has the same in every run."""
    where: str
    """The row's `file:line`."""
    url: str
    model: str
    echo: bool = False
    calls: "Calls | None" = None
    """What may be called; None: there is nothing."""

    @property
    def is_chat(self) -> bool:
        """Whether a chat completion answers it."""
        return self.url == CHAT


@dataclass(frozen=True)
class Body:
    """What is asked for."""

    given: dict[str, Any] = field(default_factory=dict)
    """By the names of OVERRIDES, but for rules."""
    rule: dict[str, Any] = field(default_factory=dict)
    """What the text must be, as fields of SamplingConfig; empty: that is not said."""
    names: dict[str, str] = field(default_factory=dict)
    """What the row calls the rule's field of SamplingConfig; errors are told in its words."""
    messages: list[dict[str, Any]] = field(default_factory=list)
    """Of a chat, as templates know them."""
    tools: tuple[dict[str, Any], ...] = ()
    """What the model is told that it may call, as OpenAI writes them."""
    choice: ToolChoice = field(default_factory=ToolChoice)
    parallel: bool = True
    """Whether there may be several calls in one answer."""
    template_kwargs: dict[str, Any] = field(default_factory=dict)
    """What is said to the chat template beside all that."""
    thinking_budget: int | None = None
    """Tokens that may be thought; None: any number."""
    prompt: str | list[int] = ""
    """Of a text."""
    suffix: str = ""
    """What comes after the gap behind it; empty: there is none."""
    owner: str = ""
    """The user on whose behalf it is: each has a turn."""
    echo: bool = False
    model: str | None = None
    """As it names who is to answer: the model, or one of its adapters."""


def is_call(record: Record) -> bool:
    """Whether a record is a row of a batch file."""
    return "body" in record and ("custom_id" in record or "url" in record)


def read_call(line: Line, model: str) -> Call:
    """Who asks.

    Args:
        line: the row.
        model: what the model is called that answers.

    Raises:
        DataError: no custom_id, without which there is no answer.
    """
    custom_id = decode_field(line, "custom_id", str)
    try:
        url = msgspec.json.decode(line.record.get("url", b"null"), type=str)
    except MALFORMED:
        url = ""
    return Call(custom_id, digest_bytes(encode_line(line.record))[:24], line.where, url, model)


def read_body(record: Record, names: Iterable[str]) -> Body:
    """What a row asks for.

    Args:
        record: the row.
        names: what its `model` may say.

    Raises:
        RefusedError: it cannot be done.
    """
    method, url = (_decoded(record, name, str) for name in ("method", "url"))
    if method != "POST":
        raise RefusedError(f"method: {method!r}: only POST is answered", param="method")
    if url not in _OWN:
        known = " and ".join(_OWN)
        raise RefusedError(f"url: {url!r} is not answered here: {known} are", param="url", status=404)
    body: Record = _decoded(record, "body", Record)
    kinds = _SHARED | _OWN[url]
    told = {}
    for name in body:
        if bytes(body[name]) == b"null":
            continue
        if name in kinds:
            told[name] = _decoded(body, name, kinds[name])
        elif name not in _SAYS_NOTHING:
            raise RefusedError(f"{name}: no such parameter here", param=name, code="unknown_parameter")
        elif _decoded(body, name, Any) not in _SAYS_NOTHING[name]:
            raise RefusedError(f"{name}: is not done here", param=name, code="unsupported_parameter")
    _check_model(told.get("model"), tuple(names))
    try:
        return _chat(told) if url == CHAT else _text(told)
    except ApiError as error:
        raise RefusedError.of(error) from None


def _chat(told: dict[str, Any]) -> Body:
    if "messages" not in told:
        raise RefusedError("messages: missing", param="messages")
    given = _given(told)
    if told.get("logprobs"):
        given["logprobs"] = told.get("top_logprobs", 0)
    elif "top_logprobs" in told:
        raise RefusedError("top_logprobs: needs logprobs: true", param="top_logprobs")
    elif "logprobs" in told:
        given["logprobs"] = None
    offer = read_offer(told.get("tools"), told.get("tool_choice"), ())
    return Body(
        given=given,
        **_rule(told),
        messages=list(read_messages(told["messages"])),
        tools=() if offer.choice.mode == "none" else offer.tools,
        choice=offer.choice,
        parallel=told.get("parallel_tool_calls", True) and offer.choice.name is None,
        template_kwargs=read_template_kwargs(told.get("chat_template_kwargs"), told.get("reasoning_effort")),
        thinking_budget=read_thinking_budget(told.get("thinking_token_budget")),
        owner=_owner(told),
        model=told.get("model"),
    )


def _text(told: dict[str, Any]) -> Body:
    if "prompt" not in told:
        raise RefusedError("prompt: missing", param="prompt")
    from llmkit.server.wire.completions import read_prompts  # jinja2, sqlite: only such rows wait

    suffix = told.get("suffix", "")
    texts, ids = read_prompts(told["prompt"], suffix=suffix)
    if len(texts) + len(ids) > 1:
        raise RefusedError("prompt: several in one row: give each a row of its own", param="prompt")
    prompt = texts[0] if texts else list(ids[0])
    given, echo = _given(told), told.get("echo", False)
    if "logprobs" in told:
        given["logprobs"] = told["logprobs"]
    if echo and "logprobs" in told:
        raise RefusedError("echo: not with logprobs: those of a prompt are not computed", param="echo")
    if echo and not isinstance(prompt, str):
        raise RefusedError("echo: not with a prompt of ids", param="echo")
    if echo and suffix:
        raise RefusedError("echo: not with a suffix", param="echo")
    return Body(
        given=given,
        **_rule(told),
        prompt=prompt,
        suffix=suffix,
        owner=_owner(told),
        echo=echo,
        model=told.get("model"),
    )


def _given(told: dict[str, Any]) -> dict[str, Any]:
    given = {name: told[name] for name in OVERRIDES if name in told and name not in ("logprobs", *NO_RULE)}
    most = the_most_tokens(told.get("max_tokens"), told.get("max_completion_tokens"))
    given |= {} if most is None else {"max_tokens": most}
    if given.get("seed") == -1:  # any, as requests say it too
        del given["seed"]
    return given | ({"samples": told["n"]} if "n" in told else {})


def _rule(told: dict[str, Any]) -> dict[str, Any]:
    """`rule` and `names` of a body."""
    rules = RuleFields(**{name: told[name] for name in _RULES if name in told})
    most = sys.maxsize  # a file of one's own may have rules of any length
    return {"rule": read_rule(rules, most), "names": rule_names(rules, most)}


def _owner(told: dict[str, Any]) -> str:
    return "\0".join(told[name] for name in ("user", "safety_identifier") if name in told)


def _check_model(asked: str | None, names: tuple[str, ...]) -> None:
    if asked is not None and asked not in names:
        raise RefusedError(
            f"model: {asked!r} is not what runs here, {names[0]!r} is",
            param="model",
            status=404,
            code="model_not_found",
        )


def _decoded(record: Record, name: str, kind: Any) -> Any:
    if name not in record:
        return None
    try:
        return msgspec.json.decode(record[name], type=kind)
    except MALFORMED as error:
        raise RefusedError(f"{name}: {error}", param=name) from None
