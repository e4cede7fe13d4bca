"""What the model is asked for a reply: the turns that there is room for, and how it is drawn."""

from dataclasses import replace

from llmkit.engine.request import Request
from llmkit.engine.seeds import derive_seed
from llmkit.errors import UsageError
from llmkit.workflows.chat.history import Conversation, Message
from llmkit.workflows.generate.job import Job
from llmkit.workflows.generate.messages import read_conversation

REPLY_SHARE = 4
"""One part in so many of the context is kept free for a reply, where --max-tokens asks for more."""


def request_of(
    job: Job,
    conversation: Conversation,
    *,
    context: int,
    adapter: str | None = None,
    done: int = 0,
    drawn: int = 0,
) -> Request:
    """The request for the next reply; the oldest turns are dropped as far as that takes to leave room for it.

    Args:
        job: the model, and how replies are drawn.
        conversation: what has been said; it remembers what was dropped.
        context: tokens of both together.
        adapter: what replies; None: the model alone.
        done: calls of this reply so far.
        drawn: tokens of this reply so far.

    Raises:
        UsageError: the last message alone is longer than the context; nothing is dropped then.
        DataError: the template refuses the conversation, or `serve` would refuse one of its messages.
    """
    encoder = job.encoder
    assert encoder is not None
    sampling, first = job.sampling, conversation.first
    room = min(sampling.max_tokens, context // REPLY_SHARE)
    while True:
        ids = _encode(job, conversation.visible())
        if len(ids) + room <= context or not conversation.drop_oldest():
            break
    if len(ids) >= context:
        conversation.first = first
        raise UsageError(
            f"the message alone takes {len(ids):,} tokens of a context of {context:,}",
            hint="say it in fewer words, or raise --context as far as the model's own",
        )
    after = f" call {done}" if done else ""
    seed = derive_seed(sampling.seed, f"turn {conversation.turns} try {conversation.tries}{after}")
    own = replace(sampling, seed=seed, max_tokens=min(sampling.max_tokens - drawn, context - len(ids)))
    rule = own.rule if job.talk is None else job.talk.rule(own, done)
    return job.bound(Request(ids, own, encoder.turn_ends, adapter=adapter), rule)


def _encode(job: Job, messages: list[Message]) -> tuple[int, ...]:
    settings = job.config.template_kwargs
    if job.talk is not None:
        return job.talk.encode(messages, **settings)[0]
    assert job.encoder is not None
    text = job.encoder.render_told(read_conversation(messages), **settings)
    return tuple(job.encoder.encode_rendered(text))
