"""The native kernels beside torch's, on the linear layers of the S and M models: python
tests/bench/kernels.py

For each shape and batch, every kernel runs in turn, round after round (a busy machine slows all of them
alike), over as many copies of its weights as fill twice the last cache, so that weights come from memory.
Printed: the median time, the stored weights' GB/s (batches up to 16) or GFLOP/s (512), and the time of
torch's bfloat16 F.linear over ours. The memory bandwidth measured in the same minute stands first. --json
prints rows to compare by program.
"""

import argparse
import json
import os
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from time import perf_counter

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # torch's threads must not spin through our turn
import numpy as np
import torch
import torch.nn.functional as F

from llmkit.formats.quantised.bnb_4bit import NF4
from llmkit.kernels.bandwidth import memory_bandwidth
from llmkit.kernels.coded import Coded, CodedMatrix, Codes, Grouping
from llmkit.kernels.grouped import pack_coded
from llmkit.kernels.library import level, set_threads, threads
from llmkit.kernels.memory import Rows, ValueType
from llmkit.kernels.packed import PackedFormat, pack
from tests.kernels.native.calls import AttentionOptions, Cache, attention, matmul

SHAPES = {
    "M gate+up": (11264, 2048),
    "M down": (2048, 5632),
    "M qkv": (2560, 2048),
    "M o": (2048, 2048),
    "M head": (32000, 2048),
    "S gate+up": (4096, 768),
    "S qkv": (1280, 768),
}
CACHE_BYTES = 64 << 20
Call = Callable[[int], object]
"""Run once, on copy number i of the weights."""


@dataclass(frozen=True)
class Row:
    """One kernel on one shape."""

    shape: str
    batch: int
    kernel: str
    seconds: float
    gigabytes_per_second: float
    gigaflops: float
    times_bf16_linear: float


def ours(weight: torch.Tensor, x: torch.Tensor, kind: PackedFormat, copies: int) -> tuple[Call, int]:
    """A call of our kernel, and the bytes of one copy."""
    as_rows = Rows(weight.data_ptr(), *weight.shape, weight.stride(0), ValueType.FLOAT32, weight)
    packed = [pack(as_rows, kind) for _ in range(copies)]
    x_rows = Rows(x.data_ptr(), *x.shape, x.stride(0), ValueType.FLOAT32, x)
    out = np.empty((x.shape[0], weight.shape[0]), np.float32)
    return lambda i: matmul(packed[i], x_rows, out=out), packed[0].data.size


