"""Prompts are prepared elsewhere, within bounds, and a hostile one holds nobody up."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from llmkit.server.errors import ApiError
from llmkit.server.prompts import PromptPool, _Process, most_prompt_bytes
from llmkit.tokens.prompt import PromptEncoder
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.tokens.tools.turns import tool_turns

HELLO = ({"role": "user", "content": "hello"},)


def with_pool(folder: Path, work: Callable[[PromptPool], Awaitable[Any]], **settings: Any) -> Any:
    async def go() -> Any:
        pool = PromptPool(folder, workers=1, **settings)
        try:
            return await work(pool)
        finally:
            await pool.close()

    return asyncio.run(go())


def test_ids_are_those_of_generate_and_bounds_are_kept(tokenizer_folder: Path, tokenizer: Tokenizer) -> None:
    encoder = PromptEncoder(tokenizer)

    async def work(pool: PromptPool) -> None:
        assert await pool.encode("the fox <|end|>") == encoder.encode("the fox <|end|>")
        ids, text = await pool.encode_chat(HELLO, prefill="Well")
        assert text == encoder.render(list(HELLO)) + "Well" and ids == encoder.encode_rendered(text)
        await pool.check_rule(("regex", "a+"), 300)
        for broken, param in (
            (("regex", "a("), "regex"),
            (("json_schema", "{"), "json_schema"),
            (("tools", "start: nothing"), "tools"),
        ):
            with pytest.raises(ApiError) as caught:
                await pool.check_rule(broken, 300)
            assert (caught.value.status, caught.value.param) == (400, param)
        for prompt in ("x" * 5000, "\ud800"):
            with pytest.raises(ApiError) as caught:
                await pool.encode(prompt)
            assert (caught.value.status, caught.value.param) == (400, "prompt")
        for beyond in (1 << 64, -(1 << 63) - 1):
            with pytest.raises(ApiError, match="64 bits") as caught:
                await pool.encode_chat(HELLO, tools=({"parameters": {"minimum": beyond}},))
            assert caught.value.status == 400

    with_pool(tokenizer_folder, work, most_bytes=4000)


def test_a_template_that_never_ends_is_killed_and_the_next_prompt_is_prepared(
    tokenizer_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "hostile"
    shutil.copytree(tokenizer_folder, folder)
    loops = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    hostile = "{% if messages[0].content == 'hello' %}" + loops + "{% endif %}"
    (folder / "chat_template.jinja").write_text(hostile)

    async def work(pool: PromptPool) -> list[int]:
        await pool.start()
        with pytest.raises(ApiError, match=r"takes more than 0\.3 seconds") as caught:
            await pool.encode_chat(HELLO)
        assert caught.value.status == 400
        pool._seconds = 30.0  # the process that was killed is started again
        return await pool.encode("fox")

    assert with_pool(folder, work, seconds=0.3)


def test_a_template_is_tried_out_where_it_can_be_stopped(
    tokenizer_folder: Path, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    facts = with_pool(tokenizer_folder, lambda pool: pool.try_template())
    assert facts.turn_end == PromptEncoder(tokenizer).turn_end == tokenizer.id_of("<|im_end|>")
    assert facts.turns == tool_turns(tokenizer) and facts.problem == ""
    folder = tmp_path / "hostile"
    shutil.copytree(tokenizer_folder, folder)
    loops = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    (folder / "chat_template.jinja").write_text(loops)
    facts = with_pool(folder, lambda pool: pool.try_template(), seconds=0.3)
    assert facts.turn_end is None and not facts.turns.shows_tools
    assert facts.problem == "chat template: takes more than 0.3 seconds to prepare"


@pytest.mark.parametrize(("context", "most"), [(256, 8192), (4096, 65_536), (131_072, 2_097_152)])
def test_a_prompt_may_have_sixteen_bytes_a_position(context: int, most: int) -> None:
    assert most_prompt_bytes(context) == most


def test_a_million_ids_become_text_within_the_time_of_a_prompt(
    tokenizer_folder: Path, tokenizer: Tokenizer
) -> None:
    (one,) = tokenizer.backend.encode("a").ids
    many = [one] * (1 << 20)
    assert with_pool(tokenizer_folder, lambda pool: pool.decode(many)) == "a" * len(many)
    with pytest.raises(ApiError, match="tokens: takes more than") as caught:
        with_pool(tokenizer_folder, lambda pool: pool.decode(many, "tokens"), seconds=0.01)
    assert caught.value.status == 400


def test_ids_of_several_prompts_become_their_texts_in_order_and_one_that_cannot_gives_up_the_others(
    tokenizer_folder: Path, tokenizer: Tokenizer
) -> None:
    rows = [tokenizer.backend.encode(text).ids for text in ("a fox", "the", "fox a")]
    assert with_pool(tokenizer_folder, lambda pool: pool.decode_all(rows)) == ["a fox", "the", "fox a"]

    async def left(pool: PromptPool) -> int:
        with pytest.raises(ApiError, match="takes more than"):
            await pool.decode_all([rows[0] * (1 << 18)] * 4)
        await asyncio.sleep(0)
        return pool._turns.waiting

    assert with_pool(tokenizer_folder, left, seconds=0.01) == 0


def test_a_client_that_leaves_does_not_leave_its_answer_to_the_next(tokenizer_folder: Path) -> None:
    async def work(pool: PromptPool) -> tuple[list[int], list[int]]:
        await pool.start()
        gone = asyncio.create_task(pool.encode("lazy dog"))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        return await pool.encode("fox"), await pool.encode("fox")

    first, second = with_pool(tokenizer_folder, work)
    assert first == second


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What takes a process, as it does."""
    seen: list[str] = []
    ask = _Process.ask

    async def told(process: _Process, content: bytes) -> dict[str, Any]:
        seen.append(msgspec.msgpack.decode(content)["text"])
        return await ask(process, content)

    monkeypatch.setattr(_Process, "ask", told)
    return seen


