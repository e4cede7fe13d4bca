"""What the flags of adapters come to."""

from typing import Any

import pytest

from llmkit.commands.finetune.lora_flags import LORA, Adapters
from llmkit.errors import ConfigError, UsageError


def test_without_a_word_of_adapters_there_are_none() -> None:
    assert Adapters().config() is None


@pytest.mark.parametrize("kind", ["lora", "rslora", "dora", "qlora"])
def test_each_kind_brings_adapters_with_it(kind: str) -> None:
    config = Adapters(**{kind: LORA.left_out if kind == "lora" else True}).config()  # type: ignore[arg-type]
    assert config is not None
    assert (config.r, config.alpha, config.targets) == (16, 32.0, "all-linear")
    assert (config.use_rslora, config.use_dora) == (kind == "rslora", kind == "dora")


def test_alpha_follows_the_rank_unless_it_is_given() -> None:
    for alpha, expected in ((None, 8.0), (3.0, 3.0)):
        config = Adapters(lora=LORA.left_out, rank=4, alpha=alpha).config()
        assert config is not None and (config.r, config.alpha) == (4, expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("q_proj, mlp.up_proj", ("q_proj", "mlp.up_proj")),
        ("q_proj", ("q_proj",)),
        ("all-linear", "all-linear"),
        (r".*layers\.[01]\..*_proj", r".*layers\.[01]\..*_proj"),
    ],
)
def test_targets_are_names_or_one_pattern(text: str, expected: Any) -> None:
    config = Adapters(lora=LORA.left_out, targets=text, save_modules="lm_head,norm").config()
    assert config is not None
    assert config.targets == expected and config.modules_to_save == ("lm_head", "norm")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("rank", 0), ("alpha", 1), ("dropout", 0.0), ("targets", "q_proj")),
        *(("lora_layers", 1), ("save_modules", "norm")),
    ],
)
def test_a_detail_without_adapters_is_refused_by_its_flag(name: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"--{name.replace('_', '-')} without adapters"):
        Adapters(**{name: value}).config()


def test_a_rank_of_zero_is_not_taken_for_the_default() -> None:
    with pytest.raises(ConfigError, match="rank"):
        Adapters(lora=LORA.left_out, rank=0).config()


def test_lora_takes_its_details_and_no_argument_of_the_command() -> None:
    config = Adapters(lora=LORA("r=8,alpha=4,dropout=0.1"), targets="q_proj").config()
    assert config is not None
    assert (config.r, config.alpha, config.dropout, config.targets) == (8, 4.0, 0.1, ("q_proj",))
    assert LORA.is_value("r=8") and not LORA.is_value("run") and not LORA.is_value("--data=x")


@pytest.mark.parametrize("words", ["r=x", "rank=4", "r", "r=8,steps=2", "alpha="])
def test_a_detail_of_lora_that_is_none_is_refused_with_those_there_are(words: str) -> None:
    with pytest.raises(UsageError, match="r=N, alpha=X, dropout=X"):
        Adapters(lora=words).config()


def test_a_rank_that_is_said_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="--rank and --lora r= say the same thing twice"):
        Adapters(lora="r=8", rank=4).config()
