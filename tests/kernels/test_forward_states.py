"""Layers of state in a pass, beside their formulas position by position; and how their states lie."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from layers_by_hand import Array, act, mlp, normal

from llmkit.kernels.forward import Angles, Embedding, NativeModel, NewPositions, Sizes
from llmkit.kernels.forward_memory import KeptMemory
from llmkit.kernels.forward_states import KeptStates, StateSizes, StateWeights
from llmkit.kernels.forward_structs import Activation
from llmkit.kernels.forward_weights import LayerWeights, NormWeights
from llmkit.kernels.memory import ValueType, rows_of
from llmkit.kernels.packed import PackedFormat, pack

D, F, V, SLOTS = 24, 20, 17, 3
G, W, X, Y, N = 2, 4, 6, 21, 4
"""Values are more than one vector, and keys no whole number of the sums that are added up side by side."""
CONV = StateSizes(channels=D, kernel=3)
RULE = StateSizes(channels=2 * G * X + W * Y, kernel=N, key_heads=G, value_heads=W, key_dim=X, value_dim=Y)
SPACE = StateSizes(
    **{"channels": W * 37 + 2 * G * 7, "kernel": N, "key_heads": G, "value_heads": W, "key_dim": 7},
    **{"value_dim": 37, "least_step": 0.4, "most_step": 1.1},
)
"""Steps are cut at both ends; values are a pair of vectors and a part of one, and keys an odd number."""
LAYERS = {"short convolution": CONV, "gated delta rule": RULE, "state space": SPACE}
needs_library = pytest.mark.usefixtures("native")


class OneLayer:
    """A model of one layer of state, without norms but the last."""

    def __init__(self, sizes: StateSizes) -> None:
        random = np.random.default_rng(3)
        self.sizes, self.embedding, self.head = sizes, normal(random, V, D), normal(random, V, D)
        read = sizes.value_heads * sizes.value_dim or D
        rows = 3 * D if sizes is CONV else sizes.channels + (read + W if sizes is SPACE else 0)
        self.w: dict[str, Array] = {
            **{"inputs": normal(random, rows, D), "inputs_bias": normal(random, rows)},
            **{
                "taps": normal(random, sizes.kernel, sizes.channels),
                "taps_bias": normal(random, sizes.channels),
            },
            **{"gate": normal(random, W * Y, D), "rates": normal(random, 2 * W, D)},
            **{"slopes": -np.abs(normal(random, W)), "steps": normal(random, W)},
            **{"norm": normal(random, read if sizes is SPACE else Y), "skips": normal(random, W)},
            **{
                "o": normal(random, D, read),
                "gate_up": normal(random, 2 * F, D),
                "down": normal(random, D, F),
            },
        }
        self.plain = Sizes(
            **{"hidden": D, "heads": 1, "kv_heads": 1, "head_dim": 2, "rotary_dim": 2, "intermediate": F},
            **{"vocabulary": V, "activation": Activation.SILU, "epsilon": 1e-5, "scale": 1.0},
        )
        self.native = NativeModel(
            self.plain,
            Embedding(rows_of(self.embedding)),
            [
                LayerWeights(
                    o=self._pack("o"),
                    gate_up=self._pack("gate_up"),
                    down=self._pack("down"),
                    state=self._state(),
                )
            ],
            NormWeights(np.ones(D, np.float32)),
            pack(self.head, PackedFormat.FLOAT32),
        )

    def _pack(self, name: str) -> Any:
        return pack(self.w[name], PackedFormat.FLOAT32)

    def _state(self) -> StateWeights:
        names = ["inputs_bias", "taps", "taps_bias"]
        parts: dict[str, Any] = {"inputs": self._pack("inputs")}
        if self.sizes is SPACE:
            names += ["slopes", "steps", "norm", "skips"]
        elif self.sizes is RULE:
            names += ["slopes", "steps", "norm"]
            parts |= {"gate": self._pack("gate"), "rates": self._pack("rates")}
        return StateWeights(sizes=self.sizes, **parts, **{name: self.w[name] for name in names})

    def scores(self, ids: list[int]) -> tuple[Array, Array]:
        """Of a text by the formulas: after each position, and its last state as it lies in memory."""
        x = self.embedding[ids]
        formula = {CONV: self._conv, RULE: self._rule, SPACE: self._space}[self.sizes]
        read, state = formula(x)
        x = x + read @ self.w["o"].T
        zeros = np.zeros(1, np.float32)
        x = x + mlp(x, self.w["gate_up"], zeros, self.w["down"], zeros, self.plain)
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5) @ self.head.T, state

    def _convolved(self, u: Array) -> tuple[Array, Array]:
        """y, and the last u."""
        kernel = self.sizes.kernel
        padded = np.concatenate((np.zeros((kernel - 1, u.shape[1]), np.float32), u))
        y = sum(padded[tap : tap + len(u)] * self.w["taps"][tap] for tap in range(kernel))
        return y + self.w["taps_bias"], padded[len(u) :]

    def _conv(self, x: Array) -> tuple[Array, Array]:
        b, c, x = np.split(x @ self.w["inputs"].T + self.w["inputs_bias"], 3, axis=1)
        y, last = self._convolved(b * x)
        return c * y, last.reshape(-1)

    def _rule(self, x: Array) -> tuple[Array, Array]:
        y, last = self._convolved(x @ self.w["inputs"].T + self.w["inputs_bias"])
        q, k, v = np.split(act(y, Activation.SILU), (G * X, 2 * G * X), axis=1)
        b, a = np.split(x @ self.w["rates"].T, 2, axis=1)
        decays, rates = np.exp(self.w["slopes"] * np.log1p(np.exp(a + self.w["steps"]))), 1 / (1 + np.exp(-b))
        S, read = np.zeros((W, X, Y), np.float64), np.zeros((len(x), W, Y), np.float64)
        for t in range(len(x)):
            for head in range(W):
                q_t, k_t = (one[t].reshape(G, X)[head // (W // G)] for one in (q, k))
                q_t, k_t = (one / np.sqrt((one * one).sum() + 1e-6) for one in (q_t, k_t))
                S[head] *= decays[t, head]
                S[head] += np.outer(k_t, rates[t, head] * (v[t].reshape(W, Y)[head] - k_t @ S[head]))
                read[t, head] = q_t @ S[head] / np.sqrt(X)
        read *= self.w["norm"] / np.sqrt((read * read).mean(-1, keepdims=True) + 1e-5)
        gated = read.reshape(len(x), -1) * act(x @ self.w["gate"].T, Activation.SILU)
        return gated.astype(np.float32), self._as_kept(last, S)

    def _space(self, x: Array) -> tuple[Array, Array]:
        keys, Y = SPACE.key_dim, SPACE.value_dim
        gate, xkq, dt = np.split(x @ self.w["inputs"].T + self.w["inputs_bias"], (W * Y, -W), axis=1)
        y, last = self._convolved(xkq)
        values, k, q = np.split(act(y, Activation.SILU), (W * Y, W * Y + G * keys), axis=1)
        steps = np.clip(np.log1p(np.exp(dt + self.w["steps"])), SPACE.least_step, SPACE.most_step)
        assert {SPACE.least_step, SPACE.most_step} < {*steps.reshape(-1).astype(np.float64).round(6)}
        S, read = np.zeros((W, keys, Y), np.float64), np.zeros((len(x), W, Y), np.float64)
        for t in range(len(x)):
            for head in range(W):
                q_t, k_t = (one[t].reshape(G, keys)[head // (W // G)] for one in (q, k))
                v_t = values[t].reshape(W, Y)[head]
                S[head] *= np.exp(self.w["slopes"][head] * steps[t, head])
                S[head] += np.outer(k_t, steps[t, head] * v_t)
                read[t, head] = q_t @ S[head] + self.w["skips"][head] * v_t
        gated = (read.reshape(len(x), -1) * act(gate, Activation.SILU)).reshape(len(x), G, -1)
        gated /= np.sqrt((gated * gated).mean(-1, keepdims=True) + 1e-5)
        return (gated.reshape(len(x), -1) * self.w["norm"]).astype(np.float32), self._as_kept(last, S)

    def _as_kept(self, last: Array, matrices: Array) -> Array:
        """A state as it lies in memory."""
        padded = np.pad(matrices, ((0, 0), (0, 0), (0, -matrices.shape[2] % 16))).astype(np.float32)
        by_block = padded.reshape(*padded.shape[:2], -1, 16).swapaxes(1, 2)
        return np.concatenate((np.pad(last.reshape(-1), (0, -last.size % 16)), by_block.reshape(-1)))

    def passes(
        self, texts: list[list[int]], steps: list[tuple[int, int]], copies: Sequence[int] = ()
    ) -> tuple[Array, Array]:
        """Scores of two texts, whose states are in slots 2 and 1, pass by pass; and all states."""
        states = np.zeros((SLOTS + len(copies), self.sizes.floats), np.float32)
        kept = KeptStates([states.ctypes.data], self.sizes.floats)
        memory = KeptMemory([0], [0], ValueType.FLOAT32, 4, (0, 0), states=kept)
        done, found = [0, 0], []
        for counts in steps:
            ends = [at + count for at, count in zip(done, counts, strict=True)]
            total = sum(counts)
            new = NewPositions(
                ids=[one for text, at, end in zip(texts, done, ends, strict=True) for one in text[at:end]],
                **{"rows": [0] * total, "places": [0] * total, "query_start": [0, counts[0], total]},
                **{"lengths": ends, "wanted": list(range(total)), "slots": [2, 1]},
                copies=copies,
            )
            tables = np.zeros((1, 2, 1), np.int32)
            scores = self.native.forward(new, Angles([]), memory, tables)
            found.append(np.split(scores, [counts[0]]))
            done = ends
        return np.concatenate([*(one for one, _ in found), *(one for _, one in found)]), states


@needs_library
@pytest.mark.parametrize("sizes", LAYERS.values(), ids=LAYERS)
def test_two_texts_have_the_scores_and_the_states_of_the_formulas(
    sizes: StateSizes, same_on_any_threads: Callable[[Callable[[], Array]], Array]
) -> None:
    model, random = OneLayer(sizes), np.random.default_rng(4)
    texts = [random.integers(0, V, count).tolist() for count in (9, 5)]
    found = same_on_any_threads(lambda: model.passes(texts, [(6, 2), (3, 3)])[0])
    expected = [model.scores(text) for text in texts]
    np.testing.assert_allclose(found, np.concatenate([one for one, _ in expected]), rtol=2e-4, atol=2e-4)
    _, states = model.passes(texts, [(6, 2), (3, 3)])
    assert not states[0].any()
    for slot, (_, state) in zip((2, 1), expected, strict=True):
        np.testing.assert_allclose(states[slot], state, rtol=2e-4, atol=2e-5)


@needs_library
@pytest.mark.parametrize("sizes", LAYERS.values(), ids=LAYERS)
def test_a_text_is_the_same_to_the_bit_in_however_many_passes_it_is_read(sizes: StateSizes) -> None:
    model, random = OneLayer(sizes), np.random.default_rng(5)
    texts = [random.integers(0, V, 6).tolist() for _ in range(2)]
    together, kept = model.passes(texts, [(6, 6)])
    for steps in ([(1, 1)] * 6, [(1, 4), (5, 2)]):
        apart, states = model.passes(texts, steps)
        assert (apart == together).all() and (states == kept).all()


@needs_library
@pytest.mark.parametrize("sizes", LAYERS.values(), ids=LAYERS)
def test_a_state_is_copied_as_it_is_after_each_position_that_has_a_slot_for_it(sizes: StateSizes) -> None:
    model, random = OneLayer(sizes), np.random.default_rng(6)
    texts = [random.integers(0, V, count).tolist() for count in (6, 5)]
    alone, kept = model.passes(texts, [(6, 5)])
    copies = [3, 4, -1, 5, 6, -1, *(7, -1, 8, 9, -1)]
    scores, states = model.passes(texts, [(6, 5)], copies)
    assert (scores == alone).all() and (states[:SLOTS] == kept).all()
    for slots, text, row in (((3, 4, -1, 5, 6), 0, 2), ((7, -1, 8, 9), 1, 1)):
        for length, slot in enumerate(slots, 1):
            if slot > 0:
                parts = [one[: length if number == text else 1] for number, one in enumerate(texts)]
                _, after = model.passes(parts, [(len(parts[0]), len(parts[1]))])
                assert (states[slot] == after[row]).all(), (slot, length)
    assert not states[10:].any()


def test_a_state_has_whole_vectors_of_each_of_its_parts() -> None:
    assert CONV.floats == 2 * D
    assert RULE.floats == -(-3 * RULE.channels // 16) * 16 + W * 2 * X * 16
    assert StateSizes(channels=5, kernel=3).floats == 16
