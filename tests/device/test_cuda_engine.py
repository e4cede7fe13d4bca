"""The engine on a GPU: its own kernels and graphs held against the CPU and against slower ways of the same.

Everything here needs a GPU; what surrounds these calls is tested on the CPU by `tests/engine/cuda/`. How to
run it: `tests/bench/README.md`, "cuda".
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from llmkit.engine import engine as engine_module
from llmkit.engine.block_table import BlockTable
from llmkit.engine.blocks import Block
from llmkit.engine.config import SamplingConfig
from llmkit.engine.cuda.attention import AttentionRules, GatheredAttention
from llmkit.engine.cuda.batch import BlockTables, mixed_batch
from llmkit.engine.cuda.graphs import Recorded
from llmkit.engine.cuda.kernel_attention import KernelAttention
from llmkit.engine.cuda.plan import PagePlan, plan_pages
from llmkit.engine.cuda.runner import CudaRunner
from llmkit.engine.drafts import PromptLookup
from llmkit.engine.engine import Engine, EngineConfig
from llmkit.engine.request import Request
from llmkit.engine.runner import Runner, paged_spans
from llmkit.engine.scheduler import Work
from llmkit.engine.store import KVStore
from llmkit.engine.text import Text
from llmkit.model.config import ModelConfig
from llmkit.model.config_parts import ExpertsConfig
from llmkit.model.transformer import Transformer

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason='no CUDA device: see tests/bench/README.md, "cuda"'
)
DEVICE = torch.device("cuda")
BASE: dict[str, Any] = {
    **{"vocab_size": 512, "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 3},
    **{"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 2048},
}
MISTRAL: dict[str, Any] = {"model_type": "mistral", "sliding_window": 300, "sliding_layers": (0, 1, 2)}
GEMMA2: dict[str, Any] = {
    **{"model_type": "gemma2", "norm_plus_one": True, "norm_placement": "both", "tie_word_embeddings": True},
    **{"sliding_window": 300, "sliding_layers": (0, 2), "attn_logit_softcapping": 5.0},
    **{"final_logit_softcapping": 30.0, "embedding_scale": 128**0.5, "attention_scale": 0.2},
    "hidden_act": "gelu_pytorch_tanh",
}
MIXTRAL: dict[str, Any] = {
    "model_type": "mixtral",
    "experts": ExpertsConfig(
        num_experts=4, num_experts_per_tok=2, intermediate_size=256, layers=(0, 1, 2), norm_topk_prob=True
    ),
}
MODELS: dict[str, dict[str, Any]] = {"llama": {}, "mistral": MISTRAL, "gemma2": GEMMA2, "mixtral": MIXTRAL}
SHARED = [(7 * at + at * at // 3) % 512 for at in range(600)]
PROMPTS = [[1 + number] * (1 + 9 * number) for number in range(5)] + [
    [*SHARED, number] for number in range(3)
]
CONFIG = EngineConfig(positions=16_384, max_texts=6, pass_tokens=256)


class RunAgain:
    """A recorder that runs the call each time: the same shapes, and no graph."""

    def record(self, call: Callable[[], Tensor]) -> Recorded:
        output = call()
        return Recorded(lambda: output.copy_(call()), output)


@pytest.fixture(autouse=True)
def exact_products() -> Iterator[None]:
    """float32 products in float32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    yield
    torch.set_float32_matmul_precision(before)


def _model(fields: dict[str, Any], dtype: torch.dtype = torch.float32, device: Any = DEVICE) -> Transformer:
    """Every weight drawn, alike wherever and however it is kept: rounded to bfloat16 first."""
    model = Transformer(ModelConfig(**(BASE | fields))).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(0.0, 0.1, generator=generator)
            if parameter.dim() == 1 and name.endswith("norm.weight") and not fields.get("norm_plus_one"):
                parameter.add_(1.0)
            parameter.copy_(parameter.bfloat16().float())
    return model.to(device=device, dtype=dtype)


