"""Training on a GPU held against the CPU, and its quick ways against the slow ones.

How to run it: `tests/bench/README.md`, "cuda".
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from llmkit.formats.shards import Rows
from llmkit.model.config import ModelConfig
from llmkit.model.documents import has_document_kernel
from llmkit.model.init import initialise
from llmkit.model.quantised.float8_linear import float8_linear
from llmkit.model.transformer import Transformer
from llmkit.train.config import Recipe
from llmkit.train.loss import build_batch, loss_sum
from llmkit.train.parallel.divided import Divided
from llmkit.train.trainer import StepResult, Trainer

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason='no CUDA device: see tests/bench/README.md, "cuda"'
)
DEVICE = torch.device("cuda")
V, T = 512, 256
BASE: dict[str, Any] = {
    **{"vocab_size": V, "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 3},
    **{"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": T},
}
WINDOW: dict[str, Any] = {"model_type": "mistral", "sliding_window": 40, "sliding_layers": (0, 1, 2)}


@pytest.fixture(autouse=True)
def exact_products() -> Iterator[None]:
    """float32 products in float32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    yield
    torch.set_float32_matmul_precision(before)


class Documents:
    """Rows of random ids, cut into documents of 1 to 99 tokens, the last row padded."""

    def __len__(self) -> int:
        return 64

    def read(self, rows: Any) -> Rows:
        tokens, segments = [], []
        for row in rows:
            random = np.random.default_rng(int(row))
            tokens.append(random.integers(0, V, T + 1))
            lengths = random.integers(1, 100, T + 1)
            segments.append(np.repeat(np.arange(T + 1), lengths)[: T + 1])
        marks = np.stack(segments).astype(np.int32)
        marks[-1, -30:] = -1
        return Rows(np.stack(tokens).astype(np.uint32), marks, marks >= 0)


def _model(fields: dict[str, Any], device: Any = DEVICE) -> Transformer:
    model = Transformer(ModelConfig(**(BASE | fields)))
    initialise(model, torch.Generator().manual_seed(0))
    return model.to(device)


def _recipe(model: Transformer, dtype: str, optimizer: str = "adamw") -> Recipe:
    return Recipe(
        model=model.config.to_hf(), initial_sha256=None, data_sha256="", tokenizer_sha256=None, seed=0,
        rows=64, seq_len=T, steps=40, batch_rows=8, lr=3e-3, min_lr_ratio=0.1, schedule="cosine",
        warmup_steps=4, decay_ratio=0.4, beta1=0.9, beta2=0.95, weight_decay=0.1, clip=1.0, dtype=dtype,
        document_mask=True, optimizer=optimizer,
    )  # fmt: skip


def _trainer(fields: dict[str, Any], dtype: str, device: Any = DEVICE, **more: Any) -> Trainer:
    model = _model(fields, device)
    compiles, optimizer = more.pop("compiles", False), more.pop("optimizer", "adamw")
    divided = Divided(model, dtype=dtype, compiles=compiles, **more)
    return Trainer(divided, Documents(), _recipe(model, dtype, optimizer), micro_batch_rows=4)


