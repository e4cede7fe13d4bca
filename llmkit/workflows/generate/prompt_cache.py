"""`--prompt-cache FILE`: opened and checked before the weights are read, found in, and written at the end."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llmkit.engine.engine import Engine
from llmkit.engine.layer_groups import groups_on
from llmkit.engine.prompt_cache import MadeWith, SavedBlocks, save_blocks
from llmkit.engine.saved_states import SavedStates
from llmkit.model.fingerprint import model_fingerprint
from llmkit.workflows.generate.job import Job
from llmkit.workflows.generate.model import BLOCK_TOKENS
from llmkit.workflows.generate.placement import Placement


class PromptCache:
    """A file with what a model has read. It may not be there yet."""

    def __init__(self, job: Job, placement: Placement, path: Path, *, read_only: bool) -> None:
        """
        Args:
            job: which model.
            placement: how it runs.
            path: of the file.
            read_only: never write it.

        Raises:
            DataError: the file is another model's, or of another kind: see `MadeWith.check`.
        """
        groups = groups_on(job.model, BLOCK_TOKENS, placement.device, whole=placement.processes > 1)
        self._path = path
        self._read_only = read_only
        self._made_with = MadeWith(
            model=model_fingerprint(job.files.model, job.model),
            dtype=placement.dtype,
            weights=job.config.weights,
            rope_scaling=json.dumps(job.model.rope_scaling, sort_keys=True, default=list),
            block_tokens=BLOCK_TOKENS,
            layers_in_block=groups.layers_in_block if groups.count > 1 else None,
        )
        if path.exists():
            self._made_with.check(path)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know at the end: that there was nothing to write."""
        if self._path.exists():
            return ()
        return (
            f"{self._path}: not written: it keeps blocks of {BLOCK_TOKENS} tokens, and no text filled one",
        )

    @contextmanager
    def keeping(self, engine: Engine) -> Iterator[None]:
        """Let an engine find what the file has, and write what the engine has at the end.

        The end may be Ctrl-C or a reader that left: what has been computed is right, and is kept. After any
        other error, or a second Ctrl-C while it is written, the file stays as it was.

        Raises:
            DataError: see `SavedBlocks`.
        """
        saved = SavedBlocks(self._path, engine.store) if self._path.exists() else None
        if saved is not None:
            engine.pool.tiers.append(saved)
            if engine.states is not None:
                engine.states.saved = SavedStates(self._path, engine.states.slots)
        try:
            yield
        except (KeyboardInterrupt, BrokenPipeError):
            self._write(engine, saved)
            raise
        self._write(engine, saved)

    def _write(self, engine: Engine, saved: SavedBlocks | None) -> None:
        if not self._read_only:
            save_blocks(
                self._path,
                engine.store,
                engine.pool,
                self._made_with,
                host=engine.host,
                saved=saved,
                memory=engine.states,
            )


@contextmanager
def keeping(cache: PromptCache | None, engine: Engine) -> Iterator[None]:
    """`PromptCache.keeping`, where one was asked for."""
    if cache is None:
        yield
        return
    with cache.keeping(engine):
        yield


def open_prompt_cache(job: Job, placement: Placement) -> PromptCache | None:
    """The file that was asked for; None where none was.

    Raises:
        DataError: see `PromptCache`.
    """
    path = job.files.prompt_cache
    if path is None:
        return None
    return PromptCache(job, placement, path, read_only=job.files.prompt_cache_read_only)