def _greedy(
    model: Transformer, *, guess: bool = False, config: EngineConfig = CONFIG
) -> tuple[Engine, list[list[int]]]:
    engine = Engine(model, config, proposer=PromptLookup() if guess else None)
    sampling = SamplingConfig(max_tokens=24, temperature=0.0, ignore_eos=True)
    numbers = [engine.submit(Request(tuple(prompt), sampling)) for prompt in PROMPTS]
    drawn: dict[int, list[int]] = {number: [] for number in numbers}
    while not engine.is_idle:
        for event in engine.step():
            if event.error is not None:
                raise event.error
            assert event.drawn is not None
            drawn[event.number].append(event.drawn.id)
    return engine, [drawn[number] for number in numbers]


def _plan(model: Transformer) -> PagePlan:
    weight = model.model.embed_tokens.weight
    return plan_pages(model.config, weight.dtype, weight.device)


def _runner(model: Transformer, plan: PagePlan, **more: Any) -> CudaRunner:
    dtype = model.model.embed_tokens.weight.dtype
    store = KVStore(model.config, 257, 16, dtype, DEVICE)
    return CudaRunner(model, store, plan, max_texts=4, **more)


def _works() -> list[Text]:
    """Three texts of 700, 256 and 3 tokens, whose blocks lie anywhere."""
    blocks = [(5 * number + 2) % 256 for number in range(256)]
    texts = []
    for number, length in enumerate((700, 256, 3)):
        sampler: Any = None
        tokens = [(at * (number + 3) + at // 7) % 512 for at in range(length)]
        request = Request(tuple(tokens), SamplingConfig(max_tokens=9))
        text = Text(number=number, request=request, sampler=sampler, room=9, tokens=tokens)
        count = -(-(length + 20) // 16)
        text.tables = [BlockTable(blocks=[Block(index) for index in blocks[:count]])]
        blocks = blocks[count:]
        texts.append(text)
    return texts


def _passes(run: Callable[[Sequence[Work]], list[Tensor | None]]) -> Tensor:
    """Scores of a pass over prompts in two parts, and of eight steps of all three texts."""
    texts = _works()
    found = [*run([Work(text, 0, len(text.tokens) // 2 or 1, 0) for text in texts])]
    halves = [len(text.tokens) // 2 or 1 for text in texts]
    rest = zip(texts, halves, strict=True)
    found += run([Work(text, half, len(text.tokens) - half, 0) for text, half in rest])
    for step in range(8):
        for text in texts:
            text.tokens.append((31 * step + text.number) % 512)
        found += run([Work(text, len(text.tokens) - 1, 1, 0) for text in texts])
    return torch.cat([one for one in found if one is not None])


def _reference(fields: dict[str, Any]) -> Tensor:
    """The same scores on a CPU in float32, by the slow twin."""
    model = _model(fields, device="cpu")
    return _passes(Runner(model, KVStore(model.config, 257, 16)).run)


@pytest.mark.parametrize("fields", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("guess", [False, True], ids=["", "guessing"])
def test_greedy_text_in_float32_is_that_of_the_cpu(fields: dict[str, Any], guess: bool) -> None:
    _, expected = _greedy(_model(fields, device="cpu"), guess=guess)
    engine, found = _greedy(_model(fields), guess=guess)
    assert engine.pages.attention == "kernels"
    assert found == expected
    assert engine.counts.cached_tokens > 0 and engine.pool.num_free == engine.pool.num_blocks


@pytest.mark.parametrize("fields", [{}, MISTRAL, GEMMA2], ids=["llama", "mistral", "gemma2"])
def test_bfloat16_is_as_near_to_float32_as_the_modules_own(fields: dict[str, Any]) -> None:
    exact, model = _reference(fields), _model(fields, torch.bfloat16)
    plan = _plan(model)
    assert plan.attention == "kernels"
    slow = Runner(model, KVStore(model.config, 257, 16, torch.bfloat16, DEVICE))
    plain = (_passes(slow.run) - exact).square().mean().sqrt()
    ours = (_passes(_runner(model, plan).run) - exact).square().mean().sqrt()
    assert float(ours) < 1.5 * float(plain)
    assert float(ours) < 0.1 * float(exact.std())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("fields", [{}, MISTRAL, GEMMA2], ids=["llama", "mistral", "gemma2"])
def test_replayed_scores_are_those_of_the_calls_that_were_recorded(
    fields: dict[str, Any], dtype: torch.dtype
) -> None:
    model = _model(fields, dtype)
    plan = _plan(model)
    assert plan.graphs
    replayed = _passes(_runner(model, plan).run)
    called = _passes(_runner(model, plan, recorder=RunAgain()).run)
    close = 1e-5 if dtype == torch.float32 else 2e-2
    assert float((replayed - called).abs().max()) < close * float(called.std())


def test_greedy_text_in_bfloat16_is_the_same_with_and_without_graphs_nearly_always(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = _model({}, torch.bfloat16)
    _, with_graphs = _greedy(model)
    plan = replace(_plan(model), graphs=False)
    monkeypatch.setattr(engine_module, "plan_pages", lambda *rest: plan)
    engine, without = _greedy(model)
    assert engine.pages is plan
    same = sum(one == other for one, other in zip(with_graphs, without, strict=True))
    assert same >= len(PROMPTS) - 2  # unpadded products round otherwise: two best scores may change places


@pytest.mark.parametrize("window", [None, 1, 200, 600])
@pytest.mark.parametrize("heads", [(4, 4), (8, 2), (6, 1)])
@pytest.mark.parametrize("count", [1, 130])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_kernels_read_pages_as_gathered_attention_does(
    window: int | None, heads: tuple[int, int], count: int, dtype: torch.dtype
) -> None:
    texts = _works()
    works = [Work(text, max(0, len(text.tokens) - count), min(count, len(text.tokens)), 0) for text in texts]
    works.sort(key=lambda work: work.count > 1)
    tables = BlockTables(3, 256, 256, DEVICE)
    batch = mixed_batch(works, paged_spans(works), tables.slots(works), tables.tensor, 16)
    generator = torch.Generator().manual_seed(0)
    shape = (257 * 16, heads[1], 64)
    keys, values = (torch.randn(shape, generator=generator).to(DEVICE, dtype) for _ in range(2))
    q = torch.randn(len(batch.ids), heads[0], 64, generator=generator).to(DEVICE, dtype)
    rules = AttentionRules(64**-0.5, window=window)
    exact = GatheredAttention().over(batch)(q.float(), keys.float(), values.float(), rules)
    found = KernelAttention().over(batch)(q, keys, values, rules)
    close = 1e-5 if dtype == torch.float32 else 2e-2
    torch.testing.assert_close(found.float(), exact, rtol=close, atol=close)


def test_a_step_waits_for_nothing_but_its_scores() -> None:
    model = _model({}, torch.bfloat16)
    plan = _plan(model)
    runner, texts = _runner(model, plan), _works()
    runner.run([Work(text, 0, len(text.tokens), 0) for text in texts])

    def step() -> None:
        for text in texts:
            text.tokens.append(1)
        runner.run([Work(text, len(text.tokens) - 1, 1, 0) for text in texts])

    step()  # records
    torch.cuda.set_sync_debug_mode("error")
    try:
        step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_memory_does_not_grow_with_the_steps() -> None:
    model = _model({}, torch.bfloat16)
    engine, _ = _greedy(model)
    sampling = SamplingConfig(max_tokens=200, temperature=0.0, ignore_eos=True)
    assert len([*engine.run(Request((1, 2, 3), sampling))]) == 200  # records what one text needs
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated(DEVICE)
    assert len([*engine.run(Request((1, 2, 3), sampling))]) == 200
    assert torch.cuda.memory_allocated(DEVICE) - before < 1 << 20
