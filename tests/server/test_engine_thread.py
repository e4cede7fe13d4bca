"""One thread owns the engine: what is asked runs between passes, and whoever leaves frees memory."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from llmkit.engine.config import SamplingConfig
from llmkit.engine.engine import Engine, EngineConfig
from llmkit.engine.grammar import Grammars
from llmkit.engine.request import Drawn, Request
from llmkit.model.transformer import Transformer
from llmkit.server.engine_thread import EngineStopped, EngineThread
from llmkit.tokens.tokenizer import Tokenizer

LONG = SamplingConfig(max_tokens=200, ignore_eos=True, temperature=0.0)


@pytest.fixture
def thread(model: Transformer, tokenizer: Tokenizer) -> Iterator[EngineThread]:
    made = EngineThread(Engine(model, EngineConfig(positions=1024)), tokenizer)
    made.start()
    yield made
    made.abandon()


def test_a_text_that_nobody_reads_any_more_frees_its_blocks_before_the_next_pass(
    thread: EngineThread,
) -> None:
    async def leave() -> tuple[int, int, int]:
        stream = thread.stream(Request((5, 6, 7), LONG))
        async for _ in stream:
            break
        await stream.aclose()
        passes = await thread.call(lambda: thread.steps)  # behind the giving up, in the same inbox
        load = thread.load()
        return load.running, load.blocks - load.free_blocks, thread.steps - passes

    assert asyncio.run(leave()) == (0, 0, 0)


def test_a_special_token_shows_in_the_text_where_that_is_asked_for(
    thread: EngineThread, tokenizer: Tokenizer
) -> None:
    pytest.importorskip("llguidance")
    mark = tokenizer.id_of("<|im_start|>")
    assert mark is not None
    grammar = Grammars(tokenizer, tokenizer.vocab_size).compile_rule(("tools", f'start: <[{mark}]> "fox"'))

    async def text(shown: frozenset[int]) -> str:
        request = Request((5, 6, 7), SamplingConfig(), grammar=grammar)
        return "".join([piece.text async for piece in thread.stream(request, shown=shown)])

    assert asyncio.run(text(frozenset())) == "fox"
    assert asyncio.run(text(frozenset({mark}))) == "<|im_start|>fox"


def test_the_whole_of_a_text_has_none_of_the_tokens_that_came_one_by_one(thread: EngineThread) -> None:
    scored = SamplingConfig(max_tokens=5, ignore_eos=True, logprobs=2)

    async def write() -> tuple[list[int], tuple[Drawn, ...]]:
        pieces = [piece async for piece in thread.stream(Request((5, 6, 7), scored))]
        assert pieces[-1].completion is not None
        return [len(piece.token.top) for piece in pieces if piece.token], pieces[-1].completion.drawn

    assert asyncio.run(write()) == ([2] * 5, ())


def test_a_task_that_is_cancelled_gives_its_text_up(thread: EngineThread) -> None:
    async def cancel() -> int:
        async def read() -> None:
            async for _ in thread.stream(Request((5, 6, 7), LONG)):
                pass

        task = asyncio.create_task(read())
        while not thread.load().running:
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await thread.call(lambda: None)
        return thread.load().running

    assert asyncio.run(cancel()) == 0


def test_a_task_that_is_cancelled_while_its_text_is_taken_in_leaves_none_behind(thread: EngineThread) -> None:
    async def cancel() -> int:
        held, released = threading.Event(), threading.Event()

        def hold() -> None:
            held.set()
            released.wait()

        holding = asyncio.create_task(thread.call(hold))
        await asyncio.to_thread(held.wait)
        task = asyncio.create_task(anext(thread.stream(Request((5, 6, 7), LONG))))
        await asyncio.sleep(0)  # its request is in the inbox, behind what holds the thread
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        released.set()
        await holding
        return await thread.call(lambda: len(thread._sinks))

    assert asyncio.run(cancel()) == 0


def test_a_failed_pass_fails_its_texts_and_the_next_request_works(
    thread: EngineThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = thread._engine
    run, failures = engine._runner.run, [RuntimeError("no memory")]

    def fail_once(works: list[object]) -> object:
        if failures:
            raise failures.pop()
        return run(works)  # type: ignore[arg-type]

    monkeypatch.setattr(engine._runner, "run", fail_once)

    async def ask() -> str | None:
        with pytest.raises(RuntimeError, match="no memory"):
            async for _ in thread.stream(Request((5,), LONG)):
                pass
        *_, last = [piece async for piece in thread.stream(Request((5,), SamplingConfig(max_tokens=3)))]
        assert last.completion is not None
        return last.completion.text

    assert asyncio.run(ask()) is not None


def test_what_a_function_raises_reaches_whoever_asked(thread: EngineThread) -> None:
    def divide() -> float:
        return 1 / 0

    with pytest.raises(ZeroDivisionError):
        asyncio.run(thread.call(divide))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_when_the_thread_dies_nobody_waits_for_it_any_more(
    thread: EngineThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_pass, may_die = threading.Event(), threading.Event()

    def die() -> None:
        in_pass.set()
        may_die.wait()
        raise MemoryError

    async def scenario() -> None:
        monkeypatch.setattr(thread._engine, "step", die)
        reading = asyncio.create_task(anext(thread.stream(Request((5, 6, 7), LONG))))
        await asyncio.to_thread(in_pass.wait)
        calling = asyncio.create_task(thread.call(lambda: 1))  # during the pass
        await asyncio.sleep(0)
        may_die.set()
        async with asyncio.timeout(60):
            ends = await asyncio.gather(reading, calling, return_exceptions=True)
            assert [type(one) for one in ends] == [EngineStopped, EngineStopped]
            await asyncio.to_thread(thread._thread.join)
            monkeypatch.setattr(EngineThread, "is_alive", True)  # as it was when `call` looked
            with pytest.raises(EngineStopped):
                await thread.call(lambda: 1)

    asyncio.run(scenario())


def test_stopping_lets_the_texts_at_work_end_and_then_nothing_more_is_written(
    model: Transformer, tokenizer: Tokenizer
) -> None:
    thread = EngineThread(Engine(model), tokenizer)
    thread.start()

    async def stop() -> int:
        stream = thread.stream(Request((5, 6), SamplingConfig(max_tokens=30, ignore_eos=True)))
        await anext(stream)
        stopping = asyncio.create_task(thread.stop())
        drawn = 1 + len([piece async for piece in stream])
        await stopping
        with pytest.raises(EngineStopped):
            await thread.call(lambda: None)
        return drawn

    assert asyncio.run(stop()) == 30