def of_codes(shape: tuple[int, int], x: torch.Tensor, grouping: Grouping, copies: int) -> tuple[Call, int]:
    """A call of our kernel on codes drawn at random."""
    rows, cols = shape
    random = np.random.default_rng(0)
    codes = random.integers(0, 16 if grouping.codes in (Codes.FOURS, Codes.FLOATS) else 120, shape).astype(
        "u1"
    )
    scales = np.full((rows, -(-cols // grouping.group)), 0.01, grouping.float_type)
    matrix = CodedMatrix(grouping, rows, cols, lambda wanted: Coded(grouping, codes[wanted], scales[wanted]))
    packed = [pack_coded(matrix) for _ in range(copies)]
    x_rows = Rows(x.data_ptr(), *x.shape, x.stride(0), ValueType.FLOAT32, x)
    out = np.empty((x.shape[0], rows), np.float32)
    return lambda i: matmul(packed[i], x_rows, out=out), packed[0].data.size


def theirs(weight: torch.Tensor, x: torch.Tensor, kind: torch.dtype, copies: int) -> tuple[Call, int]:
    """A call of F.linear, and the bytes of one copy."""
    weights = [weight.to(kind).clone() for _ in range(copies)]
    x = x.to(kind)
    return lambda i: F.linear(x, weights[i]), weights[0].nbytes


def int4pack(weight: torch.Tensor, x: torch.Tensor, copies: int) -> tuple[Call, int] | None:
    """A call of torch's weight-only int4 kernel in groups of 32, where this torch has it."""
    pack_op = getattr(torch.ops.aten, "_convert_weight_to_int4pack_for_cpu", None)
    op = getattr(torch.ops.aten, "_weight_int4pack_mm_for_cpu", None)
    if pack_op is None or op is None:
        return None
    codes = torch.randint(0, 16, weight.shape, dtype=torch.int32)
    weights = [pack_op(codes, 1) for _ in range(copies)]
    scales = torch.ones(weight.shape[1] // 32, weight.shape[0], 2, dtype=torch.bfloat16)
    x = x.to(torch.bfloat16)
    return lambda i: op(x, weights[i], 32, scales), weights[0].nbytes + scales.nbytes


def interleave(
    calls: dict[str, tuple[Call, int]], copies: dict[str, int], seconds: float
) -> dict[str, float]:
    """Median seconds of each call, in turns until `seconds` are spent."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    end = perf_counter() + seconds
    turn = 0
    while turn < 3 or perf_counter() < end:
        for name, (call, _) in calls.items():
            start = perf_counter()
            call(turn % copies[name])
            times[name].append(perf_counter() - start)
        turn += 1
    return {name: statistics.median(found) for name, found in times.items()}


def measure(shape: str, batch: int, seconds: float) -> Iterator[Row]:
    """All kernels on one shape."""
    rows, cols = SHAPES[shape]
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(rows, cols, generator=generator)
    x = torch.randn(batch, cols, generator=generator)
    copies, calls = {}, {}

    def enough(bits: float) -> int:
        return 1 if batch > 16 else max(2, int(CACHE_BYTES / (rows * cols * bits / 8)) + 1)

    for name, kind, bits in (("bf16 F.linear", torch.bfloat16, 16), ("fp32 F.linear", torch.float32, 32)):
        copies[name] = enough(bits)
        calls[name] = theirs(weight, x, kind, copies[name])
    copies["int4pack g32"] = enough(4.5)
    if (torch_int4 := int4pack(weight, x, copies["int4pack g32"])) is not None:
        calls["int4pack g32"] = torch_int4
    for kind, bits in zip(PackedFormat, (32, 16, 8.5, 4.5), strict=True):
        name = f"llmkit {kind.name.lower()}"
        copies[name] = enough(bits)
        calls[name] = ours(weight, x, kind, copies[name])
    order = np.random.default_rng(1).permutation(cols).astype(np.int32)
    for name, grouping, bits in (
        ("int4 g128", Grouping(Codes.FOURS, 128), 4.1),
        ("int4 act-order", Grouping(Codes.FOURS, 128, head=order.tobytes()), 4.1),
        ("nf4 g64", Grouping(Codes.FLOATS, 64, wide=True, head=NF4.tobytes()), 4.5),
        ("fp8 g128", Grouping(Codes.E4M3, 128, wide=True), 8.2),
    ):
        name = f"llmkit {name}"
        copies[name] = enough(bits)
        calls[name] = of_codes((rows, cols), x, grouping, copies[name])
    found = interleave(calls, copies, seconds)
    for name, time in found.items():
        yield Row(
            *(shape, batch, name, time, calls[name][1] / time / 1e9, 2 * batch * rows * cols / time / 1e9),
            found["bf16 F.linear"] / time,
        )


def ignoring(call: Callable[[], object]) -> Call:
    """A call without copies."""
    return lambda _: call()


def others(seconds: float) -> Iterator[tuple[str, float, float]]:
    """Attention of one new position: name, our seconds, torch's over ours."""
    for context, batch in ((512, 1), (4096, 1), (1024, 8)):
        q, k, v = (torch.randn(batch, n, t, 64) for n, t in ((32, 1), (4, context), (4, context)))
        cache = Cache(*(one.transpose(1, 2).contiguous().numpy() for one in (k, v)))
        lengths, rows = np.full(batch, context, np.int32), q[:, :, 0].contiguous().numpy()
        mine = partial(attention, rows, cache, lengths, AttentionOptions(scale=64**-0.5))
        sdpa = partial(F.scaled_dot_product_attention, q, k, v, enable_gqa=True)
        calls: dict[str, tuple[Call, int]] = {"ours": (ignoring(mine), 0), "sdpa": (ignoring(sdpa), 0)}
        found = interleave(calls, dict.fromkeys(calls, 1), seconds)
        yield f"attention {context} x{batch}", found["ours"], found["sdpa"] / found["ours"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=0, help="0: all")
    parser.add_argument("--shapes", nargs="*", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--batches", nargs="*", type=int, default=[1, 4, 8, 16, 512])
    parser.add_argument("--seconds", type=float, default=2.0, help="spent on each shape and batch")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    set_threads(arguments.threads)
    torch.set_num_threads(threads())
    torch.set_grad_enabled(False)
    bandwidth = memory_bandwidth()
    print(
        f"{level()}, {threads()} threads, memory {bandwidth / 1e9:.1f} GB/s, torch {torch.__version__}",
        file=sys.stderr,
    )
    for shape in arguments.shapes:
        for batch in arguments.batches:
            for row in measure(shape, batch, arguments.seconds):
                if arguments.json:
                    print(json.dumps({**asdict(row), "memory_bytes_per_second": bandwidth}), flush=True)
                    continue
                speed = (
                    f"{row.gigabytes_per_second:7.1f} GB/s"
                    f" ({row.gigabytes_per_second * 1e9 / bandwidth:4.0%} of memory)"
                    if batch <= 16
                    else f"{row.gigaflops:7.0f} GFLOP/s"
                )
                print(
                    f"{shape:10} b{batch:<4} {row.kernel:21} {row.seconds * 1e6:9.0f} us {speed}"
                    f"  x{row.times_bf16_linear:.2f}",
                    flush=True,
                )
    if not arguments.json:
        for name, time, ratio in others(arguments.seconds):
            print(f"{name:20} {time * 1e6:9.0f} us  x{ratio:.2f} of torch")


if __name__ == "__main__":
    main()
