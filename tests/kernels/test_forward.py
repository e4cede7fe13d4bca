"""A whole layer stack in one call, beside numpy written out."""

from collections.abc import Callable

import numpy as np
import pytest
from layers_by_hand import BLOCK, Array, ByHand, E, K, Shape, V, make, query_scales
from numpy.typing import NDArray

from llmkit.kernels.forward import BranchSum, NewPositions
from llmkit.kernels.forward_memory import KeptMemory
from llmkit.kernels.forward_structs import Activation
from llmkit.kernels.forward_weights import NormKind, Residual, Scoring
from llmkit.kernels.memory import ValueType
from llmkit.kernels.packed import PackedFormat

Ids = NDArray[np.int64]
pytestmark = pytest.mark.usefixtures("native")
SOFTMAX = {
    **{"scoring": Scoring.SOFTMAX, "per_token": 2, "normalised": True, "scaling": 1.0, "shared_gate": True},
    "activation": Activation.SILU,
}
SIGMOID = {
    **{"scoring": Scoring.SIGMOID, "per_token": 3, "normalised": True, "scaling": 1.5, "shared_gate": False},
    **{"selects": True, "num_groups": 3, "top_groups": 2, "group_scores": 2, "activation": Activation.GELU},
}
CLAMPED = {
    **{"scoring": Scoring.SOFTMAX, "per_token": 6, "normalised": False, "scaling": 1.0, "shared_gate": False},
    **{"activation": Activation.CLAMPED_SWIGLU, "limit": 0.7},
}
WEIGHED = {
    **{"scoring": Scoring.SIGMOID, "per_token": 2, "normalised": False, "scaling": 1.0, "shared_gate": False},
    **{"weighs_inputs": True, "activation": Activation.SILU},
}
BOTH = ("before_attention", "after_attention", "before_mlp", "after_mlp")
SHAPES = {
    "llama": Shape(),
    "windows, caps, norms on both sides": Shape(
        BOTH, {"softcap": 2.0, "logit_cap": 3.0, "scale": 0.7}, windows=(3, 0), angles=(1, 0)
    ),
    "sinks, norms after, over all heads": Shape(
        ("after_attention", "after_mlp"), {"norm_all_heads": True}, sinks=True, windows=(0, 5), angles=(0, -1)
    ),
    "scales": Shape(
        sizes={"embedding_scale": 2.5, "residual_scale": 0.3, "logit_scale": 1.7, "rotary_dim": 4}
    ),
    "side by side, LayerNorm": Shape(
        sizes={"norm_kind": NormKind.LAYER, "residual": Residual.PARALLEL, "activation": Activation.GELU_TANH}
    ),
    "side by side, one norm, plain": Shape(
        ("before_attention",),
        {"residual": Residual.PARALLEL_ONE_NORM, "gated": False, "activation": Activation.RELU_SQUARED},
    ),
    "plain, LayerNorm over all heads": Shape(
        sizes={
            **{"gated": False, "activation": Activation.RELU, "norm_kind": NormKind.LAYER},
            "norm_all_heads": True,
        },
        angles=(-1, -1),
        added=True,
    ),
    "a curve of each layer's own": Shape(sizes={"gated": False, "activation": Activation.XIELU}),
    "norms behind the rotation, queries that grow": Shape(
        sizes={"norm_turned": True}, angles=(0, -1), grows=True
    ),
    "experts by softmax, a gated shared one": Shape(experts=SOFTMAX, shared=10),
    "experts by sigmoid, groups, one shared": Shape(experts=SIGMOID, shared=27),
    "windows side by side, unrotated queries grow, experts weigh what they read": Shape(
        sizes={"chunked": True, "grows_unrotated": True, "norm_turned": True},
        windows=(4, 0),
        angles=(0, -1),
        grows=True,
        experts=WEIGHED,
        shared=10,
    ),
    "all experts, clamped, norms after": Shape(BOTH, experts=CLAMPED, windows=(2, 0)),
}
TABLES = np.array([[3, 0, 7], [5, 1, 0]], np.int32)


