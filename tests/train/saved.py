"""A trainer in a folder at once, as a run's saver leaves it there."""

from pathlib import Path

from llmkit.train.state import WHOLE_MODEL, Product, take_snapshot, write_snapshot
from llmkit.train.trainer import Trainer


def save_trainer(trainer: Trainer, folder: Path, *, threads: int, product: Product = WHOLE_MODEL) -> None:
    """Write its product and its state into an empty folder: every process calls this, the first writes."""
    snapshot = take_snapshot(trainer, threads=threads)
    if trainer.ranks.is_first:
        write_snapshot(snapshot, folder, product)
    trainer.ranks.wait()
