"""Prometheus reads the figures, and they add up to what was asked."""

import asyncio
from datetime import UTC, datetime

import pytest
from prometheus_client.parser import text_string_to_metric_families

from llmkit.server.admission import Admission
from llmkit.server.answer import Usage
from llmkit.server.config import AdmissionConfig
from llmkit.server.keyed_gate import KeyedGate
from llmkit.server.metrics import Metrics
from llmkit.server.usage import UsageStore
from tests.server.conftest import Serving


def test_what_prometheus_reads_adds_up_to_the_requests(serving: Serving) -> None:
    body = {"prompt": "the quick brown fox jumps over the lazy dog " * 4, "max_tokens": 3, "ignore_eos": True}

    async def ask() -> str:
        async with serving() as client:
            for _ in range(3):
                assert (await client.post("/v1/completions", json=body)).status_code == 200
            await client.post("/v1/completions", json={"prompt": ""})
            await client.get("/no/such/path")
            return (await client.get("/metrics")).text

    found = {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(asyncio.run(ask()))
        for sample in family.samples
    }
    assert found["llmkit_request_success_total", "length", "tiny"] == 3
    assert found["llmkit_generation_tokens_total", "tiny"] == 9
    assert found["llmkit_http_responses_total", "/v1/completions", "200"] == 3
    assert found["llmkit_http_responses_total", "/v1/completions", "400"] == 1
    assert found["llmkit_http_responses_total", "other", "404"] == 1
    assert found["llmkit_time_to_first_token_seconds_count", "tiny"] == 3
    assert found["llmkit_kv_cache_free_blocks", "tiny"] == found["llmkit_kv_cache_blocks", "tiny"]
    assert found["llmkit_num_requests_running", "tiny"] == 0
    assert found["llmkit_kv_restored_blocks_total", "tiny"] == 0
    hits, asked = (found[f"llmkit_prefix_cache_{one}_total", "tiny"] for one in ("hits", "queries"))
    assert 0 < hits < asked == found["llmkit_prompt_tokens_total", "tiny"]
    assert found["llmkit_model_version_info", "fp_test", "tiny"] == 1


@pytest.mark.parametrize(("answers", "written"), [({}, 11), ({"answers": 4}, 44)])
def test_tokens_of_answers_that_are_written_at_once_come_no_faster(
    answers: dict[str, int], written: int
) -> None:
    metrics = Metrics(dict, dict)
    took = {"prompt_tokens": 1, "cached_tokens": 0, "completion_tokens": written, "finish_reason": "length"}
    times = {"seconds": 6.0, "first_token_seconds": 1.0}
    metrics.add({"path": "/a", "status": 200, "model": "m", **took, **times, **answers}, ["/a"])
    # five seconds, in which each answer gets its ten tokens after the first
    assert '\nllmkit_inter_token_latency_seconds_sum{model="m"} 0.5\n' in metrics.text().decode()


def test_a_request_that_a_worker_refused_is_no_answer_and_one_whose_client_left_is() -> None:
    metrics = Metrics(dict, dict)
    tokens = {"prompt_tokens": 0, "cached_tokens": 0, "completion_tokens": 0, "finish_reason": None}
    for status in (400, 404, 499, 503):
        metrics.add({"path": "/a", "status": status, "model": "m", **tokens}, ["/a"])
    text = metrics.text().decode()
    assert '\nllmkit_request_success_total{finished_reason="abort",model="m"} 2.0\n' in text
    assert '\nllmkit_http_responses_total{path="/a",status="400"} 1.0\n' in text


def test_prompts_that_wait_to_be_encoded_and_those_refused_for_that_are_told(serving: Serving) -> None:
    async def ask() -> tuple[list[int], str, str]:
        async with serving() as client:
            served = client.app.state.serve.models.all()[0]  # type: ignore[attr-defined]
            turns = served.prompts._turns
            turns._most_waiting = 2
            held = await turns.take("somebody")
            asked = [asyncio.create_task(client.post("/tokenize", json={"prompt": "a"})) for _ in range(5)]
            while turns.waiting + turns.refused < 5:
                await asyncio.sleep(0.001)
            full = (await client.get("/metrics")).text
            turns.give_back(held)
            statuses = [one.status_code for one in await asyncio.gather(*asked)]
            return statuses, full, (await client.get("/metrics")).text

    statuses, full, after = asyncio.run(ask())
    assert sorted(statuses) == [200, 200, 503, 503, 503]
    for text, waiting in ((full, 2), (after, 0)):
        assert f'\nllmkit_num_prompts_waiting{{model="tiny"}} {waiting}.0\n' in text
        assert '\nllmkit_prompt_rejections_total{model="tiny"} 3.0\n' in text


def test_requests_that_the_file_of_usage_lacks_are_told() -> None:
    usage = UsageStore(None)
    usage.close()  # nobody writes any more
    metrics = Metrics(dict, dict, KeyedGate(None, Admission(AdmissionConfig(), lambda: 0.0), usage))
    for charged in range(3):
        line = f"\nllmkit_usage_unwritten_requests {charged}.0\n"
        assert line in metrics.text().decode()
        usage.charge("alice", "m", Usage(1, 0, 1), datetime(2026, 5, 5, tzinfo=UTC))
