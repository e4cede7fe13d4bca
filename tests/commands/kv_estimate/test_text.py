"""Memory as text: every figure beside its arithmetic, tables that fit, what is left out said."""

import json
from pathlib import Path
from typing import Any

import pytest

from llmkit.commands.kv_estimate.text import estimates_text
from llmkit.estimate.config import EstimateConfig
from llmkit.model.presets import PRESETS
from llmkit.workflows.kv_estimate.kv_estimate import estimate_models
from llmkit.workflows.kv_estimate.models import ModelSources


def _text(*presets: str, width: int = 80, overrides: dict[str, int] | None = None, **settings: Any) -> str:
    sources = ModelSources(presets=presets, overrides=overrides or {})
    return estimates_text(estimate_models(sources, EstimateConfig(**settings)), width=width)


def test_one_model_is_figures_and_how_they_come() -> None:
    assert _text("llama-3.2-1b", context=8192, batch=16, memory_bytes=24 << 30) == (
        "llama-3.2-1b: llama, 16 layers, 32 heads, 8 key/value heads of 64\n"
        "\n"
        "  weights     2.3 GiB  2,471,628,800  1,235,814,400 parameters in bfloat16\n"
        "  KV cache    4.0 GiB  4,294,967,296  16 sequences of 8,192 tokens in bfloat16\n"
        "  total       6.3 GiB  6,766,596,096  fits 24.0 GiB with 17.7 GiB to spare\n"
        "  sequence  256.0 MiB    268,435,456  8,192 tokens in the KV cache\n"
        "  token      32.0 KiB         32,768  2 x 16 layers x 8 heads x 64 x 2 bytes\n"
        "\n"
        "  not counted  activations, workspace, the program itself\n"
        "  at most      batch 86, or context 44,437"
    )


def test_too_much_is_said_by_how_much() -> None:
    text = _text("llama-2-7b", context=4096, memory_bytes=13_476_831_232)
    assert "  2.0 GiB more than 12.6 GiB" in text
    assert "at most" not in text  # nothing fits beside the weights


def test_a_cache_alone_says_what_the_weights_would_need() -> None:
    text = _text(overrides={"num_hidden_layers": 32, "num_key_value_heads": 8, "head_dim": 128})
    assert text.startswith("KV cache, 32 layers, 8 key/value heads of 128\n")
    assert "total" not in text and "weights      not known: give --heads, --hidden-size," in text


def test_multi_head_attention_counts_its_heads_once() -> None:
    assert _text("gpt2").startswith("gpt2: gpt2, 12 layers, 12 heads of 64\n")


def test_a_model_without_attention_has_no_heads_to_tell_of(tmp_path: Path) -> None:
    config = {"model_type": "mamba2", "num_heads": 8, "head_dim": 16, "hidden_size": 64, "state_size": 16}
    config |= {"num_hidden_layers": 2, "n_groups": 1, "expand": 2, "conv_kernel": 4, "vocab_size": 100}
    config["time_step_limit"] = [0.0, float("inf")]  # which older transformers write as Infinity
    (tmp_path / "config.json").write_text(json.dumps(config))
    sources = ModelSources(paths=(tmp_path / "config.json",))
    text = estimates_text(estimate_models(sources, EstimateConfig(context=8)), width=110)
    assert text.split("\n")[0].endswith(": mamba2, 2 layers")


def test_several_models_are_a_table_of_what_differs() -> None:
    text = _text("llama-3.2-1b", "tinyllama-1.1b", context=2048, batch=4, memory_bytes=5 << 29)
    assert text.splitlines()[:5] == [
        "batch 4, context 2,048, dtype bfloat16, memory 2.5 GiB",
        "",
        "model           weights   a token   KV cache    total  fits",
        "llama-3.2-1b    2.3 GiB  32.0 KiB  256.0 MiB  2.6 GiB    no",
        "tinyllama-1.1b  2.0 GiB  22.0 KiB  176.0 MiB  2.2 GiB   yes",
    ]
    mixed = _text("gpt2", "llama-3.2-1b").splitlines()
    assert mixed[0] == "batch 1" and mixed[2].split()[:3] == ["model", "context", "dtype"]


def test_dtypes_that_differ_are_a_pair() -> None:
    assert "dtype int4/q8_0" in _text("llama-3.2-1b", "llama-2-7b", dtype="int4", kv_dtype="q8_0")


@pytest.mark.parametrize("width", [80, 110])
def test_no_line_is_wider_than_asked(width: int) -> None:
    for presets in (["llama-2-7b"], ["qwen3-0.6b"], list(PRESETS)):
        text = _text(*presets, width=width, batch=1024, context=131_072, dtype="int4", memory_bytes=1 << 40)
        assert max(map(len, text.splitlines())) <= width


def test_a_long_name_keeps_its_end_in_a_table(shared_data: Path) -> None:
    folders = tuple(shared_data / "configs" / name for name in ("Llama-3-8B", "Llama-3-70B"))
    text = estimates_text(estimate_models(ModelSources(paths=folders), EstimateConfig()), width=60)
    names = [line.split()[0] for line in text.splitlines()[3:5]]
    assert all(name.startswith("…") for name in names)
    assert [name.endswith(folder.name) for name, folder in zip(names, folders, strict=True)] == [True, True]


def test_names_that_are_cut_can_be_told_apart(tmp_path: Path) -> None:
    config = {"model_type": "llama", "num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 64}
    config |= {"intermediate_size": 128, "vocab_size": 100}
    paths = [tmp_path / f"{name}-with-a-long-name-Instruct" for name in ("one", "two")]
    for path in paths:
        path.mkdir()
        (path / "config.json").write_text(json.dumps(config))
    text = estimates_text(
        estimate_models(ModelSources(paths=(*paths, paths[0])), EstimateConfig(context=8)), width=50
    )
    first, second, again = [line.split()[0] for line in text.splitlines() if "Instruct" in line]
    assert first == again != second


def test_what_the_figures_leave_out_is_said() -> None:
    assert "not counted  activations, workspace, the program itself\n" in _text("gpt2", context=9999)
    assert "context      beyond the 1,024 positions of gpt2" in _text("gpt2", context=9999)
    assert "beyond the 1,024 positions of gpt2, 512 positions of tiny" in " ".join(
        _text("gpt2", "tiny", "llama-3.2-1b", context=2048).split()
    )
    quantised = _text("llama-3.2-1b", dtype="int4", kv_dtype="fp8")
    assert "the program itself, scales of fp8, scales of int4" in " ".join(quantised.split())
    assert "scales" not in _text("llama-3.2-1b", kv_dtype="q8_0")  # its blocks hold them


def test_a_name_cannot_steer_the_terminal(tmp_path: Path) -> None:
    folder = tmp_path / "evil\x1b[31m"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(PRESETS["tiny"].to_hf()))
    for paths in ((folder,), (folder, folder)):
        sources = ModelSources(paths=paths)
        assert "\x1b" not in estimates_text(estimate_models(sources, EstimateConfig()), width=80)