def _curve(trainer: Trainer, steps: int = 12) -> list[float]:
    results: list[StepResult] = [trainer.train_step() for _ in range(steps)]
    trainer.close()
    return [one.loss for one in results]


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("fields", [{}, WINDOW], ids=["llama", "window"])
def test_losses_in_float32_are_those_of_the_cpu(fields: dict[str, Any], optimizer: str) -> None:
    expected = _curve(_trainer(fields, "float32", "cpu", optimizer=optimizer))
    assert _curve(_trainer(fields, "float32", optimizer=optimizer)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("compiles", [False, True], ids=["eager", "compiled"])
def test_losses_in_bfloat16_stay_near_those_in_float32(compiles: bool) -> None:
    expected = _curve(_trainer({}, "float32"))
    found = _curve(_trainer({}, "bfloat16", compiles=compiles))
    assert found == pytest.approx(expected, rel=1e-2)
    assert found[-1] < found[0]


@pytest.mark.skipif(
    torch.cuda.is_available() and torch.cuda.get_device_capability() < (8, 9), reason="a GPU without float8"
)
@pytest.mark.parametrize("compiles", [False, True], ids=["eager", "compiled"])
def test_losses_with_products_in_float8_stay_near_those_in_bfloat16(compiles: bool) -> None:
    expected = _curve(_trainer({}, "bfloat16"))
    found = _curve(_trainer({}, "bfloat16", compiles=compiles, fp8=True))
    assert found != expected and found == pytest.approx(expected, rel=2e-2)
    assert found[-1] < found[0]


@pytest.mark.skipif(
    torch.cuda.is_available() and torch.cuda.get_device_capability() < (8, 9), reason="a GPU without float8"
)
@pytest.mark.parametrize("tokens", [256, 250])
def test_products_in_float8_and_their_gradients_are_those_of_the_cpu(tokens: int) -> None:
    draw = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(rows, 64, generator=draw) for rows in (tokens, 96))
    grad = torch.randn(tokens, 96, generator=draw)
    made: list[list[torch.Tensor]] = []
    for device in ("cpu", "cuda"):
        one, other = (t.to(device).requires_grad_() for t in (x, weight))
        y = float8_linear(one, [other])
        y.backward(grad.to(device))
        assert one.grad is not None and other.grad is not None
        made.append([t.detach().cpu() for t in (y, one.grad, other.grad)])
    for slow, quick in zip(*made, strict=True):  # sums of products have fewer bits than float32 there
        assert (quick - slow).norm() / slow.norm() < 1e-3


@pytest.mark.parametrize("fields", [{}, WINDOW], ids=["llama", "window"])
def test_documents_told_by_their_starts_learn_as_those_told_by_a_mask(fields: dict[str, Any]) -> None:
    assert has_document_kernel(DEVICE)
    batch = build_batch(Documents().read(range(4)), document_mask=True, device=DEVICE)
    assert batch.starts is not None and batch.segments is not None
    exact = _gradients(fields, batch, torch.float32)
    plain = _gradients(fields, _without_starts(batch), torch.bfloat16)
    ours = _gradients(fields, batch, torch.bfloat16)
    for one, slow, quick in zip(exact, plain, ours, strict=True):
        off, theirs = (float((found - one).norm() / one.norm()) for found in (quick, slow))
        assert off < 0.03 and off < 1.5 * theirs + 1e-3


def _without_starts(batch: Any) -> Any:
    return type(batch)(**vars(batch) | {"starts": None})


def _gradients(fields: dict[str, Any], batch: Any, dtype: torch.dtype) -> list[torch.Tensor]:
    model = _model(fields).train()
    with torch.autocast("cuda", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        loss = loss_sum(model, batch if dtype == torch.bfloat16 else _without_starts(batch))
    loss.backward()
    return [loss.detach().float(), *(one.grad for one in model.parameters() if one.grad is not None)]


def test_a_run_goes_on_from_its_checkpoint_as_if_it_had_not_stopped() -> None:
    whole = _trainer({}, "bfloat16")
    expected = [whole.train_step().loss for _ in range(10)]
    half = _trainer({}, "bfloat16")
    for _ in range(5):
        half.train_step()
    tensors = {name: one.clone() for name, one in half.state_tensors().items()}
    weights, state = {name: one.clone() for name, one in half.model.state_dict().items()}, half.state()
    again = _trainer({}, "bfloat16")
    again.model.load_state_dict(weights)
    again.restore(state, tensors)
    found = [again.train_step().loss for _ in range(5)]
    for trainer in (whole, half, again):
        trainer.close()
    # attention's gradients are summed in no fixed order on a GPU: near, and not the same bits
    assert found == pytest.approx(expected[5:], rel=2e-3)
