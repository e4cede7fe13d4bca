"""What `llmkit chat` says beside the replies: the plan, the figures of a session, the help by hand."""

from typing import TYPE_CHECKING, Any

from llmkit.commands.facts import kernels_of, plural
from llmkit.commands.generate.text import memory_rows, sampling_words
from llmkit.commands.shared import align
from llmkit.commands.values import format_count

if TYPE_CHECKING:
    from llmkit.workflows.chat.chat import Chat
    from llmkit.workflows.chat.turn import Turn

COMMANDS = {
    "/regenerate": "another reply to your last message",
    "/multi": "a message of several lines, up to one that is /end",
    "/edit TEXT": "say this in place of your last message",
    "/branch N": "go on after turn N in another way; the transcript keeps both",
    "/set NAME X": "another temperature, top_k, top_p, max_tokens, seed, …",
    "/adapter NAME": "replies by another adapter from now on; off is the model alone",
    "/system TEXT": "a system message, in place of the one there is; none without TEXT",
    "/reset": "begin a new conversation; the system message stays",
    "/save FILE": "write the conversation to a file, as jsonl",
    "/load FILE": "go on with the last conversation of a file",
    "/stats": "the last reply and the context in figures",
    "/help": "this list",
    "/quit": "end; so does Ctrl-D",
}
ELSEWHERE = {"/exit": "/quit", "/bye": "/quit", "/clear": "/reset", "/regen": "/regenerate"}
"""What llama.cpp and Ollama call some of them: typed by habit, it does the same."""
HELP = (
    align(list(COMMANDS.items()))
    + "\n\nCtrl-C stops a reply. A message that begins with a slash is typed with two: //like this"
)


def describe_plan(plan: Any) -> str:
    """A ChatPlan as a table."""
    rows = [
        ("model", f"{plan.model}  ({format_count(plan.parameters)} parameters)"),
        ("runs on", f"{plan.device}, {plan.dtype}, {plural(plan.threads, 'thread')}, {kernels_of(plan)}"),
        ("context", plural(plan.context, "token")),
        ("sampling", ", ".join(sampling_words(plan.sampling))),
        *memory_rows(plan),
        ("transcript", plan.transcript or "none"),
    ]
    return align(rows)


def describe_stats(chat: "Chat") -> str:
    """A session in figures."""
    conversation, last = chat.conversation, chat.last
    turns = plural(conversation.turns, "turn")
    if conversation.dropped_turns:
        turns += f", the model sees the last {conversation.turns - conversation.dropped_turns}"
    rows = [("conversation", turns), ("context", f"{chat.used:,} of {plural(chat.limit, 'token')}")]
    if last is not None:
        rows += [
            ("read", f"{plural(last.prompt_tokens, 'token')}, {last.cached_tokens:,} of them from the cache"),
            ("written", f"{plural(last.completion_tokens, 'token')}, {last.tokens_per_second:,.0f} a second"),
            ("first token", f"after {last.first_seconds:.2f} s"),
            ("seed", str(last.seed)),
            *([("adapter", chat.adapter or "off")] if chat.adapters else []),
        ]
    return align(rows)


def dropped_note(turn: "Turn") -> str:
    """That the model does not see the oldest turns any more."""
    return f"the context is full: {plural(turn.dropped_turns, 'turn')} dropped, the oldest"


def reply_record(turn: "Turn", prompt: str) -> dict[str, Any]:
    """A reply as a record."""
    total = turn.prompt_tokens + turn.completion_tokens
    calls = {"calls": turn.calls} if turn.calls else {}
    return {
        "schema": "llmkit.chat/1",
        "turn": turn.number,
        "prompt": prompt,
        "completion": turn.text,
        "finish_reason": turn.finish,
        "usage": {
            "prompt_tokens": turn.prompt_tokens,
            "cached_tokens": turn.cached_tokens,
            "completion_tokens": turn.completion_tokens,
            "total_tokens": total,
        },
        "seed": turn.seed,
        "adapter": turn.adapter,
        "dropped_turns": turn.dropped_turns,
        **calls,
    }
