"""What a client is told when a request cannot be answered, in the shape that its library reads.

    {"error": {"message", "type", "param", "code"}}             OpenAI's
    {"type": "error", "error": {"type", "message"}}             Anthropic's

Source: OpenAI's API reference, "Error codes"; Anthropic's, "Errors".
"""

import logging
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from llmkit.errors import (
    ConfigError,
    DataError,
    LlmkitError,
    MissingError,
    ResourceError,
    UsageError,
    nearest,
)

Dialect = Literal["openai", "anthropic"]

_TYPES = {
    400: ("invalid_request_error", "invalid_request_error"),
    401: ("authentication_error", "authentication_error"),
    403: ("permission_error", "permission_error"),
    404: ("not_found_error", "not_found_error"),
    405: ("invalid_request_error", "invalid_request_error"),
    408: ("timeout_error", "timeout_error"),
    409: ("invalid_request_error", "invalid_request_error"),
    413: ("invalid_request_error", "request_too_large"),
    429: ("rate_limit_error", "rate_limit_error"),
    500: ("server_error", "api_error"),
    503: ("overloaded_error", "overloaded_error"),
}
"""Of each status: the type as OpenAI's clients know it, and as Anthropic's do."""
ANTHROPIC_OVERLOADED = 529
"""What Anthropic answers where others say 503."""
MOST_PARAM = 100
"""Characters of a parameter's name: clients choose some of them."""
MOST_MESSAGE = 500


def shortened(text: str, most: int) -> str:
    """A text of so many characters at most: of a longer one the beginning and the end."""
    if len(text) <= most:
        return text
    end = most // 3
    return f"{text[: most - end - 1]}…{text[-end:]}"


class ApiError(Exception):
    """A request that is refused, or that went wrong. What the client wrote comes back shortened.

    Attributes:
        status: of the HTTP answer.
        message: what is wrong, in one sentence; names the parameter that it is about.
        code: a word that programs can compare.
        param: the parameter.
        retry_after: seconds after which it may go well.
        retry: whether clients should try again by themselves; None: what their library does.
        details: what Anthropic's library goes on by, beside the sentence.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after: float | None = None,
        retry: bool | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        if param is not None and len(param) > MOST_PARAM:
            short = shortened(param, MOST_PARAM)
            param, message = short, message.replace(param, short)
        message = shortened(message, MOST_MESSAGE)
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.retry_after = retry_after
        self.retry = retry
        self.details = details

    @property
    def kind(self) -> str:
        """OpenAI's type of error."""
        return _TYPES.get(self.status, _TYPES[500])[0]

    def body(self, dialect: Dialect = "openai") -> dict[str, Any]:
        """The JSON of the answer, or of the event that ends a stream."""
        if dialect == "anthropic":
            kind = _TYPES.get(self.status, _TYPES[500])[1]
            told = {} if self.details is None else {"details": dict(self.details)}
            return {"type": "error", "error": {"type": kind, "message": self.message, **told}}
        named = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return {"error": named}

    def status_for(self, dialect: Dialect) -> int:
        """The status that a client of this dialect expects."""
        return ANTHROPIC_OVERLOADED if dialect == "anthropic" and self.status == 503 else self.status

    def headers(self) -> dict[str, str]:
        """When to come back; both SDKs read these."""
        told = {}
        if self.retry_after is not None:
            told["retry-after"] = str(max(1, math.ceil(self.retry_after)))
            told["retry-after-ms"] = str(max(1, round(self.retry_after * 1000)))
        if self.retry is not None:
            told["x-should-retry"] = "true" if self.retry else "false"
        return told


def refused(param: str, message: str, *, code: str = "invalid_value") -> ApiError:
    """A parameter that cannot be followed; the message begins with its name."""
    return ApiError(400, f"{param}: {message}", code=code, param=param)


def failed_inside() -> ApiError:
    """It is the server's fault, and what exactly stands in its log."""
    return ApiError(500, "the request failed inside the server", code="internal_error")


def client_left() -> ApiError:
    """Nobody waits for the answer any more."""
    return ApiError(499, "the client left", code="client_closed_request")


def not_an_admin() -> ApiError:
    """An admin's key is asked for, and this is another."""
    return ApiError(403, "this key is not an admin's", code="not_an_admin")


def no_slot() -> ApiError:
    """Every place for a text is taken, and the client asked to be told so."""
    return ApiError(503, "no slot is free", code="no_slot", retry_after=1.0)


def no_model(name: str, known: Sequence[str]) -> ApiError:
    """None of this name is here.

    Args:
        name: asked for.
        known: names that may be asked for.
    """
    told = shortened(name, MOST_PARAM)
    meant = nearest(told, known)
    more = f"; did you mean {meant!r}?" if meant else f" (there are {', '.join(known)})" if known else ""
    return ApiError(404, f"model: there is no {told!r} here{more}", code="model_not_found", param="model")


def model_not_allowed(name: str) -> ApiError:
    """A key may not use the model of this name."""
    what = f"model: this key may not use {shortened(name, MOST_PARAM)!r}"
    return ApiError(403, what, code="model_not_allowed", param="model")


def renamed(error: ApiError, names: Mapping[str, str]) -> ApiError:
    """An error with its parameter under another name, in its message too where that begins with it.

    Args:
        error: names a parameter, or none.
        names: from the name that it has to the one that the client knows; others stay.
    """
    found = re.match(r"\w+", error.param or "")
    if error.param is None or found is None or (name := names.get(found[0])) is None:
        return error
    return ApiError(
        error.status,
        re.sub(rf"^{found[0]}\b", lambda _: name, error.message),
        code=error.code,
        param=name + error.param[found.end() :],
        retry_after=error.retry_after,
        retry=error.retry,
        details=error.details,
    )


def as_api_error(error: LlmkitError, param: str | None = None) -> ApiError:
    """What our own refusal of a request is for a client: hints are about flags, and stay here.

    What is no fault of the request the client is told in general, and the log in full.

    Args:
        error: raised while a request was checked.
        param: what it is about, where that is known.
    """
    if isinstance(error, ConfigError | UsageError | DataError | ResourceError):
        return ApiError(400, error.problem, code="invalid_value", param=param)
    if isinstance(error, MissingError):
        return ApiError(400, error.problem, code="not_available", param=param)
    logging.getLogger("llmkit.serve").error("%s (%s)", error.problem, error.hint)
    return failed_inside()
