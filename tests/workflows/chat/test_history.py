"""A conversation's bookkeeping: what the model sees, what is taken back, what is kept in files."""

import json
from pathlib import Path

import pytest

from llmkit.errors import DataError, UsageError
from llmkit.workflows.chat.history import Conversation, Transcript, read_conversations, write_conversations


def _talk(turns: int, system: str = "") -> Conversation:
    talk = Conversation()
    if system:
        talk.set_system(system)
    for number in range(turns):
        talk.say(f"q{number}")
        talk.answer(f"a{number}")
    return talk


def _contents(talk: Conversation) -> list[str]:
    return [message["content"] for message in talk.visible()]


def test_the_oldest_turns_are_dropped_the_system_message_and_the_last_turn_never() -> None:
    talk = _talk(3, system="Brief.")
    assert talk.drop_oldest() and _contents(talk) == ["Brief.", "q1", "a1", "q2", "a2"]
    assert talk.drop_oldest() and _contents(talk) == ["Brief.", "q2", "a2"]
    assert not talk.drop_oldest() and talk.dropped_turns == 2 and talk.turns == 3
    bare = _talk(2)
    assert bare.drop_oldest() and _contents(bare) == ["q1", "a1"]
    assert len(bare.messages) == 4  # nothing is lost


def test_the_results_of_tools_go_with_the_turn_that_called_them() -> None:
    talk = _talk(1)
    talk.messages[1:1] = [{"role": "assistant", "tool_calls": []}, {"role": "tool", "content": "r"}]
    talk.say("q1")
    assert talk.drop_oldest() and _contents(talk) == ["q1"]
    again = _talk(1)
    again.messages += [{"role": "tool", "content": "r"}, {"role": "assistant", "content": "b"}]
    again.take_back()
    assert _contents(again) == ["q0"]


@pytest.mark.parametrize("dropped", [False, True])
def test_a_system_message_is_put_replaced_and_taken_away(dropped: bool) -> None:
    talk = _talk(2)
    if dropped:
        talk.drop_oldest()
    rest = ["q1", "a1"] if dropped else ["q0", "a0", "q1", "a1"]
    talk.set_system("one")
    assert _contents(talk) == ["one", *rest] and talk.system == "one"
    talk.set_system("two")
    assert _contents(talk) == ["two", *rest]
    talk.set_system("")
    assert _contents(talk) == rest and talk.system is None
    talk.set_system("")
    assert _contents(talk) == rest


def test_a_reply_is_taken_back_and_counted_until_something_new_is_said() -> None:
    talk = _talk(1)
    talk.take_back()
    assert _contents(talk) == ["q0"] and talk.tries == 1
    talk.take_back()
    assert talk.tries == 1  # there was no reply any more
    talk.answer("b")
    talk.take_back()
    assert talk.tries == 2
    talk.answer("c")
    talk.say("q1")
    assert talk.tries == 0 and talk.last_said == "q1"
    with pytest.raises(UsageError, match="no reply"):
        Conversation().take_back()


def test_a_file_of_conversations_is_read_and_written_with_its_other_keys(tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl.zst"
    record = {"id": "é", "messages": [{"role": "user", "content": "a", "name": "Ada"}], "score": 1.50}
    plain = tmp_path / "talk.jsonl"
    plain.write_text(json.dumps(record) + "\n")
    (talk,) = read_conversations(plain)
    talk.answer("b")
    write_conversations(path, [talk, Conversation()])
    (again,) = read_conversations(path)
    assert again.messages == [*record["messages"], {"role": "assistant", "content": "b"}]  # type: ignore[misc]
    assert bytes(again.record["score"]) == b"1.5"


@pytest.mark.parametrize("line", ["{}", '{"messages": 3}', '{"messages": [{"content": "a"}]}', "x"])
def test_a_line_that_is_no_conversation_is_named(line: str, tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    path.write_text('{"messages": []}\n' + line + "\n")
    with pytest.raises(DataError, match=r"talk.jsonl:2: "):
        read_conversations(path)


def test_a_transcript_keeps_every_conversation_and_goes_on_with_the_last(tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    first, second = _talk(1), _talk(2)
    transcript = Transcript(path, resume=True)
    assert transcript.last is None
    transcript.close(first)
    transcript.close(_talk(0, system="never used"))
    transcript.save(second)
    resumed = Transcript(path, resume=True)
    assert resumed.last is not None and resumed.last.messages == second.messages
    resumed.last.say("q2")
    resumed.save(resumed.last)
    lines = [json.loads(line)["messages"] for line in path.read_text().splitlines()]
    assert lines == [first.messages, [*second.messages, {"role": "user", "content": "q2"}]]
    Transcript(path, resume=False).save(first)
    assert len(path.read_text().splitlines()) == 1


def test_a_branch_has_the_first_turns_and_leaves_the_conversation_as_it_was() -> None:
    whole = Conversation([{"role": "system", "content": "s"}])
    for number in range(3):
        whole.say(f"q{number}")
        whole.answer(f"a{number}")
    assert [whole.upto(turns).turns for turns in range(4)] == [0, 1, 2, 3]
    branch = whole.upto(2)
    assert branch.messages == whole.messages[:5]
    branch.say("other")
    assert whole.turns == 3 and whole.messages[-2]["content"] == "q2"
    with pytest.raises(UsageError, match="there are 3 turns"):
        whole.upto(4)
