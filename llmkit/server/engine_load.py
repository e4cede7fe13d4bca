"""What an engine is busy with, and what it has done: figures of one moment. No torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class EngineLoad:
    """Figures of one engine."""

    running: int
    """Texts at work."""
    max_texts: int
    """The most of them."""
    waiting: int
    blocks: int
    """Of its cache."""
    free_blocks: int
    passes: int
    """Since its start, as all that follows."""
    computed_tokens: int
    cached_tokens: int
    """Of prompts, found in the cache."""
    prefill_tokens: int
    """Of prompts, computed."""
    drawn_tokens: int
    preemptions: int
    proposed_drafts: int
    accepted_drafts: int
    offloaded_blocks: int
    """Copied to host memory."""
    restored_blocks: int
    """Copied back."""
    prompts_waiting: int = 0
    """To be encoded, before the engine knows of them; it cannot tell, whoever serves it does."""
    prompts_refused: int = 0
    """As too many waited."""
