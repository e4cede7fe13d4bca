"""A model in one process: what the engine asks of who leads others, where there are none."""

from llmkit.engine.pass_runner import PassRunner


class Alone:
    """One process that has all of a model."""

    def over(self, runner: PassRunner) -> PassRunner:
        """What computes passes in the memory that texts keep."""
        return runner

    def aside(self, runner: PassRunner, blocks: int) -> PassRunner:
        """What computes passes in a memory of so many blocks, which goes when nobody has this any more."""
        return runner

    def close(self) -> None:
        """Let others end."""


ALONE = Alone()
