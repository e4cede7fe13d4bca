"""A session: replies are those of generate on the same messages, whatever the cache and the drops did."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmkit.engine.completion import Completion, Piece
from llmkit.engine.config import GenerateConfig
from llmkit.engine.engine import Engine, EngineConfig
from llmkit.engine.request import Request
from llmkit.errors import UsageError
from llmkit.model.load import load_model
from llmkit.workflows.chat.chat import Chat, start_chat
from llmkit.workflows.chat.history import read_conversations
from llmkit.workflows.chat.job import ChatFiles, open_chat
from llmkit.workflows.chat.turn import Turn
from llmkit.workflows.tool.open import open_tools
from llmkit.workflows.tool.options import ToolOptions
from llmkit.workflows.tool.talk import Said
from tests.written_texts import complete

Start = Callable[..., Chat]


@pytest.fixture
def folder(tiny_model: Callable[..., Path], byte_level_dir: Path) -> Path:
    folder = tiny_model(vocab_size=600, max_position_embeddings=256)
    for file in byte_level_dir.iterdir():
        shutil.copy(file, folder)
    return folder


@pytest.fixture
def start(folder: Path) -> Start:
    def make(*, context: int | None = None, system: str | None = None, **settings: Any) -> Chat:
        files = {name: settings.pop(name) for name in ("transcript", "resume") if name in settings}
        adapters = settings.pop("adapters", ())
        sampling = {"max_tokens": 12} | settings
        config = GenerateConfig(sampling=sampling, chat=True, system=system, adapters=adapters)
        return start_chat(open_chat(ChatFiles(model=folder, **files), config, context))

    return make


def _alone(folder: Path, chat: Chat, prompt_messages: list[dict[str, str]], seed: int) -> str:
    """The reply by an engine that has seen nothing before, without any cache."""
    encoder = chat._job.encoder
    assert encoder is not None and encoder.turn_end is not None
    ids = encoder.encode_rendered(encoder.render(prompt_messages))
    sampling = replace(chat._job.sampling, seed=seed)
    engine = Engine(load_model(folder), EngineConfig(reuse=False), stop_ids=chat._job.stop_ids)
    request = Request(tuple(ids), sampling, frozenset([encoder.turn_end]))
    text = complete(engine, request, chat._job.tokenizer).text
    assert text is not None
    return text


def test_each_reply_is_the_one_of_an_engine_without_a_past(start: Start, folder: Path) -> None:
    chat = start(seed=3, system="Be brief.")
    for number, text in enumerate(("the License", "the Work", "and so on")):
        before = [*chat.conversation.messages, {"role": "user", "content": text}]
        reply = "".join(chat.say(text))
        assert chat.last is not None and chat.last.number == number + 1
        assert reply == _alone(folder, chat, before, chat.last.seed) == chat.last.text
        assert chat.conversation.messages == [*before, {"role": "assistant", "content": reply}]
        assert chat.used == chat.last.prompt_tokens + chat.last.completion_tokens


def test_what_was_said_is_not_computed_again(start: Start) -> None:
    chat = start(system="Be brief. " * 12)
    list(chat.say("the License"))
    assert chat.last is not None and chat.last.cached_tokens == 0
    first = chat.last.prompt_tokens
    list(chat.say("the Work"))
    assert first - 16 < chat.last.cached_tokens < chat.last.prompt_tokens  # in whole blocks of 16


def test_the_same_turns_and_seed_give_the_same_replies_and_regenerating_another(start: Start) -> None:
    def talk(seed: int) -> list[str]:
        chat = start(seed=seed)
        return ["".join(chat.say(text)) for text in ("the License", "the License")]

    assert talk(1) == talk(1) != talk(2)
    chat = start(seed=1)
    first = "".join(chat.say("the License"))
    other = "".join(chat.again())
    assert other != first and [one["content"] for one in chat.conversation.messages] == ["the License", other]
    assert "".join(chat.again()) not in (first, other)


def test_a_full_context_drops_the_oldest_turns_and_says_so(start: Start, folder: Path) -> None:
    chat = start(context=90, system="Be brief.", seed=5)
    dropped = 0
    for number in range(8):
        seen = "".join(chat.say(f"the License {number}"))
        assert chat.last is not None and chat.used <= 90
        dropped += chat.last.dropped_turns
        visible = chat.conversation.visible()
        assert visible[0] == {"role": "system", "content": "Be brief."}
        assert visible[1]["role"] == "user"
        assert seen == _alone(folder, chat, visible[:-1], chat.last.seed)
    assert dropped == chat.conversation.dropped_turns > 2
    assert chat.conversation.turns == 8  # the transcript has them all


def test_a_message_longer_than_the_context_is_taken_back_and_the_rest_stays(start: Start) -> None:
    chat = start(context=60)
    list(chat.say("the License"))
    before = [*chat.conversation.messages]
    with pytest.raises(UsageError, match=r"alone takes .* of a context of 60"):
        list(chat.say("license " * 100))
    assert chat.conversation.messages == before and chat.conversation.dropped_turns == 0
    assert len("".join(chat.say("the Work"))) > 0


def test_a_reply_that_is_stopped_keeps_what_has_come_and_the_engine_is_free(start: Start) -> None:
    chat = start(temperature=0.0, max_tokens=40)
    reply = chat.say("the License")
    begin = next(reply) + next(reply)
    while not begin:
        begin += next(reply)
    reply.close()
    assert chat.last is not None and chat.last.finish is None
    assert chat.conversation.messages[-1] == {"role": "assistant", "content": begin}
    assert chat._engine.is_idle
    again = "".join(chat.again())
    assert again.startswith(begin)  # greedy


def test_a_reply_that_is_stopped_before_it_began_leaves_no_trace(start: Start, folder: Path) -> None:
    chat = start(logit_bias=((0, 1000.0),), ignore_eos=True)  # writes <|endoftext|>, which has no text
    for begin in (chat.say("the License"), None):
        reply = begin or chat.say("the Work")
        next(reply)
        reply.close()
        assert chat.conversation.messages == []


def test_reset_load_and_export(start: Start, tmp_path: Path) -> None:
    transcript, file = tmp_path / "t.jsonl", tmp_path / "one.jsonl"
    chat = start(transcript=transcript, system="Be brief.")
    list(chat.say("the License"))
    first = [*chat.conversation.messages]
    chat.export(file)
    with pytest.raises(UsageError, match="already exists"):
        chat.export(file)
    chat.reset()
    assert chat.conversation.messages == [{"role": "system", "content": "Be brief."}] and chat.used == 0
    list(chat.say("the Work"))
    second = [*chat.conversation.messages]
    chat.load(file)
    assert chat.conversation.messages == first
    list(chat.say("more"))
    chat.save()
    resumed = start(transcript=transcript, resume=True, system="Another.")
    assert resumed.conversation.messages == chat.conversation.messages  # its own system message too
    from llmkit.workflows.chat.history import read_conversations

    kept = [one.messages for one in read_conversations(transcript)]
    assert kept == [first, second, chat.conversation.messages]
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(UsageError, match="no conversation"):
        chat.load(tmp_path / "empty.jsonl")


def test_a_reply_can_be_held_to_a_grammar(start: Start) -> None:
    pytest.importorskip("llguidance")
    chat = start(choice=("yes", "no"))
    for _ in range(3):
        assert "".join(chat.say("the License?")) in ("yes", "no")


def test_a_message_can_be_said_in_another_way_and_a_turn_branched_off(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    chat = start(seed=3, transcript=path)
    for text in ("the License", "the Work"):
        "".join(chat.say(text))
    first = [*chat.conversation.messages]
    reply = "".join(chat.edit("and so on"))
    assert [one["content"] for one in chat.conversation.messages[2:]] == ["and so on", reply]
    assert chat.conversation.messages[:2] == first[:2] and chat.conversation.turns == 2
    chat.branch(1)
    "".join(chat.say("the Work"))
    chat.save()
    kept, branch = (one.messages for one in read_conversations(path))
    assert kept[2]["content"] == "and so on" and branch == first  # the same words with the same seed
    with pytest.raises(UsageError, match="there is no reply"):
        "".join(start().edit("x"))


def test_settings_change_from_the_next_reply_on(start: Start) -> None:
    chat = start(seed=3)
    for name, meant in (("temp", "temperature"), ("topk", "top_k"), ("repeat_penalty", "repetition_penalty")):
        with pytest.raises(UsageError) as error:
            chat.set(name, "1")
        assert error.value.hint == f"did you mean {meant}?"
    chat.set("max_tokens", "3")
    "".join(chat.say("the License"))
    assert chat.last is not None and chat.last.completion_tokens <= 3
    for name, value in (("temperature", "hot"), ("top_p", "2"), ("stop", "x")):
        with pytest.raises(UsageError, match=name):
            chat.set(name, value)
    assert chat._job.sampling.max_tokens == 3


def test_another_adapter_replies_from_the_next_turn_on_and_the_cache_is_its_own(
    start: Start, folder: Path, tiny_adapter: Callable[..., Path]
) -> None:
    from safetensors.numpy import load_file, save_file

    names = ("one", "two")
    for seed, name in enumerate(names):
        file = tiny_adapter(name) / "adapter_model.safetensors"
        random = np.random.default_rng(seed)
        save_file(
            {key: random.normal(size=one.shape).astype("f4") for key, one in load_file(file).items()}, file
        )
    paths = tuple(str(folder.parent / name) for name in names)
    chat = start(adapters=paths, temperature=0.0, seed=1)
    assert (chat.adapter, chat.adapters) == (None, names)
    replies, cached = [], []
    for name in ("off", "one", "two", "off", "one"):
        chat.reset()
        chat.use(name)
        replies.append("".join(chat.say("Hello there, this is a message of some length")))
        assert chat.last is not None
        assert chat.last.adapter == (None if name == "off" else name)
        cached.append(chat.last.cached_tokens > 0)
    assert replies[:2] == replies[3:]
    assert len(set(replies)) == 3
    assert cached == [False, False, False, True, True]
    with pytest.raises(UsageError, match=r"no adapter 'three' \(loaded: one, two\)"):
        chat.use("three")
    assert start(adapters=paths[:1]).adapter == "one"


def test_a_line_ends_before_a_call_is_told_of(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    chat, events = start(), list[str]()
    piece = Piece(0, "", Completion("", (), "stop"))

    def pieces(request: Request, turn: Turn) -> Iterator[Said]:
        yield Said("Let me ", replace(piece, completion=None))
        yield Said("look.", piece, asks=True)
        events.append("the call")
        turn.text = ""
        yield Said("Warm.", piece)

    monkeypatch.setattr(chat, "_pieces", pieces)
    for text in chat.say("Warm?"):
        events.append(text)
    assert events == ["Let me ", "look.\n", "the call", "Warm."]
    assert chat.conversation.messages[-1]["content"] == "Warm."


def test_a_reply_with_a_call_in_it_keeps_all_of_it_and_the_next_turn_sees_it(
    folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("llguidance")
    program = tmp_path / "weather"
    program.write_text("#!/bin/sh\ncat >/dev/null\necho '{\"degrees\": 21}'\n")
    program.chmod(0o755)
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {"town": {"enum": ["Oslo"]}},
        "required": ["town"],
    }
    schema["additionalProperties"] = False
    (tmp_path / "schema.json").write_text(json.dumps(schema))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 1024}))
    tools = ToolOptions(
        tools=(f"weather: {program}",),
        schemas=(f"weather: {tmp_path / 'schema.json'}",),
        choice="required",
        approve="auto",
    )
    files = ChatFiles(model=folder, transcript=tmp_path / "talk.jsonl", tools=tools)
    settings = GenerateConfig(sampling={"max_tokens": 150, "seed": 1}, chat=True)
    with open_tools(tools) as toolbox:
        chat = start_chat(open_chat(files, settings, None, toolbox))
        said = "".join(chat.say("Warm?"))
        assert chat.last is not None and chat.last.calls == 1
        asked, result, answer = chat.conversation.messages[1:]
        assert asked["tool_calls"][0]["function"] == {"name": "weather", "arguments": {"town": "Oslo"}}
        assert result["content"] == '{"degrees": 21}'
        assert answer["content"] == chat.last.text == said  # a call is no text
        assert chat.last.completion_tokens == 150 and chat.last.finish == "length"  # both texts together
        first = chat.used
        talk = chat._job.talk
        assert talk is not None
        asked_twice = [talk.encode(chat.conversation.messages[:number])[0] for number in (1, 3)]
        assert chat.last.prompt_tokens == sum(map(len, asked_twice))  # the prompts of both
        list(chat.say("And now?"))
        assert chat.last.prompt_tokens > first and chat.conversation.turns == 2
        assert len(chat.conversation.messages) == 8
        list(chat.again())
        assert len(chat.conversation.messages) == 8  # the call of the reply before is gone with it
        chat.set("temperature", "0")
        for most in range(2, 150):
            chat.set("max_tokens", str(most))
            said = "".join(chat.again())
            assert (said, chat.last.finish, chat.last.completion_tokens) == ("", "length", most)
            if chat.last.calls:  # it took the last token: nothing is left to answer with
                break
        assert chat.last.calls == 1 and [one["content"] for one in chat.conversation.messages[5:]] == [
            *("", '{"degrees": 21}', "")
        ]
        chat.save()
    (kept,) = read_conversations(tmp_path / "talk.jsonl")
    assert kept.messages == chat.conversation.messages
    assert json.loads(bytes(kept.record["tools"]))[0]["function"]["name"] == "weather"
