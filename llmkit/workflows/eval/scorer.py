"""A model opened for `llmkit eval`: it scores what it is given with the engine that serves it."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from llmkit.engine.config import GenerateConfig, Kernels, KVDtype, SamplingConfig, Weights
from llmkit.engine.request import Drawn, Request
from llmkit.errors import UsageError
from llmkit.formats.digest import digest_bytes
from llmkit.tokens.prompt import PromptEncoder
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.workflows.generate.extent import Extent
from llmkit.workflows.generate.job import Job
from llmkit.workflows.generate.partial import model_files
from llmkit.workflows.model_job import JobOptions

if TYPE_CHECKING:
    from torch import Tensor

    from llmkit.engine.completion import Piece
    from llmkit.engine.engine import Engine
    from llmkit.workflows.generate.placement import Placement


_ROUNDING = (
    "the kernels round what its int8 and int4 matrices are multiplied with to int8; --kernels torch does not"
)


@dataclass(frozen=True, kw_only=True)
class ModelOptions(JobOptions):
    """Which model, and where and how it runs; its adapter stays beside it."""

    kv_dtype: KVDtype = GenerateConfig.kv_dtype
    kernels: Kernels = GenerateConfig.kernels
    weights: Weights = GenerateConfig.weights
    batch: int | None = None
    """Texts at work at once; None: as many as are worth it and fit into memory."""
    plans: bool = False
    """Whether the first text is not computed, but a Planned raised that says what all of them would take."""

    def kept(self, records: Path | None) -> Path | None:
        """Where records go: nowhere for a plan."""
        return None if self.plans else records


class Scorer:
    """A model whose weights are read when they are first needed.

    Attributes:
        job: everything known without the weights.
        tokenizer, encoder: the model's.
        context: positions that it has.
        longest: tokens of the longest text that will be scored or written, at most; the cache is made for it.
    """

    def __init__(self, job: Job, longest: int | None = None) -> None:
        """
        Args:
            job: with a tokenizer.
            longest: see above; None: the context.
        """
        assert job.tokenizer is not None and job.encoder is not None
        self.job = job
        self.tokenizer: Tokenizer = job.tokenizer
        self.encoder: PromptEncoder = job.encoder
        self.context = job.model.max_position_embeddings
        self.longest = min(longest or self.context, self.context)

    @property
    def name(self) -> str:
        """The model, as reports call it; an adapter's name behind a plus."""
        return "+".join([str(self.job.files.model), *self.job.adapters.names])

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know: of the weights too, once they are read."""
        from llmkit.engine.native.weights import PackedModel

        model = self.engine.model if "engine" in vars(self) else None
        rounds = isinstance(model, PackedModel) and model.native.rounds_inputs
        rounding = f"{self.name}: {_ROUNDING}"
        return (*self.job.notes, rounding) if rounds else self.job.notes

    @property
    def adds_bos(self) -> bool:
        """Whether the tokenizer puts a begin token before a text."""
        return self.tokenizer.bos_id is not None and self.encoder.encode("a")[0] == self.tokenizer.bos_id

    @cached_property
    def fingerprint(self) -> str:
        """Of all of the model that bears on scores: which files, and how they run."""
        config, paths = self.job.config, [source.path for source in self.job.adapters.sources]
        how = (config.dtype, config.kv_dtype, config.rope_scaling, config.kernels, config.weights)
        strengths = [source.strength for source in self.job.adapters.sources]
        told = (model_files(self.job.files.model, paths), strengths, self.tokenizer.sha256, how)
        return digest_bytes(repr(told).encode())

    @cached_property
    def engine(self) -> "Engine":
        """What computes; the weights are read now.

        Raises:
            DataError, MissingError, ConfigError, ResourceError: see `place` and `start_engine`.
        """
        from llmkit.workflows.generate.model import start_engine

        return start_engine(self.job, self.placement())

    def placement(self) -> "Placement":
        """Where and how it runs, and the memory that it takes.

        Raises:
            ConfigError, ResourceError: see `place`.
        """
        from llmkit.workflows.generate.model import AT_ONCE, place

        texts = self.job.config.batch or AT_ONCE
        longest = min(self.longest, self.context)
        return place(self.job, Extent(texts, longest, longest, texts))

    def request(self, ids: Sequence[int], sampling: SamplingConfig) -> Request:
        """A text for the engine, with the adapter that was named."""
        return Request(tuple(ids), sampling, adapter=self.job.adapters.default)

    def score(self, texts: Iterable[tuple[Sequence[int], int]]) -> Iterator[list[Drawn]]:
        """The log probability of each token from a place on, text by text, in order.

        Args:
            texts: ids, and the place of the first that is scored, at least 1; read as there is room for more.

        Raises:
            UsageError, DataError: see `Request.check`; also scores that are not numbers.
        """
        sampling = SamplingConfig(max_tokens=1, temperature=0.0)
        return self.run(
            replace(self.request(ids, sampling), scores_prompt="only", scores_from=first)
            for ids, first in texts
        )

    def run(self, requests: Iterable[Request]) -> Iterator[list[Drawn]]:
        """What comes of each request, in order: its prompt's tokens that are scored, then those drawn.

        Raises:
            UsageError, DataError: see `score`.
        """
        is_empty: deque[bool] = deque()

        def filled() -> Iterator[Request]:
            for one in requests:
                is_empty.append(one.scores_prompt == "only" and len(one.prompt) < 2)
                if not is_empty[-1]:
                    yield one

        for piece in self.complete(filled()):
            if piece.completion is None:
                continue
            while is_empty.popleft():
                yield []
            yield list(piece.completion.drawn)
        yield from ([] for _ in is_empty)

    def complete(self, requests: Iterable[Request], tokenizer: Tokenizer | None = None) -> "Iterator[Piece]":
        """What the engine makes of requests, in order: see `complete_all`."""
        from llmkit.engine.completion import complete_all

        yield from complete_all(self.engine, requests, tokenizer)

    def logits(self, ids: Sequence[int]) -> "Iterator[Tensor]":
        """All scores after each token but the last, in pieces (n, V), float32: T - 1 rows together.

        Raises:
            UsageError, DataError: see `Request.check`.
        """
        import torch

        if self.engine.adapters.kernels == "native":
            torch.set_num_threads(1)  # more would spin in the kernels' turn
        held: list[Tensor] = []
        left = len(ids) - 1
        request = replace(self.request(ids, SamplingConfig(logprobs=0)), scores_prompt="only")
        engine = self.engine
        number = engine.submit(request)
        engine.on_rows = lambda _, rows: held.append(torch.from_numpy(rows))
        try:
            while left:
                for event in engine.step():
                    if event.error is not None:
                        raise event.error
                while held:
                    rows = held.pop(0)[:left]
                    left -= len(rows)
                    yield rows
        finally:
            engine.on_rows = None
            engine.abort(number)

    def pair(self, context: str, continuation: str) -> tuple[list[int], int]:
        """The ids of two texts one after the other, and where those of the second begin.

        As lm-evaluation-harness has it: both are encoded together, blanks at the end of the first belong to
        the second, and tokens beyond those of the first alone are the second's. Before an empty first text
        stands bos, or eos where the tokenizer has no bos.

        Raises:
            UsageError: no token stands before the second.
        """
        bare = context.rstrip()
        if not bare:
            before = self.encoder.encode("")
            if not before:
                raise UsageError(
                    "nothing stands before the text, and the tokenizer has neither bos nor eos",
                    hint="give it a prompt",
                )
            return before + self.encoder.encode(context + continuation, special=False), len(before)
        first = self.encoder.encode(bare)
        return self.encoder.encode(context + continuation), len(first)