def passes(
    model: ByHand,
    texts: list[Ids],
    steps: list[tuple[int, int]],
    *,
    wide: bool = True,
    branch_sum: BranchSum | None = None,
) -> Array:
    """Scores after every position of two texts, pass by pass, each pass text by text."""
    layers = range(len(model.layers))
    store = np.zeros((len(layers), 2, 12 * BLOCK, K, E), np.float32)  # layer, keys or values
    keys, values = ([store[layer, half].ctypes.data for layer in layers] for half in (0, 1))
    memory = KeptMemory(keys, values, ValueType.FLOAT32, BLOCK, (K * E, K))
    done, found = [0, 0], []
    for counts in steps:
        spans = [np.arange(at, at + count) for at, count in zip(done, counts, strict=True)]
        places = [
            table[span // BLOCK] * BLOCK + span % BLOCK for table, span in zip(TABLES, spans, strict=True)
        ]
        new = NewPositions(
            ids=np.concatenate([ids[span] for ids, span in zip(texts, spans, strict=True)]).tolist(),
            rows=np.concatenate(spans).tolist(),
            query_scales=query_scales(np.concatenate(spans)) if model.shape.grows else None,
            places=np.concatenate(places).tolist(),
            query_start=[0, counts[0], sum(counts)],
            lengths=[int(span[-1]) + 1 for span in spans],
            wanted=list(range(sum(counts))),
        )
        found.append(
            model.native.forward(new, model.angles, memory, TABLES[None], wide=wide, branch_sum=branch_sum)
        )
        done = [at + count for at, count in zip(done, counts, strict=True)]
    return np.concatenate(found)


@pytest.mark.parametrize("name", SHAPES)
def test_two_texts_in_two_passes_have_the_scores_of_the_formulas(
    name: str, same_on_any_threads: Callable[[Callable[[], Array]], Array]
) -> None:
    random = np.random.default_rng(0)
    model = make(random, SHAPES[name])
    texts = [random.integers(0, V, count) for count in (9, 5)]
    first, second = (model.scores(x) for x in texts)
    found = same_on_any_threads(lambda: passes(model, texts, [(6, 2), (3, 3)]))
    wanted = np.concatenate((first[:6], second[:2], first[6:], second[2:]))
    np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=2e-4)
    assert (passes(model, texts, [(6, 2), (3, 3)], wide=False) == found).all()


@pytest.mark.parametrize("name", SHAPES)
def test_every_branch_of_a_part_is_summed_before_it_is_joined(name: str) -> None:
    random = np.random.default_rng(0)
    model = make(random, SHAPES[name])
    texts = [random.integers(0, V, count) for count in (6, 2)]
    heard: list[int] = []
    alone = BranchSum(lambda values: heard.append(len(values)))  # others that have nothing to add
    wanted = np.concatenate([model.scores(x) for x in texts])
    found = passes(model, texts, [(6, 2)], branch_sum=alone)
    np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=2e-4)
    assert heard == [8 * model.native.sizes.hidden] * 2 * len(model.layers)
    more = np.resize(np.arange(5, dtype=np.float32), 8 * model.native.sizes.hidden)
    other = passes(model, texts, [(6, 2)], branch_sum=BranchSum(lambda values: np.add(values, more, values)))
    assert np.abs(other - wanted).max() > 1e-3


def test_what_goes_wrong_between_processes_comes_out_of_the_pass_and_is_not_asked_again() -> None:
    random = np.random.default_rng(0)
    asked: list[int] = []

    def lost(values: Array) -> None:
        asked.append(len(values))
        raise ConnectionError("closed by peer")

    with pytest.raises(ConnectionError, match="closed by peer"):
        passes(
            make(random, SHAPES["llama"]),
            [random.integers(0, V, 2)] * 2,
            [(2, 2)],
            branch_sum=BranchSum(lost),
        )
    assert len(asked) == 1


@pytest.mark.parametrize("packed_format", PackedFormat)
@pytest.mark.parametrize("name", [name for name in SHAPES if "expert" in name])
def test_experts_give_a_row_the_same_bits_whoever_is_beside_it(
    name: str, packed_format: PackedFormat, same_on_any_threads: Callable[[Callable[[], Array]], Array]
) -> None:
    random = np.random.default_rng(1)
    model = make(random, SHAPES[name], packed_format)
    texts = [random.integers(0, V, 6) for _ in range(2)]
    together = same_on_any_threads(lambda: passes(model, texts, [(6, 6)]))
    apart = passes(model, texts, [(1, 1)] * 6)
    assert (together == np.concatenate((apart[::2], apart[1::2]))).all()


def test_nothing_wanted_is_nothing_scored() -> None:
    random = np.random.default_rng(1)
    model = make(random, Shape(windows=(0,), angles=(0,)))
    store = np.zeros((2, BLOCK, K, E), np.float32)
    memory = KeptMemory(*([half.ctypes.data] for half in store), ValueType.FLOAT32, BLOCK, (K * E, K))
    new = NewPositions([3], [0], [0], [0, 1], [1], [])
    none = model.native.forward(new, model.angles, memory, np.zeros((1, 1, 1), np.int32))
    assert none.shape == (0, V) and store[:, 0].any() and not store[:, 1:].any()
