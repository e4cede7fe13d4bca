"""What this machine can do at its best: the bandwidth and the FLOPs that MBU and MFU are shares of.

Decoding reads every weight once a token, prefill and training multiply matrices. So bandwidth is what
streaming through memory reaches, and the peak is what one large matrix product reaches, each with the threads
and the dtype of the case that is compared with it, or in float32 where that is faster: numbers of any dtype
can be widened to it, as our kernels do on a CPU without instructions for bfloat16. Both are tried between the
rounds of a measurement, and the best is kept: a machine that is busy for a while makes no lower ceiling.
"""

import time
from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from llmkit.kernels.bandwidth import memory_bandwidth
from llmkit.kernels.library import available, set_threads
from llmkit.probe.bench import Ceiling

STREAM_BYTES = 256 << 20
"""Several times what processors have of cache."""
_WIDTH = 4096
_SIDES = (256, 512, 1024, 2048)
_LONG_SECONDS = 0.15
"""A product that takes this long is followed by no larger one: a dtype may have no fast kernel at all."""


class SpeedProbe:
    """Measures again each time it is asked, and keeps the best. Between two times it holds no memory.

    Args:
        stream_bytes: read by one stream.
        sides: of the matrices that are multiplied, rising.
    """

    def __init__(self, *, stream_bytes: int = STREAM_BYTES, sides: tuple[int, ...] = _SIDES) -> None:
        self._rows = stream_bytes // (4 * _WIDTH)
        self._sides = sides
        self._bytes: dict[int, tuple[float, str]] = {}
        self._flops: dict[tuple[int, str], tuple[float, str]] = {}

    @torch.inference_mode()
    def measure(self, pairs: Iterable[tuple[int, str]]) -> None:
        """Try once for pairs of threads and dtype. Changes torch's number of threads and the kernels'."""
        pairs = list(pairs)
        weights, target = torch.ones(self._rows, _WIDTH), torch.ones(self._rows, _WIDTH)
        for threads in {threads for threads, _ in pairs}:
            torch.set_num_threads(threads)
            self._stream(threads, weights, target)
        for threads, dtype in pairs:
            torch.set_num_threads(threads)
            self._multiply(threads, dtype)

    def best(self, threads: int, dtype: str) -> Ceiling:
        """What was reached so far."""
        return Ceiling(threads, dtype, *self._bytes[threads], *self._flops[threads, dtype])

    def _stream(self, threads: int, weights: Tensor, target: Tensor) -> None:
        """A copy reads and writes; a row times a matrix reads, as decoding does; our kernels only read."""
        row = torch.ones(1, _WIDTH)
        size = f"of {weights.nbytes >> 20} MiB"
        copied = 2 * weights.nbytes / _seconds(lambda: target.copy_(weights))
        read = weights.nbytes / _seconds(lambda: F.linear(row, weights))
        found = max((copied, f"copy {size}"), (read, f"matrix-vector product {size}"))
        if available():
            set_threads(threads)
            found = max(found, (memory_bandwidth(weights.nbytes, repeats=2), f"kernels' read {size}"))
        self._bytes[threads] = max(self._bytes.get(threads, found), found)

    def _multiply(self, threads: int, dtype: str) -> None:
        tried = [self._product(dtype, "")]
        if dtype != "float32":
            tried.append(self._product("float32", " in float32"))
        found = max(tried)
        self._flops[threads, dtype] = max(self._flops.get((threads, dtype), found), found)

    def _product(self, dtype: str, how: str) -> tuple[float, str]:
        """The most FLOPs a second, and of which product."""
        tried = []
        for side in self._sides:
            matrix = torch.ones(side, side, dtype=getattr(torch, dtype))
            product = partial(torch.matmul, matrix, matrix)
            seconds = min(_seconds(product) for _ in range(2))
            tried.append((2 * side**3 / seconds, f"product of {side} x {side}{how}"))
            if seconds > _LONG_SECONDS:
                break
        return max(tried)


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin
