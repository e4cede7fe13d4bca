"""Attention in training by the kernels beside PyTorch's own, and a model that takes either."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from llmkit.kernels.library import available, why_not
from llmkit.model import attention, latent_attention
from llmkit.model.attend import attend
from llmkit.model.config import ModelConfig
from llmkit.model.init import initialise
from llmkit.model.layout import Layout, first_seen, layout_mask
from llmkit.model.learnt.attention import attend_learning, learns_here
from llmkit.model.presets import preset
from llmkit.model.segments import segment_positions
from llmkit.model.transformer import Transformer
from llmkit.model.window import Window

pytestmark = pytest.mark.skipif(not available(), reason=f"the native library {why_not()}")
SEGMENTS = torch.tensor([[0] * 30 + [1] * 50 + [2] * 20, [0] * 99 + [1]])

WINDOW = {"model_type": "mistral", "sliding_window": 20}
CAPPED = {"model_type": "gemma2", "attn_logit_softcapping": 2.0, "sliding_window": 20}
SINKS = {"model_type": "gpt_oss", "num_local_experts": 2, "num_experts_per_tok": 1, "sliding_window": 20}
LATENT = {
    **{
        "model_type": "deepseek_v3",
        "n_routed_experts": 2,
        "num_experts_per_tok": 1,
        "first_k_dense_replace": 2,
    },
    **{
        "kv_lora_rank": 16,
        "q_lora_rank": 16,
        "v_head_dim": 64,
        "qk_nope_head_dim": 64,
        "qk_rope_head_dim": 32,
    },
    **{"num_key_value_heads": 2, "n_group": 1, "topk_group": 1, "moe_intermediate_size": 32},
}
"""The families that attend in their own way."""


def _inputs(dtype: torch.dtype = torch.float32) -> tuple[list[Tensor], Tensor]:
    draw = torch.Generator().manual_seed(0)
    shapes = ((2, 4, 100, 32), (2, 2, 100, 32), (2, 2, 100, 32))
    tensors = [torch.randn(shape, generator=draw).to(dtype).requires_grad_() for shape in shapes]
    return tensors, torch.randn(shapes[0], generator=draw)


@pytest.mark.parametrize("window", [None, 1, 17, 300])
@pytest.mark.parametrize("documents", [False, True])
def test_rows_windows_and_documents_are_attended_to_as_with_a_mask(
    window: int | None, documents: bool
) -> None:
    (q, k, v), grad = _inputs()
    segments = SEGMENTS if documents else None
    positions = torch.arange(100) if segments is None else segment_positions(segments)
    first = first_seen(positions, Window(window))
    out = attend_learning(q, k, v, first, scale=0.2)
    found = torch.autograd.grad(out, (q, k, v), grad)
    mask = layout_mask(0, 100, torch.device("cpu"), window=Window(window), segments=segments)
    mask = torch.ones(100, 100, dtype=torch.bool).tril() if mask is None else mask
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=0.2, enable_gqa=True)
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-6)
    for one, other in zip(found, torch.autograd.grad(expected, (q, k, v), grad), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_under_autocast_it_is_bfloat16_and_gradients_are_as_what_came_in() -> None:
    (q, k, v), grad = _inputs()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = attend_learning(q, k, v, None, scale=0.2)
        expected = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.2, enable_gqa=True)
    assert out.dtype == expected.dtype == torch.bfloat16
    torch.testing.assert_close(out, expected, rtol=2e-2, atol=1e-2)
    found = torch.autograd.grad(out, (q, k, v), grad.bfloat16())
    assert {one.dtype for one in found} == {torch.float32}


@pytest.mark.parametrize(
    "change", [lambda x: x[..., ::2], lambda x: x.transpose(1, 2).contiguous().transpose(1, 2)]
)
def test_any_strides_are_read(change: Callable[[Tensor], Tensor]) -> None:
    draw = torch.Generator().manual_seed(1)
    apart = [torch.randn(1, 2, 9, 64, generator=draw, requires_grad=True) for _ in range(3)]
    tensors = [change(one) for one in apart]
    whole = [one.detach().contiguous().requires_grad_() for one in tensors]
    outs = [attend_learning(q, k, v, None, scale=0.1) for q, k, v in (tensors, whole)]
    assert torch.equal(*outs)
    grad = torch.randn(outs[0].shape, generator=draw)
    found = torch.autograd.grad(outs[0], tensors, grad.transpose(2, 3).contiguous().transpose(2, 3))
    for one, other in zip(found, torch.autograd.grad(outs[1], whole, grad), strict=True):
        assert torch.equal(one, other)


def test_sinks_and_capped_scores_have_the_gradients_of_scores_written_out() -> None:
    (q, k, v), grad = _inputs()
    sinks = torch.tensor([0.5, -1.0, 4.0, 0.0], requires_grad=True)
    outs = [by(q, k, v, None, scale=0.2, softcap=3.0, sinks=sinks) for by in (attend_learning, attend)]
    torch.testing.assert_close(*outs, rtol=1e-5, atol=1e-6)
    found, expected = (torch.autograd.grad(out, (q, k, v, sinks), grad) for out in outs)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("dim", "taken"), [(32, True), (48, False), (96, True)])
def test_it_is_for_heads_that_fit_and_not_for_texts_that_are_written(dim: int, taken: bool) -> None:
    q, layout = torch.zeros(1, 1, 2, dim), Layout(None, None, None)
    assert learns_here(q, q, layout) is learns_here(q, torch.zeros(1, 1, 2, 32 + dim), layout) is taken
    assert not learns_here(q.double(), q.double(), layout)
    assert not learns_here(q, q, Layout(None, None, torch.ones(2, 2, dtype=torch.bool)))
    with torch.no_grad():
        assert learns_here(q, q, layout) is taken
    with torch.inference_mode():
        assert not learns_here(q, q, layout)


@pytest.fixture
def by_torch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Call it, and models attend by PyTorch from then on."""

    def take_torch() -> None:
        for module in (attention, latent_attention):
            monkeypatch.setattr(module, "learns_here", lambda *_: False)

    yield take_torch


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method`")  # torch's compiler's own
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # likewise, where a graph breaks
@pytest.mark.parametrize(
    ("shape", "compiles"),
    [
        *(({}, False), (WINDOW, False), (WINDOW, True), (CAPPED, False), (CAPPED, True)),
        *((SINKS, False), (LATENT, False), (LATENT, True)),
    ],
)
def test_a_model_learns_the_same_by_either(
    by_torch: Callable[[], None], shape: dict[str, object], compiles: bool
) -> None:
    sizes = {"vocab_size": 64, "hidden_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1}
    sizes |= {"head_dim": 32, "num_hidden_layers": 2, "intermediate_size": 32}
    model = Transformer(ModelConfig.from_hf({"model_type": "llama", **sizes, **shape}))
    initialise(model, torch.Generator().manual_seed(0))
    ids = torch.randint(64, (2, 100), generator=torch.Generator().manual_seed(2))
    run = torch.compile(model, backend="aot_eager") if compiles else model
    made = []
    for turn in range(2):
        if turn:
            by_torch()
            run = model
        model.zero_grad()
        loss = run(ids, segments=SEGMENTS).square().mean()
        loss.backward()
        made.append(
            [loss.detach(), *(one.grad.clone() for one in model.parameters() if one.grad is not None)]
        )
    for one, other in zip(*made, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_scores_without_gradients_have_the_bits_of_those_with_them() -> None:
    sizes = {"vocab_size": 64, "hidden_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1}
    model = Transformer(preset("stories15m", **{**sizes, "head_dim": 32, "num_hidden_layers": 2}))
    initialise(model, torch.Generator().manual_seed(0))
    ids = torch.randint(64, (2, 100), generator=torch.Generator().manual_seed(2))
    for half in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            learnt = model(ids, segments=SEGMENTS)
            with torch.no_grad():
                assert torch.equal(model(ids, segments=SEGMENTS), learnt)
