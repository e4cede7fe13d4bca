"""Memory of models in use: what torch really allocates, and answers worked out by hand."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from gguf_copies import split_gguf
from gguf_models import case_config, random_model
from msgspec.structs import replace
from safetensors.torch import load_file, save_file

from llmkit.errors import ConfigError, GateFailed, MissingError, UsageError
from llmkit.estimate.config import EstimateConfig
from llmkit.formats.gguf.write import write_gguf
from llmkit.model.gguf.save import gguf_model
from llmkit.workflows.kv_estimate.kv_estimate import KVEstimate, check_fit, estimate_models
from llmkit.workflows.kv_estimate.models import ModelSources

LLAMA_3_8B = {
    **{"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8},
    **{"hidden_size": 4096, "intermediate_size": 14_336, "vocab_size": 128_256},
}
WEIGHTS = 16_060_522_496  # 8,030,261,248 parameters of 2 bytes
TOKEN = 131_072


def _estimate(settings: EstimateConfig | None = None, **sources: Any) -> KVEstimate:
    (estimate,) = estimate_models(ModelSources(**sources), settings or EstimateConfig())
    return estimate


def test_the_total_is_what_a_loaded_model_and_its_cache_take(tiny_model: Callable[..., Path]) -> None:
    from llmkit.model.load import load_model
    from tests.model.kv_cache import KVCache

    for folder in (tiny_model("tied"), tiny_model("untied", tie_word_embeddings=False)):
        estimate = _estimate(EstimateConfig(batch=3, context=20), paths=(folder,))
        model = load_model(folder)
        weights = sum(parameter.nbytes for parameter in model.parameters())
        assert estimate.weights_bytes == weights
        assert estimate.kv_bytes == KVCache(model.config, batch=3, capacity=20).nbytes
        assert estimate.total_bytes == weights + estimate.kv_bytes
        assert (estimate.weights_source, estimate.dtype) == ("files", "float32")


def test_without_a_dtype_the_cache_is_in_that_of_the_weights_and_beside_codes_in_16_bits(
    tiny_model: Callable[..., Path],
) -> None:
    folder = tiny_model()
    path = folder / "config.json"
    config = {key: value for key, value in json.loads(path.read_text()).items() if "dtype" not in key}
    path.write_text(json.dumps(config))
    save_file(
        {name: one.to(torch.float16) for name, one in load_file(folder / "model.safetensors").items()},
        folder / "model.safetensors",
    )
    assert _estimate(paths=(folder,)).kv_dtype == _estimate(paths=(path.parent,)).dtype == "float16"
    (folder / "model.safetensors").unlink()
    assert _estimate(paths=(folder,)).kv_dtype == "float32"  # a config.json alone, as transformers has it
    coded = {"quant_method": "fp8", "activation_scheme": "dynamic"}
    for told, kept in (({}, "bfloat16"), ({"dtype": "float16"}, "float16")):
        path.write_text(json.dumps({**config, **told, "quantization_config": coded}))
        assert _estimate(paths=(folder,)).kv_dtype == kept


SHAPES: dict[str, dict[str, Any]] = {
    "grouped": {},
    "untied and wide": {"tie_word_embeddings": False, "hidden_size": 24, "head_dim": 12, "rotary_dim": 12},
    "gpt2": {
        **{"model_type": "gpt2", "norm": "layer", "position": "learned", "gated_mlp": False},
        **{"attention_bias": True, "output_bias": True, "mlp_bias": True, "hidden_act": "gelu_new"},
        **{"num_key_value_heads": 2, "qk_norm": "none", "rotary_dim": 0},
    },
}


@pytest.mark.parametrize("shape", SHAPES)
def test_what_a_config_predicts_is_the_file_and_what_the_engine_holds(
    tiny_model: Callable[..., Path], shape: str
) -> None:
    from llmkit.model.load import load_model
    from tests.model.kv_cache import KVCache

    folder = tiny_model("model", **SHAPES[shape])
    predicted = _estimate(EstimateConfig(batch=2, context=30), paths=(folder / "config.json",))
    assert predicted.weights_source == "config" and predicted.weights_bytes is not None
    content = (folder / "model.safetensors").read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    assert header + predicted.weights_bytes == len(content)
    model = load_model(folder)
    held = sum(one.nbytes for one in (*model.parameters(), *model.buffers()))
    real = held + KVCache(model.config, batch=2, capacity=30).nbytes
    assert predicted.total_bytes == pytest.approx(real, rel=0.02)


def test_a_token_a_sequence_and_a_batch_follow_from_each_other() -> None:
    one = _estimate(EstimateConfig(batch=16, context=8192), overrides=LLAMA_3_8B)
    assert one.kv_bytes_per_token == TOKEN
    assert one.kv_bytes_per_sequence == 8192 * TOKEN
    assert one.kv_bytes == 16 * 8192 * TOKEN
    assert (one.weights_bytes, one.total_bytes) == (WEIGHTS, WEIGHTS + 16 * 8192 * TOKEN)
    assert one.parameters_by_part is not None and sum(one.parameters_by_part.values()) == one.parameters
    assert one.parameters == 8_030_261_248


def test_the_context_is_the_models_own_where_none_is_asked_for() -> None:
    assert _estimate(presets=("gpt2",)).context == 1024
    assert _estimate(EstimateConfig(context=7), presets=("gpt2",)).context == 7
    flags = _estimate(overrides=LLAMA_3_8B)
    assert (flags.context, flags.max_position_embeddings) == (4096, None)


def test_a_cache_alone_leaves_the_weights_open() -> None:
    one = _estimate(overrides={"num_hidden_layers": 32, "num_key_value_heads": 8, "head_dim": 128})
    assert (one.kv_bytes_per_token, one.kv_bytes, one.kv_dtype) == (TOKEN, 4096 * TOKEN, "bfloat16")
    known = {"parameters", "parameters_by_part", "dtype", "weights_bytes", "weights_source", "total_bytes"}
    assert {getattr(one, name) for name in known} == {None}
    with pytest.raises(UsageError, match="--memory needs the weights"):
        _estimate(
            EstimateConfig(memory_bytes=1 << 40),
            overrides={"num_hidden_layers": 32, "num_key_value_heads": 8, "head_dim": 128},
        )


@pytest.mark.parametrize(
    ("settings", "weights", "kv_dtype"),
    [
        ({}, ("bfloat16", 2 * 1_235_814_400), "bfloat16"),
        ({"dtype": "float32"}, ("float32", 4 * 1_235_814_400), "float32"),
        ({"dtype": "float16"}, ("float16", 2 * 1_235_814_400), "float16"),
        ({"dtype": "int4"}, ("int4", 1_235_814_400 // 2), "bfloat16"),
        ({"dtype": "int8", "kv_dtype": "q8_0"}, ("int8", 1_235_814_400), "q8_0"),
    ],
)
def test_the_cache_is_in_what_the_model_computes_in(
    settings: dict[str, Any], weights: tuple[str, int], kv_dtype: str
) -> None:
    one = _estimate(EstimateConfig(**settings), presets=("llama-3.2-1b",))
    assert ((one.dtype, one.weights_bytes), one.kv_dtype) == (weights, kv_dtype)
    assert one.kv_bytes_per_token == {"bfloat16": 32_768, "float16": 32_768, "float32": 65_536}.get(
        kv_dtype, 32_768 * 17 // 32
    )


def test_another_dtype_than_the_files_have_is_predicted(tiny_model: Callable[..., Path]) -> None:
    folder = tiny_model()
    stored = _estimate(paths=(folder,))
    halved = _estimate(EstimateConfig(dtype="bfloat16"), paths=(folder,))
    assert stored.weights_bytes is not None
    assert halved.weights_bytes == stored.weights_bytes // 2
    assert (halved.weights_source, halved.kv_dtype) == ("config", "bfloat16")


def test_a_dtype_that_no_one_knows_has_to_be_said(tmp_path: Path, tiny_model: Callable[..., Path]) -> None:
    config = json.loads((tiny_model() / "config.json").read_text())
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config | {"dtype": "float8_e4m3fn", "torch_dtype": "float8_e4m3fn"}))
    with pytest.raises(ConfigError, match="'float8_e4m3fn'") as caught:
        _estimate(paths=(path,))
    assert "--dtype" in caught.value.hint
    assert _estimate(EstimateConfig(dtype="fp8"), paths=(path,)).kv_dtype == "bfloat16"
    path.write_text(json.dumps(config | {"dtype": "torch.float16"}))
    assert _estimate(paths=(path,)).dtype == "float16"


@pytest.mark.parametrize(
    ("heads", "kind"), [({}, "grouped-query"), ({"num_key_value_heads": 32}, "multi-head")]
)
def test_the_kind_of_attention_is_said(heads: dict[str, int], kind: str) -> None:
    assert _estimate(overrides=LLAMA_3_8B | heads).attention == kind
    assert _estimate(overrides=LLAMA_3_8B | {"num_key_value_heads": 1}).attention == "multi-query"


def test_memory_is_filled_to_the_last_byte() -> None:
    exact = WEIGHTS + 16 * 8192 * TOKEN
    for memory, fits, batch, context in (
        (exact, True, 16, 8192),
        (exact - 1, False, 15, 8191),
        (exact + 8192 * TOKEN, True, 17, 8192 + 512),
        (WEIGHTS + 1, False, 0, 0),
        (1, False, 0, 0),
    ):
        settings = EstimateConfig(batch=16, context=8192, memory_bytes=memory)
        one = _estimate(settings, overrides=LLAMA_3_8B)
        assert (one.fits, one.largest_batch, one.largest_context) == (fits, batch, context)


def test_52_sessions_of_8192_tokens_fit_nine_tenths_of_80_gigabytes() -> None:
    settings = EstimateConfig(context=8192, memory_bytes=72_000_000_000)
    assert _estimate(settings, overrides=LLAMA_3_8B).largest_batch == 52


def test_what_fits_passes_the_gate_and_no_limit_is_no_gate() -> None:
    check_fit([_estimate(presets=("tiny",))])
    check_fit([_estimate(EstimateConfig(memory_bytes=1 << 40), presets=("tiny",))])


def test_what_does_not_fit_is_named_with_what_would() -> None:
    settings = EstimateConfig(batch=32, context=4096, memory_bytes=24 << 30)
    estimates = estimate_models(ModelSources(presets=("tiny", "llama-2-7b")), settings)
    with pytest.raises(GateFailed) as caught:
        check_fit(estimates)
    total = 2 * 6_738_415_616 + 32 * 4096 * 524_288
    assert caught.value.problem == (
        f"llama-2-7b: does not fit 25,769,803,776 bytes (found {total:,}; 1 of 2 do not)"
    )
    room = (24 << 30) - 2 * 6_738_415_616
    assert caught.value.hint == (
        f"--batch {room // (4096 * 524_288)} fits, or --context {room // (32 * 524_288)} fits"
    )


def test_weights_that_do_not_fit_alone_are_said_so() -> None:
    estimate = _estimate(EstimateConfig(memory_bytes=8 << 30), presets=("llama-2-7b",))
    with pytest.raises(GateFailed) as caught:
        check_fit([estimate])
    assert "--dtype" in caught.value.hint and "--batch" not in caught.value.hint


def test_room_for_neither_so_many_nor_so_long_is_said_so() -> None:
    settings = EstimateConfig(batch=10**9, context=10**9, memory_bytes=24 << 30)
    with pytest.raises(GateFailed) as caught:
        check_fit([_estimate(settings, presets=("llama-3.2-1b",))])
    assert caught.value.hint == "both a smaller --batch and a shorter --context"


def test_each_of_several_devices_holds_its_part_and_a_copy_of_the_norms() -> None:
    whole, half = (
        _estimate(EstimateConfig(context=8192, tensor_parallel=ranks), overrides=LLAMA_3_8B)
        for ranks in (1, 2)
    )
    norms = 2 * 65 * 4096
    assert half.weights_bytes == norms + (WEIGHTS - norms) // 2
    assert half.kv_bytes == whole.kv_bytes // 2
    assert half.weights_bytes_by_format is None


def test_a_gguf_file_is_what_its_header_says(tmp_path: Path) -> None:
    def text(word: str) -> bytes:
        return struct.pack("<Q", len(word)) + word.encode()

    sizes = {
        **{"block_count": 1, "embedding_length": 32, "feed_forward_length": 64, "context_length": 128},
        **{"attention.head_count": 4, "attention.head_count_kv": 2},
    }
    keys = [text("general.architecture") + struct.pack("<I", 8) + text("llama")]
    keys += [text(f"llama.{name}") + struct.pack("<II", 4, size) for name, size in sizes.items()]
    keys += [text("llama.attention.layer_norm_rms_epsilon") + struct.pack("<If", 6, 1e-5)]
    f16, f32 = 1, 0
    shapes = {"token_embd": (32, 50), "blk.0.ffn_up": (32, 64), "output_norm": (32,)}
    tensors, offset = [], 0
    for name, dims in shapes.items():
        kind = f32 if len(dims) == 1 else f16
        tensors.append(
            text(f"{name}.weight") + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)
        )
        offset += 4 * 32 if kind == f32 else 2 * dims[0] * dims[1]
    path = tmp_path / "model.gguf"
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys)) + b"".join([*keys, *tensors])
    path.write_bytes(head + b"\0" * (-len(head) % 32 + offset))
    one = _estimate(EstimateConfig(context=8), paths=(path,))
    assert (one.model, one.weights_source, one.dtype) == (str(path), "files", "F16+F32")
    assert one.weights_bytes == 2 * 32 * (50 + 64) + 4 * 32
    assert one.kv_bytes == 8 * 2 * 2 * 8 * 2
    with pytest.raises(UsageError, match="do not change a file"):
        _estimate(paths=(path,), overrides={"num_hidden_layers": 2})


def test_a_gguf_model_in_parts_takes_what_all_of_them_take(tmp_path: Path) -> None:
    made = gguf_model(random_model(case_config("llama", {})), "q8_0")
    whole = tmp_path / "m.gguf"
    with whole.open("wb") as stream:
        write_gguf(stream, made.metadata, made.tensors)
    parts = split_gguf(whole, tmp_path / "parts", 12)
    assert len(parts) > 2
    one, other = (_estimate(EstimateConfig(context=8), paths=(path,)) for path in (whole, parts[0]))
    assert replace(other, model=one.model) == one
    assert one.weights_bytes == sum(tensor.nbytes for tensor in made.tensors)
    parts[-1].unlink()
    with pytest.raises(MissingError, match="no such file"):
        _estimate(EstimateConfig(context=8), paths=(parts[0],))


@pytest.mark.parametrize("ranks", [3, 12, 64, 1_000_000])
def test_heads_that_devices_cannot_share_equally_are_refused(ranks: int) -> None:
    with pytest.raises(ConfigError, match=r"num_attention_heads \(32\)"):
        _estimate(EstimateConfig(tensor_parallel=ranks), overrides=LLAMA_3_8B)
    cache = {"num_hidden_layers": 2, "num_key_value_heads": 8, "head_dim": 4}
    if ranks % 8:
        with pytest.raises(ConfigError, match="8 key/value heads cannot be split"):
            _estimate(EstimateConfig(tensor_parallel=ranks), overrides=cache)


def test_copies_on_several_devices_are_no_wider_weights() -> None:
    one = _estimate(EstimateConfig(tensor_parallel=16), overrides=LLAMA_3_8B)
    assert one.bits_per_weight == 16.0


def test_a_prefix_longer_than_the_text_and_activations_of_no_model_are_refused() -> None:
    with pytest.raises(ConfigError, match="shared prefix of 9,000 tokens is longer"):
        _estimate(EstimateConfig(context=8192, shared_prefix=9000), overrides=LLAMA_3_8B)
    cache = {"num_hidden_layers": 2, "num_key_value_heads": 1, "head_dim": 4}
    with pytest.raises(UsageError, match="--prefill-chunk needs the weights"):
        _estimate(EstimateConfig(prefill_chunk=64), overrides=cache)
