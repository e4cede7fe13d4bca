"""Documents told by their starts are attended to as a mask says it."""

from typing import Any

import pytest
import torch
from torch import Tensor

from llmkit.model import documents as module
from llmkit.model.attend import attend
from llmkit.model.config import ModelConfig
from llmkit.model.documents import attend_documents, document_starts, has_document_kernel
from llmkit.model.layout import layout_mask
from llmkit.model.transformer import Transformer
from llmkit.model.window import Window

SEGMENTS = torch.tensor([[0, 0, 0, 1, 1, 2, 2, 2], [0, 1, 1, 1, 1, 1, -1, -1], [0] * 8])


def _by_hand(
    q: Tensor, k: Tensor, v: Tensor, starts: Tensor, ends: Tensor, max_q: int, max_k: int, **rules: Any
) -> Tensor:
    """What `varlen_attn` computes: document by document, those without a token left out."""
    assert starts is ends and max_q == max_k and starts.dtype == torch.int32
    left, right = rules["window_size"]
    assert right == 0
    y = torch.full_like(q, float("nan"))
    for begin, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        if begin < end:
            assert end - begin <= max_q
            heads = [one[begin:end].float().transpose(0, 1)[None] for one in (q, k, v)]
            mask = layout_mask(0, end - begin, q.device, window=Window(None if left < 0 else left + 1))
            y[begin:end] = attend(*heads, mask, scale=rules["scale"])[0].transpose(0, 1).to(q.dtype)
    return y


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel on this CPU."""
    monkeypatch.setattr(module, "_kernels", [module._Kernel(_by_hand, {})])


def test_starts_are_the_first_tokens_of_documents_and_then_the_end() -> None:
    found = document_starts(SEGMENTS)
    assert found.dtype == torch.int32 and len(found) == 64
    assert found[:7].tolist() == [0, 3, 5, 8, 9, 14, 16] and set(found[7:].tolist()) == {24}
    many = torch.arange(70)[None]
    assert len(document_starts(many)) == 128 and document_starts(many)[70:].unique().tolist() == [70]
    assert len(document_starts(torch.arange(64)[None])) == 128  # there is always an end


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("window", [None, 2])
def test_attention_by_starts_is_attention_by_a_mask(window: int | None) -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(3, heads, 8, 4) for heads in (4, 2, 2))
    mask = layout_mask(0, 8, q.device, window=Window(window), segments=SEGMENTS)
    found = attend_documents(q, k, v, document_starts(SEGMENTS), scale=0.3, window=window)
    torch.testing.assert_close(found, attend(q, k, v, mask, scale=0.3))


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("sliding", [(), (0, 1)])
def test_a_model_in_16_bits_reads_documents_by_their_starts(
    sliding: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    config = ModelConfig(
        vocab_size=32, hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=32, sliding_window=3 if sliding else None,
        sliding_layers=sliding, model_type="mistral",
    )  # fmt: skip
    model = Transformer(config).bfloat16()
    ids = torch.randint(32, (3, 8))
    expected = model(ids, segments=SEGMENTS)
    found = model(ids, segments=SEGMENTS, starts=document_starts(SEGMENTS))
    torch.testing.assert_close(found, expected, rtol=2e-2, atol=2e-2)
    wrong = document_starts(torch.zeros_like(SEGMENTS))
    assert not torch.allclose(model(ids, segments=SEGMENTS, starts=wrong), expected, rtol=2e-2, atol=2e-2)
    whole = model.float()
    assert torch.equal(whole(ids, segments=SEGMENTS, starts=wrong), whole(ids, segments=SEGMENTS))


def test_a_cpu_has_no_such_kernel() -> None:
    assert not has_document_kernel(torch.device("cpu"))


def test_torch_s_kernel_is_found_and_told_of_shared_heads_where_it_wants_to_be() -> None:
    assert module._find_kernel()
    assert module._kernels[0].shared_heads == {"enable_gqa": True}  # torch 2.12 and later
