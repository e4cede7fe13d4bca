"""What the model sees of a conversation, and the seed of its reply; no weights are read."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from llmkit.engine.config import GenerateConfig
from llmkit.errors import UsageError
from llmkit.workflows.chat.history import Conversation
from llmkit.workflows.chat.job import ChatFiles, open_chat
from llmkit.workflows.chat.request import request_of
from llmkit.workflows.generate.job import Job


@pytest.fixture
def job(tiny_model: Callable[..., Path], byte_level_dir: Path) -> Job:
    """A model that can be talked with, opened."""
    folder = tiny_model(vocab_size=600, max_position_embeddings=256)
    for file in byte_level_dir.iterdir():
        shutil.copy(file, folder)
    config = GenerateConfig(sampling={"max_tokens": 100}, chat=True)
    return open_chat(ChatFiles(model=folder), config, None).job


def _talk(turns: int) -> Conversation:
    conversation = Conversation()
    for number in range(turns):
        conversation.say(f"the License {number}")
        conversation.answer("the Work")
    conversation.say("and so on")
    return conversation


def test_as_few_of_the_oldest_turns_go_as_leave_a_quarter_of_the_context_free(job: Job) -> None:
    whole = _talk(5)
    everything = len(request_of(job, whole, context=1000).prompt)
    assert whole.dropped_turns == 0
    tight = _talk(5)
    request = request_of(job, tight, context=everything)
    assert 0 < tight.dropped_turns < 5 and len(request.prompt) <= everything * 3 / 4
    roomier = _talk(5)
    roomier.first = 2 * (tight.dropped_turns - 1)  # one turn more would have been too much
    assert len(request_of(job, roomier, context=1000).prompt) > everything * 3 / 4
    assert request.sampling.max_tokens == min(100, everything - len(request.prompt))


def test_a_message_that_is_too_long_drops_nothing(job: Job) -> None:
    conversation = _talk(3)
    with pytest.raises(UsageError, match=r"alone takes .* of a context of 10"):
        request_of(job, conversation, context=10)
    assert conversation.dropped_turns == 0


def test_what_breaks_repetitions_is_known_where_they_are_looked_for(job: Job) -> None:
    looks = replace(job, sampling=replace(job.sampling, dry_multiplier=0.8))
    found = [request_of(one, _talk(1), context=1000) for one in (job, looks)]
    assert found[0].breaks is None and found[1].breaks is not None
    assert found[1].breaks.after_last(found[1].prompt) == 0  # a turn begins with a line feed


def test_a_seed_is_the_turns_the_trys_and_the_calls(job: Job) -> None:
    def seed(conversation: Conversation, done: int = 0) -> int:
        return request_of(job, conversation, context=1000, done=done).sampling.seed

    again = _talk(2)
    again.answer("no")
    again.take_back()
    seeds = [seed(_talk(1)), seed(_talk(2)), seed(_talk(2), 1), seed(_talk(2), 2), seed(again)]
    assert len(set(seeds)) == len(seeds)
    assert seeds == [seed(_talk(1)), seed(_talk(2)), seed(_talk(2), 1), seed(_talk(2), 2), seed(again)]


def test_calls_of_an_earlier_talk_are_seen_without_the_tools_that_were_called(job: Job) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "clock", "arguments": {"zone": "UTC"}}}
    earlier = [
        {"role": "user", "content": [{"type": "text", "text": "Time?"}]},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "12:30"},
    ]
    request = request_of(job, Conversation(earlier), context=1000)
    assert job.tokenizer is not None
    text = job.tokenizer.decode(list(request.prompt))
    assert '{"name": "clock", "arguments": {"zone": "UTC"}}' in text
    assert "Time?" in text and "'type'" not in text and "Result of clock: 12:30" in text
