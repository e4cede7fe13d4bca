"""Errors in the shapes that the two SDKs read, held against the SDKs' own classes where those are here."""

import pytest

from llmkit.errors import LlmkitError, MissingError, UsageError
from llmkit.server.errors import ApiError, as_api_error, refused


def test_a_refused_parameter_is_named_in_param_and_in_the_message() -> None:
    error = refused("n", "at most 16")
    assert error.body() == {
        "error": {
            "message": "n: at most 16",
            "type": "invalid_request_error",
            "param": "n",
            "code": "invalid_value",
        }
    }


def test_overload_is_503_for_openai_and_529_for_anthropic() -> None:
    error = ApiError(503, "full", retry_after=0.2)
    assert (error.status_for("openai"), error.status_for("anthropic")) == (503, 529)
    assert error.body("anthropic") == {
        "type": "error",
        "error": {"type": "overloaded_error", "message": "full"},
    }


@pytest.mark.parametrize(("seconds", "told"), [(0.05, "1"), (1.0, "1"), (1.2, "2"), (30.0, "30")])
def test_retry_after_is_whole_seconds_rounded_up(seconds: float, told: str) -> None:
    headers = ApiError(429, "slow down", retry_after=seconds).headers()
    assert headers["retry-after"] == told and headers["retry-after-ms"] == str(round(seconds * 1000))


def test_hints_about_flags_are_not_told_to_clients() -> None:
    error = as_api_error(UsageError("the prompt has no token", hint="--prompt TEXT"))
    assert error.status == 400 and "--prompt" not in str(error.body())
    assert as_api_error(MissingError("no template", hint="x")).status == 400
    assert "secret" not in as_api_error(LlmkitError("secret", hint="x")).message


def test_the_openai_sdk_finds_the_parameter() -> None:
    httpx, openai = pytest.importorskip("httpx"), pytest.importorskip("openai")
    answer = httpx.Response(400, json=refused("n", "at most 16").body())
    client = openai.OpenAI(
        api_key="k",
        base_url="http://nowhere/v1",
        http_client=httpx.Client(transport=httpx.MockTransport(lambda request: answer)),
    )
    with pytest.raises(openai.BadRequestError) as caught:
        client.models.list()
    assert caught.value.param == "n" and caught.value.code == "invalid_value"
