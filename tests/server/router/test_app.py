"""The routes of a router: who is asked for what, and what it tells of itself."""

import asyncio
import json
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from llmkit.server.keys import KeyRules, Keys, digest_of
from llmkit.server.router.app import CHARGED, FREE
from tests.server.router.fakes import FakeWorker, routed, said


def run(work: Any) -> Any:
    return asyncio.run(work)


@pytest.mark.parametrize("path", [*CHARGED, *FREE])
def test_every_endpoint_of_a_worker_is_reached_and_only_answers_are_charged(path: str) -> None:
    one = FakeWorker(said("x"))

    async def scenario() -> list[dict[str, Any]]:
        router = routed(one)
        answer = await router.client.post(path, json={"model": "tiny", "prompt": "x"})
        assert answer.status_code == 200 and answer.json()["choices"][0]["text"] == "x"
        return router.log

    assert ("prompt_tokens" in run(scenario())[0]) == (path in CHARGED)


def test_models_are_those_that_the_key_may_use() -> None:
    keys = Keys(
        {"a": KeyRules(sha256=digest_of("a"), models=("other",)), "b": KeyRules(sha256=digest_of("b"))}
    )

    async def scenario() -> list[Any]:
        client = routed(FakeWorker(said("x"), name="w"), keys=keys).client
        return [
            (await client.get("/v1/models", headers={"x-api-key": key})).json()["data"] for key in ("a", "b")
        ]

    none, all_ = run(scenario())
    assert none == [] and [one["id"] for one in all_] == ["tiny"]
    assert (all_[0]["max_model_len"], all_[0]["system_fingerprint"]) == (100, "fp_w")


def test_ready_says_which_model_nobody_has() -> None:
    one = FakeWorker(said("x"))

    async def scenario() -> list[Any]:
        router = routed(one)
        seen = [await router.client.get("/ready")]
        one.worker.down()
        return [*seen, await router.client.get("/ready"), await router.client.get("/health")]

    ready, down, health = run(scenario())
    assert [ready.status_code, down.status_code, health.status_code] == [200, 503, 200]
    assert json.loads(down.content)["models"] == ["tiny"]


def test_metrics_of_workers_can_be_read_and_add_up() -> None:
    one, two = FakeWorker(said("x"), name="a"), FakeWorker(said("x"), name="b")
    two.worker.restarts = 3

    async def scenario() -> str:
        router = routed(one, two)
        for _ in range(3):
            await router.complete()
        two.worker.down()
        return (await router.client.get("/metrics")).text  # type: ignore[no-any-return]

    samples = {
        (sample.name, sample.labels.get("worker") or sample.labels.get("model", "")): sample.value
        for family in text_string_to_metric_families(run(scenario()))
        for sample in family.samples
    }
    assert [samples["llmkit_worker_up", name] for name in "ab"] == [1, 0]
    assert samples["llmkit_worker_restarts_total", "b"] == 3
    assert samples["llmkit_request_success_total", "tiny"] == 3
    assert samples["llmkit_prompt_tokens_total", "tiny"] == 21
