"""A line for each request, with its figures and nothing that was said."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from llmkit.server.observe import Observe, record_of
from tests.server.conftest import Serving


def records_of(serving: Serving, requests: list[dict[str, Any]], **settings: Any) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = []

    async def go() -> None:
        async with serving() as client:
            state = client.app.state.serve  # type: ignore[attr-defined]
            state.log_prompts = settings.get("log_prompts", False)
            app = Observe(client.app, state=state, tell=told.append)  # type: ignore[attr-defined]
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://server") as watched:
                for one in requests:
                    answer = await watched.post("/v1/completions", **one)
                    assert answer.headers["x-request-id"].startswith(("req_", "mine"))
                    assert answer.headers["request-id"] == answer.headers["x-request-id"]
            assert state.in_flight == 0

    asyncio.run(go())
    return told


def test_a_request_is_logged_with_its_figures_and_without_its_words(serving: Serving) -> None:
    body = {"prompt": "secret words", "max_tokens": 3, "ignore_eos": True}
    (record,) = records_of(serving, [{"json": body, "headers": {"x-request-id": "mine-1"}}])
    assert record["request_id"] == "mine-1" and record["status"] == 200 and record["model"] == "tiny"
    assert record["completion_tokens"] == 3 and record["finish_reason"] == "length"
    assert 0 < record["first_token_seconds"] <= record["seconds"]
    assert "secret" not in json.dumps(record)


def test_adapters_that_had_part_in_an_answer_are_logged_with_their_scales() -> None:
    scope = {"method": "POST", "path": "/completion", "state": {"model": "tiny:poet", "lora": {"poet": 0.5}}}
    assert record_of(scope, 200, 0.1)["lora"] == {"poet": 0.5}
    scope["state"] = {"model": "tiny", "lora": {}}
    assert "lora" not in record_of(scope, 200, 0.1)


def test_answers_that_were_written_at_once_are_logged_where_there_were_several(serving: Serving) -> None:
    more = [{"n": 2}, {"prompt": ["a", "b"], "n": 2}, {}]
    records = records_of(serving, [{"json": {"prompt": "a", "max_tokens": 1, **one}} for one in more])
    assert [one.get("answers") for one in records] == [2, 4, None]


def test_on_whose_behalf_a_key_asks_is_logged_and_no_more_of_it_than_a_name(serving: Serving) -> None:
    more = [{"user": "carol"}, {"safety_identifier": "x" * 999}, {}]
    records = records_of(serving, [{"json": {"prompt": "a", "max_tokens": 1, **one}} for one in more])
    assert [one.get("user") for one in records] == ["carol", "x" * 64, None]


def test_prompts_are_logged_where_that_was_asked_for(serving: Serving) -> None:
    (record,) = records_of(serving, [{"json": {"prompt": "secret", "max_tokens": 1}}], log_prompts=True)
    assert record["prompt"] == ("secret",)


def test_a_request_that_is_refused_is_logged_with_the_code_and_without_its_words(serving: Serving) -> None:
    wrong = [{"temperature": -1}, {"model": "secret's \"name"}, {"prompt": "secret " * 999}, {"secret": 1}]
    records = records_of(serving, [{"json": {"prompt": "a", "max_tokens": 1, **one}} for one in wrong])
    assert [one["status"] for one in records] == [400, 404, 400, 400]
    assert [one["error"] for one in records] == [
        *("invalid_value", "model_not_found", "context_length_exceeded", "unknown_parameter")
    ]
    assert "secret" not in json.dumps(records)


def test_an_error_without_a_code_is_told_by_its_type() -> None:
    scope: Any = {"method": "POST", "path": "/v1/messages"}
    body = json.dumps({"type": "error", "error": {"type": "invalid_request_error", "message": "secret"}})
    record = record_of(scope, 400, 1.0, body.encode())
    assert record["error"] == "invalid_request_error" and "secret" not in json.dumps(record)


@pytest.mark.parametrize(
    "body",
    ["", "no", "[]", '{"error": "x"}', '{"error": {"message": 1}}', '{"error": {"code": "Secret words"}}'],
)
def test_an_answer_of_another_form_has_no_reason_in_the_log(body: str) -> None:
    scope: Any = {"method": "GET", "path": "/health"}
    assert "error" not in record_of(scope, 503, 1.0, body.encode())


def test_an_id_that_could_forge_a_line_is_not_taken(serving: Serving) -> None:
    bad = [{"json": {"prompt": ""}, "headers": {"x-request-id": one}} for one in ("a b", "x" * 65, 'a"}')]
    records = records_of(serving, bad)
    assert all(one["request_id"].startswith("req_") and one["status"] == 400 for one in records)


def test_a_client_that_left_before_an_answer_is_499() -> None:
    scope: Any = {"method": "POST", "path": "/v1/completions"}
    assert record_of(scope, 0, 1.0)["status"] == 499
