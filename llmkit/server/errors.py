"""What a client is told when a request cannot be answered, in the shape that its library reads.

    {"error": {"message", "type", "param", "code"}}             OpenAI's
    {"type": "error", "error": {"type", "message"}}             Anthropic's

Source: OpenAI's API reference, "Error codes"; Anthropic's, "Errors".
"""

from typing import Any, Literal

from llmkit.errors import ConfigError, DataError, LlmkitError, MissingError, ResourceError, UsageError

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


class ApiError(Exception):
    """A request that is refused, or that went wrong.

    Attributes:
        status: of the HTTP answer.
        message: what is wrong, in one sentence; names the parameter that it is about.
        code: a word that programs can compare.
        param: the parameter.
        retry_after: seconds after which it may go well.
        retry: whether clients should try again by themselves; None: what their library does.
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
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.retry_after = retry_after
        self.retry = retry

    @property
    def kind(self) -> str:
        """OpenAI's type of error."""
        return _TYPES.get(self.status, _TYPES[500])[0]

    def body(self, dialect: Dialect = "openai") -> dict[str, Any]:
        """The JSON of the answer, or of the event that ends a stream."""
        if dialect == "anthropic":
            kind = _TYPES.get(self.status, _TYPES[500])[1]
            return {"type": "error", "error": {"type": kind, "message": self.message}}
        named = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return {"error": named}

    def status_for(self, dialect: Dialect) -> int:
        """The status that a client of this dialect expects."""
        return ANTHROPIC_OVERLOADED if dialect == "anthropic" and self.status == 503 else self.status

    def headers(self) -> dict[str, str]:
        """When to come back; both SDKs read these."""
        told = {}
        if self.retry_after is not None:
            told["retry-after"] = str(max(1, round(self.retry_after + 0.499)))
            told["retry-after-ms"] = str(max(1, round(self.retry_after * 1000)))
        if self.retry is not None:
            told["x-should-retry"] = "true" if self.retry else "false"
        return told


def refused(param: str, message: str, *, code: str = "invalid_value") -> ApiError:
    """A parameter that cannot be followed; the message begins with its name."""
    return ApiError(400, f"{param}: {message}", code=code, param=param)


def as_api_error(error: LlmkitError, param: str | None = None) -> ApiError:
    """What our own refusal of a request is for a client: hints are about flags, and stay here.

    Args:
        error: raised while a request was checked.
        param: what it is about, where that is known.
    """
    if isinstance(error, ConfigError | UsageError | DataError | ResourceError):
        return ApiError(400, error.problem, code="invalid_value", param=param)
    if isinstance(error, MissingError):
        return ApiError(400, error.problem, code="not_available", param=param)
    return ApiError(500, "the request failed inside the server", code="internal_error")
