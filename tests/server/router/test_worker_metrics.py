"""Figures of all workers' engines in one text, each with its worker's name."""

import asyncio
from collections import Counter

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from llmkit.server.handoff import WorkerGate
from llmkit.server.router.fleet import Version
from llmkit.server.router.probes import ask_cards
from llmkit.server.router.worker import Worker
from llmkit.server.router.worker_metrics import engines_text, merged
from tests.server.conftest import Serving
from tests.server.router.crews import crew_of
from tests.server.router.fakes import FakeWorker, Routing, said

TEXT = """# HELP llmkit_iterations_total Passes
# TYPE llmkit_iterations_total counter
llmkit_iterations_total{model="m"} 7.0
# HELP llmkit_num_requests_running Texts
# TYPE llmkit_num_requests_running gauge
llmkit_num_requests_running{model="m"} 2.0
# HELP llmkit_prompt_tokens_total Tokens read
# TYPE llmkit_prompt_tokens_total counter
llmkit_prompt_tokens_total{model="m"} 9.0
"""


def test_a_worker_is_named_and_what_the_router_counts_is_left_out() -> None:
    (running, passes) = sorted(
        text_string_to_metric_families(
            merged({"a": TEXT, "b": TEXT.replace("7.0", "5.0"), "c": "", "d": "{"}).decode()
        ),
        key=lambda one: one.type,
        reverse=True,
    )
    assert (passes.name, passes.type) == ("llmkit_iterations", "counter")
    assert [(one.labels["worker"], one.labels["model"], one.value) for one in passes.samples] == [
        ("a", "m", 7.0),
        ("b", "m", 5.0),
    ]
    assert (running.name, len(running.samples)) == ("llmkit_num_requests_running", 2)


@pytest.mark.parametrize("status", [200, 404])
def test_a_worker_that_has_no_such_figures_or_does_not_answer_is_left_out(status: int) -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(status, text="<html>no</html>"))
    page = Worker("page", httpx.AsyncClient(transport=transport, base_url="http://w"), is_own=False)
    page.up(())
    silent = FakeWorker(said("x"), name="silent")
    silent.fails = httpx.ConnectError
    assert asyncio.run(engines_text([page, silent.worker])) == b""


def test_each_family_is_told_once_and_the_engines_add_up(serving: Serving) -> None:
    async def go() -> str:
        async with (
            serving(behind_router=True, gate=WorkerGate()) as one,
            serving(behind_router=True, gate=WorkerGate()) as two,
        ):
            workers = [Worker("a", one), Worker("b", two)]
            for worker in workers:
                worker.up(await ask_cards(worker, 5.0))
            router = Routing(Version("", 1.0, workers))
            for number in range(4):
                body = {"prompt": [number, 5, 6], "max_tokens": 3, "ignore_eos": True}
                assert (await router.client.post("/v1/completions", json=body)).status_code == 200
            return (await router.client.get("/metrics")).text

    families = list(text_string_to_metric_families(asyncio.run(go())))
    assert [name for name, times in Counter(one.name for one in families).items() if times > 1] == []
    found = {one.name: one for one in families}
    read = {one.labels["worker"]: one.value for one in found["llmkit_prefix_cache_queries"].samples}
    assert set(read) == {"a", "b"} and sum(read.values()) == 4 * 3
    (total,) = (one for one in found["llmkit_prompt_tokens"].samples if one.name.endswith("_total"))
    assert total.value == 4 * 3 and "worker" not in total.labels


def test_each_replica_of_a_crew_tells_its_own(serving: Serving) -> None:
    async def go() -> str:
        async with crew_of(serving, [None, None]) as (group, _):
            return (await engines_text(group.versions[""].workers)).decode()

    families = {one.name: one for one in text_string_to_metric_families(asyncio.run(go()))}
    found = families["llmkit_num_requests_running"].samples
    assert [one.labels["worker"] for one in found] == ["host/0", "host/1"]
