"""What a chat says beside its replies."""

from types import SimpleNamespace

from llmkit.commands.chat.text import COMMANDS, ELSEWHERE, HELP, describe_stats, dropped_note, reply_record
from llmkit.workflows.chat.history import Conversation
from llmkit.workflows.chat.turn import Turn

TURN = Turn(
    number=3,
    prompt_tokens=40,
    cached_tokens=32,
    seed=9,
    dropped_turns=1,
    text="b",
    completion_tokens=11,
    finish="stop",
    first_seconds=0.5,
    seconds=2.5,
)


def test_a_record_has_what_generate_writes_and_what_the_session_adds() -> None:
    assert reply_record(TURN, "a") == {
        "schema": "llmkit.chat/1",
        "turn": 3,
        "prompt": "a",
        "completion": "b",
        "finish_reason": "stop",
        "usage": {"prompt_tokens": 40, "cached_tokens": 32, "completion_tokens": 11, "total_tokens": 51},
        "seed": 9,
        "adapter": None,
        "dropped_turns": 1,
    }


def test_the_figures_of_a_session_are_those_of_its_last_reply() -> None:
    talk = Conversation()
    for number in range(3):
        talk.say(str(number))
        talk.answer("b")
    talk.drop_oldest()
    chat = SimpleNamespace(conversation=talk, last=TURN, used=51, limit=2048, adapters=())
    assert describe_stats(chat).splitlines() == [  # type: ignore[arg-type]
        "conversation  3 turns, the model sees the last 2",
        "context       51 of 2,048 tokens",
        "read          40 tokens, 32 of them from the cache",
        "written       11 tokens, 5 a second",  # 10 in the 2 seconds after the first
        "first token   after 0.50 s",
        "seed          9",
    ]


def test_what_is_dropped_is_counted_and_the_help_has_every_command() -> None:
    assert dropped_note(TURN) == "the context is full: 1 turn dropped, the oldest"
    assert all(f"{name}  " in HELP for name in COMMANDS)


def test_names_from_elsewhere_are_of_commands_and_none_of_ours() -> None:
    assert set(ELSEWHERE.values()) <= set(COMMANDS) and not set(ELSEWHERE) & set(COMMANDS)
