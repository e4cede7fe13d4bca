"""Versions get their conversations, stand in for each other, and are taken back."""

import asyncio
from typing import Any

import pytest

from llmkit.server.errors import ApiError
from llmkit.server.gate import Caller
from llmkit.server.router.fleet import Fleet, Group, Version
from llmkit.server.router.rollout import RollbackConfig
from llmkit.server.router.worker import Card
from tests.server.router.fakes import FakeWorker, Routing, refusing, said


def versions(second: Any = None, weight: float = 50.0) -> list[Version]:
    one, two = FakeWorker(said("v1"), name="a"), FakeWorker(second or said("v2"), name="b")
    return [Version("v1", 100 - weight, [one.worker]), Version("v2", weight, [two.worker])]


def texts(router: Routing, prompts: list[str], **more: Any) -> Any:
    async def ask() -> list[str]:
        answers = [await router.complete(prompt, **more) for prompt in prompts]
        return [one.json()["choices"][0]["text"] for one in answers]

    return ask()


def test_a_conversation_stays_with_its_version_and_conversations_are_split() -> None:
    prompts = [f"conversation {number}" for number in range(12)]

    async def scenario() -> None:
        router = Routing(*versions())
        first, again = await texts(router, prompts), await texts(router, prompts)
        assert first == again and set(first) == {"v1", "v2"}
        assert len(set(await texts(router, prompts, user="carol"))) == 1

    asyncio.run(scenario())


def test_a_version_that_is_down_is_stood_in_for() -> None:
    both = versions(weight=100.0)

    async def scenario() -> None:
        router = Routing(*both)
        assert await texts(router, ["a"]) == ["v2"]
        both[1].workers[0].down()
        assert (await router.complete("a")).status_code == 503  # v1 has no weight: nobody is to get it
        both[0].weight = 1.0
        assert await texts(router, ["a"]) == ["v1"]

    asyncio.run(scenario())


def test_a_new_version_that_fails_is_taken_back_and_the_old_one_answers_all() -> None:
    both = versions(refusing(500))

    async def scenario() -> list[int]:
        router = Routing(*both, fleet=Fleet(RollbackConfig(least_requests=5)))
        return [(await router.complete(f"{number}")).status_code for number in range(40)]

    statuses = asyncio.run(scenario())
    assert statuses.count(500) == 5 and statuses[-10:] == [200] * 10
    assert [(one.weight, one.rolled_back) for one in both] == [(100.0, False), (0.0, True)]


def test_an_old_version_is_never_taken_back_for_a_new_one() -> None:
    fleet = Fleet(RollbackConfig(least_requests=1))
    old, new = versions()
    for one in (old, new):
        fleet.add_version("tiny", one)
    fleet.went(fleet.groups["tiny"], old, failed=True)
    assert old.weight == 50.0


def test_remote_workers_of_one_model_are_its_replicas() -> None:
    fleet = Fleet()
    workers = [FakeWorker(said("x"), name=name, is_own=False).worker for name in "ab"]
    workers[1].cards = (Card("tiny"), Card("other"))
    for one in (*workers, workers[0]):
        fleet.learn(one)
    assert {name: len(group.main.workers) for name, group in fleet.groups.items()} == {"tiny": 2, "other": 1}


def test_a_model_that_no_remote_worker_has_any_more_is_not_there() -> None:
    fleet = Fleet()
    one, two = (FakeWorker(said("x"), name=name, is_own=False).worker for name in "ab")
    one.cards = (Card("tiny"), Card("tiny:poet"))
    for worker in (one, two):
        fleet.learn(worker)
    one.cards = (Card("tiny:poet"),)
    fleet.learn(one)
    assert {name: group.main.workers for name, group in fleet.groups.items()} == {
        "tiny": [two],
        "tiny:poet": [one],
    }
    one.cards = ()
    fleet.learn(one)
    assert set(fleet.groups) == {"tiny"}


@pytest.mark.parametrize(
    ("name", "models", "status"),
    [("tinny", None, 404), ("tiny", frozenset({"x"}), 403), ("tiny:poet", frozenset({"tiny"}), 403)],
)
def test_a_model_that_is_not_there_or_not_allowed_is_refused(
    name: str, models: frozenset[str] | None, status: int
) -> None:
    fleet = Fleet()
    fleet.add_version("tiny", versions()[0])
    with pytest.raises(ApiError) as caught:
        fleet.find(name, Caller(models=models))
    assert caught.value.status == status
    assert fleet.find("tiny:poet", Caller()).name == fleet.find(None, Caller()).name == "tiny"


def test_who_asks_for_a_model_that_is_not_there_is_told_of_all_that_the_list_of_models_has() -> None:
    one = FakeWorker(said("a"), name="a")
    one.worker.up((Card("tiny", 100, "fp"), Card("tiny:poet", 100, "fp_poet")))

    async def go() -> list[Any]:
        router = Routing(Version("", 100.0, [one.worker]))
        listed = (await router.client.get("/v1/models")).json()["data"]
        wrong = await router.complete(model="gpt-4o")
        near = await router.complete(model="tinypoet")
        return [[card["id"] for card in listed], *(each.json()["error"]["message"] for each in (wrong, near))]

    listed, wrong, near = asyncio.run(go())
    assert listed == ["tiny", "tiny:poet"] and "(there are tiny, tiny:poet)" in wrong
    assert "did you mean 'tiny:poet'" in near


@pytest.mark.parametrize(
    ("wanted", "lora", "name"),
    [
        (None, None, "tiny"),
        ("tiny:cook", None, "tiny:cook"),
        ("tiny:none", None, "tiny"),
        ("tiny", [{"id": 1, "scale": 2}, {"id": 0, "scale": 0.5}], "tiny:poet+cook"),
        ("tiny", [{"id": 1, "scale": 1}, {"id": 0, "scale": 0}], "tiny:cook"),
        ("tiny", [{"id": 2, "scale": 1}], "tiny"),
        ("tiny", {"id": 1}, "tiny"),
    ],
)
def test_a_request_is_counted_under_its_adapters_as_far_as_there_are_any(
    wanted: str | None, lora: Any, name: str
) -> None:
    worker = FakeWorker(said("v1"), name="a").worker
    worker.cards = tuple(Card(one) for one in ("tiny", "tiny:poet", "tiny:cook"))
    assert Group("tiny", {"v1": Version("v1", 1.0, [worker])}).known_name(wanted, lora) == name
