"""What goes into training: the text, or a sample of it, with an eye on the memory that it will take."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from llmkit.errors import DataError
from llmkit.progress import Progress
from llmkit.tokens.config import TrainTokenizerConfig
from llmkit.tokens.reservoir import Part, Reservoir
from llmkit.tokens.training_cost import BASE_BYTES, PART_BYTES, measure_symbols, training_memory_bytes
from llmkit.workflows.train_tokenizer.plan import SAMPLE_BYTES, Room, check_memory, is_sampled

FIRST_CHECK_BYTES = 16_000_000


@dataclass
class Feed:
    """Parts on their way into training."""

    parts: Iterable[Part]
    config: TrainTokenizerConfig
    room: Room
    expected_bytes: int | None
    """Of all parts; None where that is not known yet."""
    held_bytes: int = 0
    """Memory that the parts themselves take."""
    is_sample: bool = False
    """Whether there was more text than these parts."""
    sample: Reservoir = field(init=False)
    """A small sample of the parts that have passed."""
    bytes: int = 0
    """Of the parts that have passed."""
    memory_bytes: int = 0
    """What training on all parts takes, as last predicted."""
    is_done: bool = False
    """Whether all parts have passed, and there is memory for them."""

    def __post_init__(self) -> None:
        self.sample = Reservoir(SAMPLE_BYTES, self.config.seed)

    def texts(self) -> Iterator[str]:
        """The parts' texts. After the last one training begins in earnest, if there is memory for it.

        Raises:
            ResourceError: there is not.
            DataError: there was no text.
        """
        due = FIRST_CHECK_BYTES
        for part in self.parts:
            self.sample.add(part)
            self.bytes += len(part.content)
            yield part.text
            if self.bytes >= due:
                self._check(max(self.bytes, self.expected_bytes or 0))
                due *= 2
        if not self.bytes:
            raise DataError("no text to train on (found 0 bytes)", hint="name files with text in them")
        self._check(self.bytes)
        self.is_done = True

    def _check(self, text_bytes: int) -> None:
        kind = self.config.type
        growth = measure_symbols(kind, (part.text for part in self.sample))
        self.memory_bytes = training_memory_bytes(kind, growth, text_bytes, self.held_bytes)
        check_memory(self.memory_bytes, self.room, text_bytes)


def open_feed(parts: Iterator[Part], config: TrainTokenizerConfig, room: Room, progress: Progress) -> Feed:
    """A feed of the parts as they are read; or, where they may be more than is wanted, of a sample of them.

    Raises:
        ResourceError: the sample does not fit into memory.
    """
    if not is_sampled(room, config):
        return Feed(parts, config, room, room.text_bytes if room.is_exact else None)
    reservoir = Reservoir(config.max_bytes, config.seed)
    read = 0
    for part in parts:
        reservoir.add(part)
        read += len(part.content)
        check_memory(BASE_BYTES + _held(reservoir), room, config.max_bytes)
        progress.update(read, room.text_bytes if room.is_exact else None, phase="reading")
    return Feed(reservoir, config, room, reservoir.bytes, _held(reservoir), reservoir.is_sample)


def _held(reservoir: Reservoir) -> int:
    return reservoir.bytes + PART_BYTES * len(reservoir)
