"""What an engine has done, pass by pass."""

from collections.abc import Sequence
from dataclasses import dataclass

from llmkit.engine.offload import HostMemory
from llmkit.engine.scheduler import Work


@dataclass
class Counts:
    """Sums over all passes."""

    passes: int = 0
    computed_tokens: int = 0
    prefill_tokens: int = 0
    """Of them, those of prompts."""
    cached_tokens: int = 0
    """Of prompts, found in the cache."""
    drawn_tokens: int = 0
    proposed_drafts: int = 0
    accepted_drafts: int = 0
    restarts: int = 0
    offloaded_blocks: int = 0
    """Copied to host memory when the cache had no room for them."""
    restored_blocks: int = 0
    """Copied back."""

    def add_pass(self, works: Sequence[Work], restarts: int, host: HostMemory | None) -> None:
        """A pass is computed.

        Args:
            works: what was in it, before anything is drawn.
            restarts: so far.
            host: memory for what the cache has no room for.
        """
        self.passes += 1
        self.computed_tokens += sum(work.count for work in works)
        self.prefill_tokens += sum(
            min(work.count, max(0, len(work.text.request.prompt) - work.start)) for work in works
        )
        self.proposed_drafts += sum(work.num_drafts for work in works if not work.text.given)
        self.cached_tokens += sum(
            work.text.from_cache
            for work in works
            if work.start == work.text.from_cache and work.text.drawn <= 0 and not work.text.restarts
        )
        self.restarts = restarts
        if host is not None:
            self.offloaded_blocks, self.restored_blocks = host.kept, host.restored
