"""Decoding on a GPU, and how much of the memory bandwidth it uses: python tests/bench/cuda_decode.py

Models with random bfloat16 weights write greedy text after prompts of --context tokens, through the engine as
`llmkit generate` has it (plan, pass, scores to the CPU, draw) and through the runner alone (the pass and its
scores). Ways take turns, round after round; medians are printed. A step's bytes are those that it cannot do
without: every weight but the embedding rows that are not looked up, and the keys and values of every text so
far. The bandwidth beside them is that of copying 1 GiB in the same run, read and written bytes counted. Each
way has a cache of its own.

  graphs   as the engine chooses
  eager    the same kernels, each called by Python
  gathered pages copied side by side for torch's attention, in graphs too
  modules  text by text through the model's modules: what the engine did before
"""

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from time import perf_counter

import torch

from llmkit.engine.block_table import BlockTable
from llmkit.engine.blocks import Block
from llmkit.engine.config import SamplingConfig
from llmkit.engine.cuda.plan import PagePlan, plan_pages
from llmkit.engine.engine import Engine, EngineConfig
from llmkit.engine.request import Request
from llmkit.engine.sampling import Sampler
from llmkit.engine.scheduler import Work
from llmkit.engine.store import KVStore
from llmkit.engine.text import Text
from llmkit.engine.torch_machinery import torch_runner
from llmkit.model.config import ModelConfig
from llmkit.model.transformer import Transformer

SHAPES = {
    "S": ModelConfig(
        vocab_size=32_000, hidden_size=768, intermediate_size=2048, num_hidden_layers=12,
        num_attention_heads=12, num_key_value_heads=4, tie_word_embeddings=True, max_position_embeddings=8192,
    ),
    "M": ModelConfig(
        vocab_size=32_000, hidden_size=2048, intermediate_size=5632, num_hidden_layers=22,
        num_attention_heads=32, num_key_value_heads=4, max_position_embeddings=8192,
    ),
    "L": ModelConfig(
        vocab_size=128_256, hidden_size=4096, intermediate_size=14_336, num_hidden_layers=32,
        num_attention_heads=32, num_key_value_heads=8, max_position_embeddings=8192,
    ),
}  # fmt: skip
COPY_BYTES = 1 << 30
ROUNDS_OF_COPY = 20


@dataclass(frozen=True)
class Row:
    """One way with one model and batch."""

    shape: str
    batch: int
    way: str
    step_milliseconds: float
    tokens_per_second: float
    gigabytes_per_second: float
    share_of_bandwidth: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=["S", "M"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8, 32])
    parser.add_argument("--context", type=int, default=512, help="tokens of each prompt")
    parser.add_argument("--steps", type=int, default=64, help="of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cuda", help="cpu: only to see that the script runs")
    parser.add_argument("--json", action="store_true", help="rows to compare by program")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        sys.exit("no CUDA device")
    bandwidth = _bandwidth(device)
    rows = []
    for shape in arguments.shapes:
        model = _model(SHAPES[shape], device)
        plan = plan_pages(model.config, torch.bfloat16, device)
        if plan.attention is None:
            plan = PagePlan("gathered")
        print(f"{shape}: {plan.describe(EngineConfig.block_tokens)}", file=sys.stderr)
        for batch in arguments.batches:
            rows += _measure(shape, model, plan, batch, arguments, bandwidth)
    if arguments.json:
        print(json.dumps({"bandwidth_bytes_per_second": bandwidth, "rows": [asdict(row) for row in rows]}))
        return
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}, copying at {bandwidth / 1e9:,.0f} GB/s\n")
    print("| model | texts | way | ms a step | tokens/s | GB/s | of bandwidth |")
    print("|---|---:|---|---:|---:|---:|---:|")
    for row in rows:
        print(
            *("|", row.shape, "|", row.batch, "|", row.way, "|", f"{row.step_milliseconds:.2f}"),
            *("|", f"{row.tokens_per_second:,.0f}", "|", f"{row.gigabytes_per_second:,.0f}"),
            *("|", f"{row.share_of_bandwidth:.0%}", "|"),
        )


