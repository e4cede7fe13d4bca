"""Errors in the shapes that the two SDKs read, held against the SDKs' own classes where those are here."""

import pytest

from llmkit.errors import LlmkitError, MissingError, RemoteError, UsageError
from llmkit.server.errors import ApiError, as_api_error, no_model, refused, renamed, shortened


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


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.05, "1"), (1.0, "1"), (1.2, "2"), (1.0004, "2"), (30.0, "30")]
)
def test_retry_after_is_whole_seconds_rounded_up(seconds: float, told: str) -> None:
    headers = ApiError(429, "slow down", retry_after=seconds).headers()
    assert headers["retry-after"] == told and headers["retry-after-ms"] == str(round(seconds * 1000))


def test_hints_about_flags_are_not_told_to_clients() -> None:
    error = as_api_error(UsageError("the prompt has no token", hint="--prompt TEXT"))
    assert error.status == 400 and "--prompt" not in str(error.body())
    assert as_api_error(MissingError("no template", hint="x")).status == 400
    assert "secret" not in as_api_error(LlmkitError("secret", hint="x")).message


def test_what_a_client_is_told_in_general_is_logged_in_full(caplog: pytest.LogCaptureFixture) -> None:
    as_api_error(UsageError("n is 0", hint="--n 1"))
    assert caplog.messages == []
    as_api_error(RemoteError("http://h: 503", hint="curl h"))
    assert caplog.messages == ["http://h: 503 (curl h)"]


def test_a_parameter_is_renamed_at_its_beginning_and_the_rest_of_the_error_stays() -> None:
    error = ApiError(429, "stop_ids[1]: stop_ids are few", code="c", param="stop_ids[1]", retry_after=2.0)
    found = renamed(error, {"stop_ids": "stop_token_ids", "stop": "x"})
    assert found.body()["error"] == {
        **{"message": "stop_token_ids[1]: stop_ids are few", "type": "rate_limit_error"},
        **{"param": "stop_token_ids[1]", "code": "c"},
    }
    assert (found.status, found.retry_after) == (429, 2.0)
    assert renamed(error, {"stop": "x"}) is error and renamed(ApiError(400, "n"), {"n": "m"}).message == "n"


def test_what_a_client_wrote_at_length_comes_back_short_and_the_rest_of_the_sentence_stays() -> None:
    name = "x" * 3_000_000 + "end"
    error = refused(name, "no such parameter here")
    assert error.param is not None and len(error.param) == 100 and error.param.endswith("xend")
    assert error.message == f"{error.param}: no such parameter here" == str(error)
    assert len(ApiError(400, "a" * 10_000).message) == 500
    assert (
        len(no_model(name, ["tiny"]).message) < 200 and "there are tiny" in no_model(name, ["tiny"]).message
    )
    assert "did you mean 'tiny'" in no_model("tin", ["tiny"]).message
    assert shortened("abc", 3) == "abc" and len(shortened("abcdefghij", 9)) == 9


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
