"""llmkit bench decode: how long each further token takes, of one text or of several at once."""

import torch
from torch import Tensor

from llmkit.engine.config import SamplingConfig
from llmkit.engine.engine import Engine, EngineConfig
from llmkit.engine.native.weights import PackedModel
from llmkit.engine.request import Request
from llmkit.model.config import ModelConfig
from llmkit.model.transformer import Transformer
from llmkit.probe.bench import OURS
from llmkit.probe.config import BenchDecodeConfig
from llmkit.probe.work import decode_work
from llmkit.workflows.bench.case import BenchCase, Point, check_positions
from llmkit.workflows.bench.kernels import streamed_bytes
from llmkit.workflows.bench.llama import LLAMA_CPP, LlamaPeer
from llmkit.workflows.bench.peer import TRANSFORMERS, PeerText


def check(config: ModelConfig, point: Point) -> None:
    """Refuse a text that does not fit."""
    check_positions(config, point, cache_positions(point) + 1)


def cache_positions(point: Point) -> int:
    """That a case keeps of each text."""
    return _held(point) + int(point["tokens"])


def build(
    model: Transformer | PackedModel,
    peer: object | None,
    point: Point,
    settings: BenchDecodeConfig,
    coded_bytes: int | None = None,
) -> list[BenchCase]:
    """llmkit's case at a point, and the peer's where there is one. All make the same steps.

    llmkit draws one token more than it makes steps: the first one follows from what the cache holds, and is
    drawn, with the cache filled, before the clock starts.

    Args:
        model: in evaluation mode; or packed for the kernels, which then compute.
        peer: what `as_transformers` gives, or a LlamaPeer.
        coded_bytes: of all weights, where they stay the codes of their file.
    """
    tokens, batch, held = int(point["tokens"]), int(point["batch"]), _held(point)
    random = torch.Generator().manual_seed(settings.seed)
    ids = torch.randint(model.config.vocab_size, (batch, held), generator=random)
    dtype, weights = str(point["dtype"]), str(point["weights"])
    work = decode_work(
        model.config,
        tokens=tokens,
        depth=held,
        weight_bytes=streamed_bytes(model.config, dtype, weights, batch, coded_bytes=coded_bytes),
        dtype=dtype,
        batch=batch,
    )
    texts = Texts(model, ids.tolist(), tokens)
    cases = [
        BenchCase(
            OURS, point, work, texts.write, prepare=texts.prepare, on_kernels=isinstance(model, PackedModel)
        )
    ]
    if isinstance(peer, LlamaPeer):
        cases.append(
            _llama_case(
                peer, ids, torch.randint(model.config.vocab_size, (tokens, batch), generator=random), cases[0]
            )
        )
    elif peer is not None:
        cases.append(_peer_case(peer, ids, cases[0]))
    return cases


class Texts:
    """llmkit's texts: the first token of each, then the others."""

    def __init__(self, model: Transformer | PackedModel, prompts: list[list[int]], tokens: int) -> None:
        """
        Args:
            model: in evaluation mode; or packed for the kernels, which then compute.
            prompts: what the cache holds of each text before.
            tokens: further ones that `write` draws of each.
        """
        longest = max(map(len, prompts)) + tokens
        blocks = 2 * -(-longest // EngineConfig.block_tokens)  # what a run wrote stays until it is in the way
        self._engine = Engine(
            model,
            EngineConfig(
                positions=len(prompts) * blocks * EngineConfig.block_tokens,
                max_texts=len(prompts),
                pass_tokens=max(EngineConfig.pass_tokens, len(prompts) * EngineConfig.block_tokens),
            ),
        )
        greedy = SamplingConfig(max_tokens=tokens + 1, temperature=0.0, ignore_eos=True)
        self._requests = [Request(tuple(prompt), greedy) for prompt in prompts]
        self._texts: dict[int, list[int]] = {}

    def prepare(self) -> None:
        """Read what the cache holds, and draw the token after it; the prompts of an earlier run are found.

        The first time, where they take several passes, some texts are further than others: they start again.
        """
        for _ in range(2):
            for number in self._texts:
                self._engine.abort(number)
            self._texts = {self._engine.submit(request): [] for request in self._requests}
            while not all(self._texts.values()):
                self._step()
            if all(len(text) == 1 for text in self._texts.values()):
                break

    def write(self) -> list[list[int]]:
        """The tokens after that, of each text."""
        while not self._engine.is_idle:
            self._step()
        return [text[1:] for text in self._texts.values()]

    def _step(self) -> None:
        for event in self._engine.step():
            if event.error is not None:
                raise event.error
            assert event.drawn is not None
            self._texts[event.number].append(event.drawn.id)


def _peer_case(peer: object, ids: Tensor, ours: BenchCase) -> BenchCase:
    text = PeerText(peer, ids)
    assert text.next_token is not None
    start = torch.cat((ids, text.next_token), dim=1)
    tokens = int(ours.point["tokens"])
    return BenchCase(
        TRANSFORMERS,
        ours.point,
        ours.work,
        lambda: text.write(start, tokens).tolist(),
        prepare=text.prepare,
    )


def _llama_case(peer: LlamaPeer, ids: Tensor, steps: Tensor, ours: BenchCase) -> BenchCase:
    """As llama-bench and llama-batched-bench do, it is given the ids, (tokens, batch), and draws none."""
    positions, threads = cache_positions(ours.point), int(ours.point["threads"])
    context = peer.context(ids.tolist(), positions, threads)
    given = steps.tolist()
    return BenchCase(
        LLAMA_CPP,
        ours.point,
        ours.work,
        lambda: peer.decode(context, given),
        memory_bytes=lambda: peer.memory_bytes,
    )


def _held(point: Point) -> int:
    """Tokens in the cache before the first step: no text begins from nothing."""
    return max(1, int(point["depth"]))
