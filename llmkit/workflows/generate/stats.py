"""The figures of a run of `llmkit generate`: how much, how fast, and what the cache and guesses did."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmkit.engine.adapters.use import AdapterUse
from llmkit.engine.speculation_report import SpeculationReport
from llmkit.machine import peak_memory_bytes

if TYPE_CHECKING:
    from llmkit.engine.meter import Meter


@dataclass(frozen=True, kw_only=True)
class GenerateStats:
    """Of all texts together; None where there was nothing to measure."""

    texts: int
    prompt_tokens: int
    """Of each text's prompt; of a text with calls in it, of all prompts that its parts came after."""
    cached_tokens: int
    """Of them, found in the cache."""
    completion_tokens: int
    first_token_seconds: float | None
    """From a text's turn to its first token, on average. Its turn is when there is room for it."""
    longest_first_token_seconds: float | None
    prefill_tokens_per_second: float | None
    decode_tokens_per_second: float | None
    """Of all texts at work at once. A pass that both reads and writes is shared out by its tokens."""
    load_seconds: float
    """Of reading the weights."""
    seconds: float
    """Of reading prompts and writing texts."""
    restarts: int
    """How often a text lost its memory to another, and was computed again."""
    peak_memory_bytes: int
    """Of the process."""
    speculation: SpeculationReport | None
    """None where nothing guesses ahead."""
    kernels: str
    """What computed: native or torch."""
    adapters: tuple[AdapterUse, ...]
    """Those that were loaded, with their memory and the texts that had them."""
    schema: str = "llmkit.generate-stats/1"


def generate_stats(
    meter: "Meter", *, prompt_tokens: int, completion_tokens: int, seconds: float, load_seconds: float
) -> GenerateStats:
    """The figures as they are now.

    Args:
        meter: what was measured.
        prompt_tokens, completion_tokens, seconds: as `Written` has them.
        load_seconds: of reading the weights.
    """
    timing, counts = meter.timing, meter.engine.counts
    return GenerateStats(
        texts=timing.texts,
        prompt_tokens=prompt_tokens,
        cached_tokens=counts.cached_tokens,
        completion_tokens=completion_tokens,
        first_token_seconds=timing.mean_first_seconds,
        longest_first_token_seconds=timing.longest_first_seconds if timing.texts else None,
        prefill_tokens_per_second=timing.prefill_tokens_per_second,
        decode_tokens_per_second=timing.decode_tokens_per_second,
        load_seconds=load_seconds,
        seconds=seconds,
        restarts=counts.restarts,
        peak_memory_bytes=peak_memory_bytes(),
        speculation=meter.engine.speculation(),
        kernels=meter.engine.adapters.kernels,
        adapters=meter.engine.adapters.uses(),
    )
