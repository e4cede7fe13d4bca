"""One reply of a conversation, in figures."""

from dataclasses import dataclass

from llmkit.engine.request import FinishReason


@dataclass
class Turn:
    """One reply, in figures."""

    number: int
    """Of the user's messages in the conversation."""
    prompt_tokens: int
    """With calls in the reply, of all prompts that its texts were written after."""
    cached_tokens: int
    """Of them, found in the cache."""
    seed: int
    dropped_turns: int
    """That the model stopped seeing to make room for this one."""
    adapter: str | None = None
    """None: the model alone."""
    text: str = ""
    completion_tokens: int = 0
    finish: FinishReason | None = None
    """None: the reply was stopped."""
    first_seconds: float = 0.0
    """Until the first token."""
    seconds: float = 0.0
    calls: int = 0
    """Of functions, for this reply."""

    @property
    def tokens_per_second(self) -> float:
        """After the first token."""
        after = self.seconds - self.first_seconds
        return (self.completion_tokens - 1) / after if after > 0 and self.completion_tokens > 1 else 0.0