def _measure(
    shape: str,
    model: Transformer,
    plan: PagePlan,
    batch: int,
    arguments: argparse.Namespace,
    bandwidth: float,
) -> list[Row]:
    context, steps, device = arguments.context, arguments.steps, torch.device(arguments.device)
    pages = {"graphs": plan, "eager": replace(plan, graphs=False)} if plan.graphs else {"eager": plan}
    pages["gathered"] = replace(plan, attention="gathered")
    ways: dict[str, Callable[[], float]] = {
        f"runner, {name}": _by_runner(model, one, batch, context, steps) for name, one in pages.items()
    }
    ways["runner, modules"] = _by_runner(model, PagePlan(None), batch, context, steps)
    ways["engine"] = _by_engine(model, batch, context, steps)
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(arguments.rounds + 1):
        for way, run in ways.items():
            _wait(device)
            seconds[way].append(run() / steps)
    config = model.config
    row_bytes = 2 * config.num_key_value_heads * config.head_dim * 2 * config.num_hidden_layers
    step_bytes = _weight_bytes(model) + batch * (context + steps / 2) * row_bytes
    rows = []
    for way, taken in seconds.items():
        median = statistics.median(taken[1:])  # the first round records graphs
        speed = step_bytes / median
        rows.append(Row(shape, batch, way, median * 1e3, batch / median, speed / 1e9, speed / bandwidth))
    return rows


def _by_runner(
    model: Transformer, plan: PagePlan, batch: int, context: int, steps: int
) -> Callable[[], float]:
    """The seconds of so many steps of the runner, from the same place each time."""
    device = model.model.embed_tokens.weight.device
    blocks = -(-(context + steps) // EngineConfig.block_tokens)
    store = KVStore(
        model.config, batch * blocks + plan.spare_blocks, EngineConfig.block_tokens, torch.bfloat16, device
    )
    runner = torch_runner(model, store, plan, batch)
    sampling = SamplingConfig(max_tokens=steps + 1)
    texts = []
    for number in range(batch):
        tokens = [(at * 31 + number) % model.config.vocab_size for at in range(context)]
        request = Request(tuple(tokens), sampling)
        sampler = Sampler(sampling, tokens, model.config.vocab_size)
        text = Text(number=number, request=request, sampler=sampler, room=steps + 1, tokens=tokens)
        text.tables = [BlockTable(blocks=[Block(number * blocks + block) for block in range(blocks)])]
        runner.run([Work(text, 0, context, 0)])
        texts.append(text)

    def run() -> float:
        for text in texts:
            del text.tokens[context:]
        begin = perf_counter()
        for step in range(steps):
            for text in texts:
                text.tokens.append(step % model.config.vocab_size)
            runner.run([Work(text, context + step, 1, 0) for text in texts])
        return perf_counter() - begin

    return run


def _by_engine(model: Transformer, batch: int, context: int, steps: int) -> Callable[[], float]:
    """The seconds of so many steps of the engine, prompts read before."""
    room = -(-(context + steps + 1) // 256) * 256
    engine = Engine(model, EngineConfig(positions=batch * room, max_texts=batch, reuse=False))
    sampling = SamplingConfig(max_tokens=steps + 1, temperature=0.0, ignore_eos=True)

    def run() -> float:
        for number in range(batch):
            prompt = tuple((at * 31 + number) % model.config.vocab_size for at in range(context))
            engine.submit(Request(prompt, sampling))
        drawn: dict[int, int] = {}
        while len(drawn) < batch or min(drawn.values()) < 1:
            for event in engine.step():
                drawn[event.number] = drawn.get(event.number, 0) + 1
        begin, more = perf_counter(), 0
        while not engine.is_idle:
            more += len(engine.step())
        return (perf_counter() - begin) * steps * batch / more  # those read first have drawn some already

    return run


def _model(config: ModelConfig, device: torch.device) -> Transformer:
    with torch.device("meta"):
        model = Transformer(config).eval()
    model.to(torch.bfloat16).to_empty(device=device)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(1.0) if name.endswith("norm.weight") else parameter.normal_(0.0, 0.02)
    return model


def _weight_bytes(model: Transformer) -> int:
    """Of a step: all but an embedding that is not also the head."""
    whole = sum(parameter.nbytes for parameter in model.parameters())
    return whole if model.config.tie_word_embeddings else whole - model.model.embed_tokens.weight.nbytes


def _bandwidth(device: torch.device) -> float:
    """Bytes a second of copying, read and written."""
    size = COPY_BYTES if device.type == "cuda" else COPY_BYTES >> 4
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    taken = []
    for _ in range(ROUNDS_OF_COPY):
        _wait(device)
        begin = perf_counter()
        target.copy_(source)
        _wait(device)
        taken.append(perf_counter() - begin)
    return 2 * size / statistics.median(taken)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
