"""Latent attention in one call, beside numpy written out: keys and values made of every latent, head by head.

Shapes: T positions of one text, D hidden, H heads, N plain and R rotated numbers of a key, U of a value,
C of a latent, V vocabulary.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from llmkit.kernels.forward import Angles, Embedding, NativeModel, NewPositions, Sizes
from llmkit.kernels.forward_latent import LatentStructs, LatentWeights
from llmkit.kernels.forward_memory import KeptMemory
from llmkit.kernels.forward_structs import Activation, LatentStruct
from llmkit.kernels.forward_weights import LayerWeights, NormWeights
from llmkit.kernels.memory import ValueType, rows_of
from llmkit.kernels.packed import PackedFormat, PackedWeight, pack

Array = NDArray[np.float32]
D, H, N, R, U, C, V, BLOCK = 24, 4, 6, 4, 10, 16, 17, 4
POSITIONS = 32
TABLES = np.array([[3, 0, 7], [5, 1, 6]], np.int32)
pytestmark = pytest.mark.usefixtures("native")


@dataclass
class Model:
    """One layer whose MLP adds nothing, packed and plain."""

    heads: int
    rank: int
    w: dict[str, Array]
    cos_sin: tuple[Array, Array]
    kept_as: Callable[[Array], Array] = field(default=lambda rows: rows)
    """What a cache makes of what is kept."""

    @property
    def native(self) -> NativeModel:
        """Packed."""
        w, one = self.w, np.ones(D, np.float32)
        sizes = Sizes(
            **{"hidden": D, "heads": self.heads, "kv_heads": self.heads, "head_dim": N + R, "rotary_dim": R},
            **{"intermediate": 2, "vocabulary": V, "activation": Activation.SILU, "epsilon": 1e-5},
            scale=0.4,
        )
        layer = LayerWeights(
            q=packed(w["q"]),
            k=packed(w["k"]),
            o=packed(w["o"]),
            gate_up=packed(np.ones((4, D), np.float32)),
            down=packed(np.zeros((D, 2), np.float32)),
            biases=(None, w["k_bias"], None, w["o_bias"], None, None),
            latent=latent_weights(w),
        )
        return NativeModel(
            sizes, Embedding(rows_of(w["embedding"])), [layer], NormWeights(one), packed(w["head"])
        )

    def scores(self, ids: NDArray[np.int64]) -> Array:
        """Of what follows each position of one text. ids: (T)."""
        x = self.w["embedding"][ids]
        x = x + self.attended(self.queries(x), self.kept(x), len(ids)) @ self.w["o"].T + self.w["o_bias"]
        return norm(x, 1e-5) @ self.w["head"].T

    def queries(self, x: Array, first: int = 0) -> Array:
        """(T, heads, N + R)."""
        w = self.w
        if self.rank:
            x = norm(x @ w["q_a"].T + w["q_a_bias"], 1e-6) * w["q_norm"]
        q = (x @ w["q"].T).reshape(len(x), self.heads, N + R)
        return np.concatenate((q[..., :N], self.turned(q[..., N:], first)), -1)

    def kept(self, x: Array, first: int = 0) -> Array:
        """(T, C + R)."""
        row = x @ self.w["k"].T + self.w["k_bias"]
        latents = norm(row[:, :C], 1e-6) * self.w["kv_norm"]
        turned = self.turned(row[:, None, C:], first)[:, 0]
        return self.kept_as(np.concatenate((latents, turned), -1))

    def attended(self, q: Array, kept: Array, new: int) -> Array:
        """By the last `new` of all positions. (new, heads * U)."""
        c = kept[:, :C]
        keys = np.einsum("sc,hnc->shn", c, self.w["keys"])
        turned = np.repeat(kept[:, None, C:], self.heads, 1)
        scores = np.einsum("the,she->hts", q, np.concatenate((keys, turned), -1)) * 0.4
        seen = np.tril(np.ones((new, len(kept)), bool), len(kept) - new)
        weights = np.exp(np.where(seen, scores, -np.inf) - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        values = np.einsum("sc,huc->shu", c, self.w["values"])
        return np.einsum("hts,shu->thu", weights, values).reshape(new, -1)

    def turned(self, x: Array, first: int) -> Array:
        """x: (T, heads, R)."""
        c, s = (half[first : first + len(x), None] for half in self.cos_sin)
        a, b = np.split(x, 2, -1)
        return np.concatenate((a * c - b * s, b * c + a * s), -1)


def norm(x: Array, epsilon: float) -> Array:
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + np.float32(epsilon))


def packed(matrix: Array) -> PackedWeight:
    return pack(np.ascontiguousarray(matrix), PackedFormat.FLOAT32)


def latent_weights(w: dict[str, Array]) -> LatentWeights:
    through = (
        {"q_a": packed(w["q_a"]), "q_a_bias": w["q_a_bias"], "q_norm": w["q_norm"]} if "q_a" in w else {}
    )
    return LatentWeights(
        **through,
        kv_norm=w["kv_norm"],
        into=[packed(one.T) for one in w["keys"]],
        keys=[packed(one) for one in w["keys"]],
        values=[packed(one) for one in w["values"]],
        rotated=R,
        epsilon=1e-6,
    )


def make(random: np.random.Generator, *, rank: int, heads: int = H, positions: int = POSITIONS) -> Model:
    def normal(*shape: int) -> Array:
        return random.normal(0, 0.4, shape).astype(np.float32)

    w = {
        **{"q": normal(heads * (N + R), rank or D), "k": normal(C + R, D), "k_bias": normal(C + R)},
        **{"o": normal(D, heads * U), "o_bias": normal(D), "kv_norm": 1 + normal(C)},
        **{"keys": normal(heads, N, C), "values": normal(heads, U, C)},
        **{"embedding": 2 * normal(V, D), "head": normal(V, D)},
    }
    if rank:
        w |= {"q_a": normal(rank, D), "q_a_bias": normal(rank), "q_norm": 1 + normal(rank)}
    angle = np.outer(np.arange(positions), 5.0 ** -np.arange(R // 2)).astype(np.float32)
    return Model(heads, rank, w, (np.cos(angle), np.sin(angle)))


def passes(
    model: Model, texts: list[NDArray[np.int64]], steps: list[tuple[int, int]], kind: ValueType
) -> Array:
    """Scores after every position of two texts, pass by pass, each pass text by text."""
    store = np.zeros((8 * BLOCK, C + R), np.uint16 if kind is ValueType.BFLOAT16 else np.float32)
    memory = KeptMemory([store.ctypes.data], [store.ctypes.data], kind, BLOCK, (C + R, 1))
    native, angles = model.native, Angles([model.cos_sin])
    done, found = [0, 0], []
    for counts in steps:
        spans = [np.arange(at, at + count) for at, count in zip(done, counts, strict=True)]
        places = [
            table[span // BLOCK] * BLOCK + span % BLOCK for table, span in zip(TABLES, spans, strict=True)
        ]
        new = NewPositions(
            ids=np.concatenate([ids[span] for ids, span in zip(texts, spans, strict=True)]).tolist(),
            rows=np.concatenate(spans).tolist(),
            places=np.concatenate(places).tolist(),
            query_start=[0, counts[0], sum(counts)],
            lengths=[int(span[-1]) + 1 for span in spans],
            wanted=list(range(sum(counts))),
        )
        found.append(native.forward(new, angles, memory, TABLES[None]))
        done = [at + count for at, count in zip(done, counts, strict=True)]
    return np.concatenate(found)


STEPS = {  # new positions of both texts, which a pass expands, absorbs, or one so and the other so
    "expanded, then behind a past": [(3, 2), (6, 4)],
    "absorbed, one by one": [(1, 1)] * 9,
    "absorbed, some at once": [(6, 5), (2, 2), (2, 1)],
    "both in a pass": [(5, 2), (1, 6), (3, 1)],
}


@pytest.mark.parametrize("rank", [0, 12], ids=["straight", "through a rank"])
@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("kind", [ValueType.FLOAT32, ValueType.BFLOAT16])
def test_two_texts_in_some_passes_have_the_scores_of_the_formulas(
    rank: int,
    steps: str,
    kind: ValueType,
    to_bf16: Callable[[Array], NDArray[np.uint16]],
    from_bf16: Callable[[NDArray[np.uint16]], Array],
    same_on_any_threads: Callable[[Callable[[], Array]], Array],
) -> None:
    random = np.random.default_rng(0)
    model = make(random, rank=rank)
    if kind is ValueType.BFLOAT16:
        model.kept_as = lambda rows: from_bf16(to_bf16(rows))
    counts = STEPS[steps]
    texts = [random.integers(0, V, sum(one[text] for one in counts)) for text in (0, 1)]
    found = same_on_any_threads(lambda: passes(model, texts, counts, kind))
    first, second = (model.scores(ids) for ids in texts)
    wanted, done = [], [0, 0]
    for one in counts:
        wanted += [first[done[0] : done[0] + one[0]], second[done[1] : done[1] + one[1]]]
        done = [at + count for at, count in zip(done, one, strict=True)]
    # a number that lies between two of bfloat16's may be rounded to either
    bound = 2e-4 if kind is ValueType.FLOAT32 else 5e-3
    np.testing.assert_allclose(found, np.concatenate(wanted), rtol=bound, atol=bound)


def long_pass(
    model: Model, held: Sequence[int], new: int, random: np.random.Generator
) -> tuple[Array, Array]:
    """Scores of the last positions of texts that lie one behind another in memory: found, and wanted."""
    w, ends = model.w, np.cumsum(held)
    store = random.normal(0, 0.5, (ends[-1], C + R)).astype(np.float32)
    texts = [random.integers(0, V, new) for _ in held]
    kept, wanted = [], []
    for ids, count, end in zip(texts, held, ends, strict=True):
        x, first = w["embedding"][ids], count - new
        kept += [store[end - count : end - new], model.kept(x, first)]
        attended = model.attended(model.queries(x, first), np.concatenate(kept[-2:]), new)
        wanted.append(norm(x + attended @ w["o"].T + w["o_bias"], 1e-5) @ w["head"].T)
    block = np.gcd.reduce(held)
    tables = np.zeros((1, len(held), max(held) // block), np.int32)
    for row, (count, end) in enumerate(zip(held, ends, strict=True)):
        tables[0, row, : count // block] = np.arange((end - count) // block, end // block)
    memory = KeptMemory([store.ctypes.data], [store.ctypes.data], ValueType.FLOAT32, int(block), (C + R, 1))
    step = NewPositions(
        ids=np.concatenate(texts).tolist(),
        rows=[row for count in held for row in range(count - new, count)],
        places=[place for end in ends for place in range(end - new, end)],
        query_start=[new * text for text in range(len(held) + 1)],
        lengths=[*held],
        wanted=list(range(new * len(held))),
    )
    found = model.native.forward(step, Angles([model.cos_sin]), memory, tables)
    np.testing.assert_allclose(store, np.concatenate(kept), rtol=1e-5, atol=1e-5)
    return found, np.concatenate(wanted)


@pytest.mark.parametrize(
    "held",
    [
        pytest.param((40_000,), id="one text"),  # 12 heads x 20 numbers: more than are made at once
        pytest.param((35_100, 34_900), id="11 heads of one, and all 12 of a shorter one: more room"),
    ],
)
def test_heads_of_long_texts_are_made_some_at_a_time(held: tuple[int, ...]) -> None:
    random = np.random.default_rng(2)
    model = make(random, rank=0, heads=12, positions=max(held))
    found, wanted = long_pass(model, held, 16, random)
    np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=2e-4)


def test_what_the_library_is_told_is_null_where_there_is_none_and_sizes_are_those_of_the_matrices() -> None:
    random = np.random.default_rng(0)
    straight, through = (latent_weights(make(random, rank=rank).w) for rank in (0, 12))
    structs = [LatentStructs(one) for one in (straight, through)]
    first, second = (LatentStruct.from_address(one.address) for one in structs)
    assert (first.q_a.data, first.q_norm, first.q_a_bias) == (None, None, None)
    assert (second.q_a.rows, second.q_a.cols) == (12, D) and second.q_norm and second.q_a_bias
    assert (first.kept, first.plain, first.rotated, first.value) == (C, N, R, U)
    assert [len(list(one.matrices)) for one in (straight, through)] == [3 * H, 3 * H + 1]


def test_a_rank_without_its_norm_is_refused() -> None:
    w = make(np.random.default_rng(0), rank=12).w
    with pytest.raises(AssertionError):
        LatentWeights(
            q_a=packed(w["q_a"]), kv_norm=w["kv_norm"], into=[], keys=[], values=[], rotated=R, epsilon=1e-6
        )
