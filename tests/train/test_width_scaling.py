"""muP: activations move by the same amount at every width, and each row of the table by hand."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from llmkit.errors import ConfigError
from llmkit.model.config import ModelConfig
from llmkit.train.config import default_initializer_range
from llmkit.train.trainer import Trainer
from llmkit.train.width_scaling import check_width_scaling, range_at_width, rate_share, scale_fresh
from llmkit.workflows.pretrain.model import ModelSource, build_model

BASE = 32


def _config(width: int) -> ModelConfig:
    """Two layers; heads of 16 at every width."""
    return ModelConfig(
        **{"vocab_size": 32, "hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": 2},
        **{"num_attention_heads": width // 16, "max_position_embeddings": 16},
        initializer_range=default_initializer_range(width),
    )


@pytest.fixture
def moved(make_recipe: Callable[..., Any], make_rows: Callable[..., Any]) -> Callable[..., dict[str, float]]:
    """By how much four updates move hidden states and logits of a width, root mean square."""

    def measure(width: int, base: int | None) -> dict[str, float]:
        config = _config(width)
        rows = make_rows(16)
        tokens = torch.from_numpy(rows.rows.tokens.astype(np.int64))[:, :-1]
        model = build_model(ModelSource(config, None, None, mup_base_width=base), 0, torch.device("cpu"))
        recipe = make_recipe(
            rows=16, lr=0.01, warmup_steps=0, model=config.to_hf(), weight_decay=0.0, mup_base_width=base
        )
        trainer = Trainer(model, rows, recipe, micro_batch_rows=4)

        def look() -> tuple[torch.Tensor, torch.Tensor]:
            with torch.no_grad():
                hidden = model.hidden(tokens)
                return hidden, model.logits(hidden)

        before = look()
        for _ in range(4):
            trainer.train_step()
        after = look()
        return {
            name: (new - old).square().mean().sqrt().item()
            for name, old, new in zip(("hidden", "logits"), before, after, strict=True)
        }

    return measure


def test_activations_move_alike_from_width_64_to_256_and_only_with_it(
    moved: Callable[..., dict[str, float]],
) -> None:
    widths = (64, 128, 256)
    scaled = [moved(width, BASE) for width in widths]
    for name in ("hidden", "logits"):
        sizes = [found[name] for found in scaled]
        assert max(sizes) / min(sizes) < 1.5, (name, sizes)
    plain = [moved(width, None)["logits"] for width in widths]
    assert plain[2] / plain[0] > 1.8, plain  # grows with the width


def test_each_kind_of_weight_has_the_rate_the_decay_and_the_spread_of_its_row(
    make_recipe: Callable[..., Any], make_rows: Callable[..., Any]
) -> None:
    config = _config(128)
    device = torch.device("cpu")
    model = build_model(ModelSource(config, None, None, mup_base_width=BASE), 0, device)
    plain = build_model(ModelSource(config, None, None), 0, device).state_dict()
    for name, tensor in model.state_dict().items():
        factor = {"model.embed_tokens.weight": 2.0, "lm_head.weight": 0.5}.get(name, 1.0)
        assert torch.equal(tensor, plain[name] * factor), name
    assert model.lm_head.weight.std().item() == pytest.approx(0.7 * BASE**0.5 / 128, rel=0.05)
    assert model.model.embed_tokens.weight.std().item() == pytest.approx(0.7 / BASE**0.5, rel=0.05)
    recipe = make_recipe(rows=16, lr=0.01, model=config.to_hf(), weight_decay=0.2, mup_base_width=BASE)
    trainer = Trainer(model, make_rows(16), recipe, micro_batch_rows=4)
    names = {id(one): name for name, one in model.named_parameters()}
    found = {
        names[id(one)]: (group.rate_share, group.weight_decay)
        for group in trainer.optimizer.groups
        for one in group.parameters
    }
    assert found.keys() == set(names.values())
    for name, rates in found.items():
        if name == "model.embed_tokens.weight":
            assert rates == (1.0, 0.2)
        elif "norm" in name:
            assert rates == (1.0, 0.0)
        else:  # the rate is a quarter and the decay four times: a step takes off as much as elsewhere
            assert rates == (0.25, 0.8), name
    before = {name: one.detach().clone() for name, one in model.named_parameters()}
    step = trainer.train_step()
    head = (model.lm_head.weight - before["lm_head.weight"] * (1 - step.lr * 0.2)).abs().max().item()
    assert head == pytest.approx(0.25 * step.lr, rel=1e-3)  # the first step of AdamW is the rate itself


def test_at_the_base_width_nothing_is_changed() -> None:
    config = _config(BASE)
    model = build_model(ModelSource(config, None, None), 0, torch.device("cpu"))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    scale_fresh(model, BASE)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert rate_share(BASE, model) == rate_share(None, model) == 1.0


def test_what_the_table_has_no_row_for_is_refused() -> None:
    check_width_scaling(BASE, _config(64), "adamw")
    with pytest.raises(ConfigError, match="are one matrix here") as caught:
        check_width_scaling(BASE, replace(_config(64), tie_word_embeddings=True), "adamw")
    assert caught.value.hint == "add --no-tie-word-embeddings"
    with pytest.raises(ConfigError, match="scales the rates of AdamW"):
        check_width_scaling(BASE, _config(64), "muon")


def test_a_spread_that_was_found_at_the_base_width_gives_the_rows_of_the_table_at_another() -> None:
    spread = {}
    for width in (BASE, 4 * BASE):
        config = replace(_config(width), initializer_range=range_at_width(0.05, BASE, width))
        model = build_model(ModelSource(config, None, None, mup_base_width=BASE), 0, torch.device("cpu"))
        attention = model.model.layers[0].self_attn
        every = (model.model.embed_tokens.weight, attention.q_proj.weight, model.lm_head.weight)
        spread[width] = [float(one.detach().std()) for one in every]
    assert spread[BASE] == pytest.approx([0.05, 0.05, 0.05], rel=0.1)
    assert spread[4 * BASE] == pytest.approx([0.05, 0.025, 0.0125], rel=0.1)
