"""Fresh weights: the spread of each kind, and the same bytes from the same seed."""

from collections.abc import Callable

import pytest
import torch

from llmkit.model.config import ModelConfig
from llmkit.model.init import initialise
from llmkit.model.transformer import Transformer

Make = Callable[..., ModelConfig]


def _fresh(config: ModelConfig, seed: int = 0, dtype: torch.dtype = torch.float32) -> Transformer:
    model = Transformer(config).to(dtype)
    initialise(model, torch.Generator().manual_seed(seed))
    return model


@pytest.mark.parametrize(("family", "fields"), [("llama", {"mlp_bias": True}), ("qwen3", {}), ("gpt2", {})])
def test_matrices_are_normal_and_those_into_the_stream_are_narrower_with_depth(
    family: str, fields: dict[str, bool], make_config: Make
) -> None:
    config = make_config(
        family, **fields, hidden_size=128, intermediate_size=256, num_hidden_layers=8, initializer_range=0.05
    )
    kinds = set()
    for name, parameter in _fresh(config).named_parameters():
        if parameter.dim() == 1:
            assert (parameter == (0.0 if name.endswith("bias") else 1.0)).all(), name
            continue
        into_stream = name.split(".")[-2] in ("o_proj", "down_proj")
        expected = 0.05 / 4 if into_stream else 0.05  # sqrt(2 * 8 layers) = 4
        assert parameter.std().item() == pytest.approx(expected, rel=0.05), name
        assert abs(parameter.mean().item()) < expected / 10, name
        assert parameter.abs().max() > 2.5 * expected, name  # not uniform
        kinds.add(name.split(".")[-2])
    assert {
        "embed_tokens",
        "lm_head",
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "up_proj",
        "down_proj",
    } <= kinds
    assert ("embed_positions" in kinds) == (family == "gpt2")


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(make_config: Make) -> None:
    first, second, other = (_fresh(make_config(), seed).state_dict() for seed in (7, 7, 8))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["lm_head.weight"], other["lm_head.weight"])


def test_nothing_but_the_generator_decides(make_config: Make) -> None:
    torch.manual_seed(1)
    first = _fresh(make_config())
    torch.manual_seed(2)
    torch.rand(5)
    before = torch.get_rng_state()
    second = Transformer(make_config())
    torch.set_rng_state(before)
    initialise(second, torch.Generator().manual_seed(0))
    assert torch.equal(torch.get_rng_state(), before)
    theirs = second.state_dict()
    assert all(torch.equal(one, theirs[name]) for name, one in first.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_model_of_another_dtype_has_the_same_weights_converted(
    dtype: torch.dtype, make_config: Make
) -> None:
    full, other = _fresh(make_config()).state_dict(), _fresh(make_config(), dtype=dtype).state_dict()
    assert all(torch.equal(full[name].to(dtype), other[name]) for name in full)


def test_a_fresh_model_knows_nothing_yet(make_config: Make) -> None:
    config = make_config("qwen3", vocab_size=500, hidden_size=64, tie_word_embeddings=True)
    ids = torch.randint(0, 500, (4, 32), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = _fresh(config)(ids)
    loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    assert loss.item() == pytest.approx(torch.tensor(500.0).log().item(), rel=0.02)  # ln V: a uniform guess