def test_prompts_of_one_tenant_wait_behind_its_own(tokenizer_folder: Path, begun: list[str]) -> None:
    async def work(pool: PromptPool) -> None:
        many = [asyncio.create_task(pool.encode(f"a{one}", tenant="alice")) for one in range(4)]
        await asyncio.sleep(0)
        await pool.encode("b", tenant="bob")
        await asyncio.gather(*many)

    with_pool(tokenizer_folder, work)
    assert begun == ["a0", "a1", "b", "a2", "a3"]


def test_a_prompt_whose_client_left_while_it_waited_takes_no_process(
    tokenizer_folder: Path, begun: list[str]
) -> None:
    async def work(pool: PromptPool) -> None:
        first, gone, last = (asyncio.create_task(pool.encode(one)) for one in ("first", "gone", "last"))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(first, last)

    with_pool(tokenizer_folder, work)
    assert begun == ["first", "last"]


def test_more_prompts_than_may_wait_are_told_when_to_come_back(tokenizer_folder: Path) -> None:
    async def work(pool: PromptPool) -> None:
        asked = (pool.encode("fox", tenant="alice") for _ in range(5))
        answers = await asyncio.gather(*asked, return_exceptions=True)
        refused = [one for one in answers if isinstance(one, ApiError)]
        assert {(one.status, one.code, one.retry_after) for one in refused} == {(503, "queue_full", 1.0)}
        assert len(refused) == 2

    with_pool(tokenizer_folder, work, most_waiting=2)


def test_the_prompts_of_one_request_do_not_fill_the_queue_and_one_that_is_refused_ends_the_others(
    tokenizer_folder: Path, begun: list[str]
) -> None:
    texts = [f"{number} foxes" for number in range(20)]

    async def work(pool: PromptPool) -> None:
        found = await pool.encode_all(texts)
        assert found == [await pool.encode(one) for one in texts]
        begun.clear()
        with pytest.raises(ApiError, match="input: "):
            await pool.encode_all(["fox", "x" * 5000, *texts], param="input")
        await pool.encode("last")
        assert begun[0] == "fox" and begun[-1] == "last" and len(begun) <= 3

    with_pool(tokenizer_folder, work, most_waiting=1, most_bytes=4000)
