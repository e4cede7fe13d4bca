"""A whole layer stack in one call, beside numpy written out."""

import numpy as np
import pytest
from numpy.typing import NDArray

from llmkit.kernels.elementwise import Activation
from llmkit.kernels.forward import KeptMemory, LayerWeights, NativeModel, Sizes
from llmkit.kernels.library import available, set_threads, why_not
from llmkit.kernels.memory import ValueType
from llmkit.kernels.packed import PackedFormat, pack

pytestmark = pytest.mark.skipif(not available(), reason=f"the native library {why_not()}")
D, H, K, E, F, V, BLOCK = 24, 4, 2, 6, 20, 17, 4
Array = NDArray[np.float32]


def normal(random: np.random.Generator, *shape: int) -> Array:
    return random.normal(0, 0.5, shape).astype(np.float32)


def make(
    random: np.random.Generator, layers: int
) -> tuple[NativeModel, list[dict[str, Array]], Array, Array]:
    shapes = {
        **{"q": (H * E, D), "k": (K * E, D), "v": (K * E, D), "o": (D, H * E)},
        **{"gate_up": (2 * F, D), "down": (D, F)},
    }
    made, plain = [], []
    for _ in range(layers):
        matrices = {name: normal(random, *shape) for name, shape in shapes.items()}
        biases = {f"{name}_bias": normal(random, shape[0]) for name, shape in shapes.items()}
        norms = {name: 1 + normal(random, width) for name, width in (("input_norm", D), ("mlp_norm", D))}
        norms |= {"q_norm": 1 + normal(random, E), "k_norm": 1 + normal(random, E)}
        packed = {name: pack(matrix, PackedFormat.FLOAT32) for name, matrix in matrices.items()}
        made.append(LayerWeights(**norms, **packed, biases=tuple(biases.values())))
        plain.append(matrices | biases | norms)
    sizes = Sizes(
        hidden=D, heads=H, kv_heads=K, head_dim=E, rotary_dim=E, intermediate=F, vocabulary=V,
        activation=Activation.SILU, epsilon=1e-5, scale=E**-0.5,
    )  # fmt: skip
    last, head = 1 + normal(random, D), normal(random, V, D)
    return NativeModel(sizes, made, last, pack(head, PackedFormat.FLOAT32)), plain, last, head


def rms(x: Array, weight: Array) -> Array:
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5) * weight


def by_hand(
    x: Array, plain: list[dict[str, Array]], last: Array, head: Array, cos: Array, sin: Array
) -> Array:
    """Scores after every position of one text. x: (T, D)."""
    T = len(x)
    causal = np.tril(np.ones((T, T), bool))

    def turned(heads: Array) -> Array:
        a, b = heads[..., : E // 2], heads[..., E // 2 :]
        c, s = cos[:T, None], sin[:T, None]
        return np.concatenate((a * c - b * s, b * c + a * s), -1)

    for w in plain:
        n = rms(x, w["input_norm"])
        q, k, v = (n @ w[name].T + w[f"{name}_bias"] for name in ("q", "k", "v"))
        q = turned(rms(q.reshape(T, H, E), w["q_norm"]))
        k = turned(rms(k.reshape(T, K, E), w["k_norm"])).repeat(H // K, 1)
        v = v.reshape(T, K, E).repeat(H // K, 1)
        scores = np.where(causal, np.einsum("the,she->hts", q, k) * E**-0.5, -np.inf)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        x = x + np.einsum("hts,she->the", weights, v).reshape(T, H * E) @ w["o"].T + w["o_bias"]
        both = rms(x, w["mlp_norm"]) @ w["gate_up"].T + w["gate_up_bias"]
        gate, up = both[:, :F], both[:, F:]
        x = x + (gate / (1 + np.exp(-gate)) * up) @ w["down"].T + w["down_bias"]
    return rms(x, last) @ head.T


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("wide", [False, True])
def test_two_texts_in_two_passes_have_the_scores_of_the_formulas(threads: int, wide: bool) -> None:
    random = np.random.default_rng(0)
    native, plain, last, head = make(random, layers=2)
    angle = np.outer(np.arange(32), 10.0 ** -np.arange(E // 2)).astype(np.float32)
    cos, sin = np.cos(angle), np.sin(angle)
    store = np.zeros((2, 2, 12 * BLOCK, K, E), np.float32)  # layer, keys or values
    memory = KeptMemory(
        tuple(layer[0].ctypes.data for layer in store), tuple(layer[1].ctypes.data for layer in store),
        ValueType.FLOAT32, BLOCK,
    )  # fmt: skip
    texts = [normal(random, 9, D), normal(random, 5, D)]
    tables = np.array([[3, 0, 7], [5, 1, 0]], np.int32)
    expected = [by_hand(x, plain, last, head, cos, sin) for x in texts]
    done = [0, 0]
    set_threads(threads)
    try:
        for counts in ((6, 2), (3, 3)):
            parts = [x[at : at + count] for x, at, count in zip(texts, done, counts, strict=True)]
            spans = [np.arange(at, at + count) for at, count in zip(done, counts, strict=True)]
            places = [
                table[span // BLOCK] * BLOCK + span % BLOCK for table, span in zip(tables, spans, strict=True)
            ]
            found = native.forward(
                np.concatenate(parts), np.concatenate(spans).astype(np.int32),
                np.concatenate(places).astype(np.int64), (cos, sin), memory, tables,
                np.array([0, counts[0], sum(counts)], np.int32),
                np.array([span[-1] + 1 for span in spans], np.int32),
                np.arange(sum(counts), dtype=np.int32), wide=wide,
            )  # fmt: skip
            wanted = [scores[span] for scores, span in zip(expected, spans, strict=True)]
            np.testing.assert_allclose(found, np.concatenate(wanted), rtol=2e-4, atol=2e-4)
            done = [at + count for at, count in zip(done, counts, strict=True)]
    finally:
        set_threads(0)


def test_nothing_wanted_is_nothing_scored() -> None:
    random = np.random.default_rng(1)
    native, _, _, _ = make(random, layers=1)
    store = np.zeros((2, BLOCK, K, E), np.float32)
    memory = KeptMemory((store[0].ctypes.data,), (store[1].ctypes.data,), ValueType.FLOAT32, BLOCK)
    flat = np.ones((4, E // 2), np.float32)
    one = np.zeros(1, np.int32)
    none = native.forward(
        normal(random, 1, D), one, np.zeros(1, np.int64), (flat, flat), memory, np.zeros((1, 1), np.int32),
        np.array([0, 1], np.int32), one + 1, np.zeros(0, np.int32),
    )  # fmt: skip
    assert none.shape == (0, V) and store[:, 0].any() and not store[:, 1:].any()
