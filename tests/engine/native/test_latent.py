"""Latent attention beside the modules: rounded and plain weights, codes of files, texts in busy batches."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from adapters_by_hand import adapter, merged, prompt
from coded_models import coded_gguf
from gguf_models import GROUPS, LATENT, case_config, random_model
from llama_cpp import llama_cpp_logits

from llmkit.engine.adapters.prepare import prepare_adapter
from llmkit.engine.config import SamplingConfig
from llmkit.engine.drafts import PromptLookup
from llmkit.engine.engine import Engine, EngineConfig
from llmkit.engine.module_weights import pack_model
from llmkit.engine.native.latent import latent_attention
from llmkit.engine.native.vectors import Vectors
from llmkit.engine.native.weights import pack_weights
from llmkit.engine.request import Request
from llmkit.formats.gguf.write import write_gguf
from llmkit.kernels.library import available, why_not
from llmkit.kernels.packed import PackedFormat, PackedWeight, pack
from llmkit.model.config_parts import LatentConfig
from llmkit.model.gguf.save import gguf_model
from llmkit.model.load import load_model
from llmkit.model.quantised.coded_weights import CodedWeights
from llmkit.model.stored_weights import StoredWeights
from llmkit.model.transformer import Transformer
from tests.engine.native.test_weights import distance, logits, modules, rounded_to
from tests.kernels.native.calls import matmul
from tests.written_texts import write

pytestmark = pytest.mark.skipif(not available(), reason=f"the native library {why_not()}")
SIZES = {**LATENT, **GROUPS, "hidden_size": 256, "intermediate_size": 512, "vocab_size": 40}
WIDE = {"q_lora_rank": 64, "kv_lora_rank": 64, "qk_nope_head_dim": 32, "v_head_dim": 32}


def make_model(**changes: Any) -> Transformer:
    return random_model(case_config("deepseek_v3", SIZES | WIDE | changes))


def stays_plain(name: str) -> bool:
    """What is not rounded with the rest."""
    return "embed" in name or name.endswith(("mlp.gate.weight", "kv_b_proj.weight"))


@pytest.mark.parametrize(
    ("packed_format", "levels"), [(PackedFormat.INT8, 127), (PackedFormat.INT4, 8)], ids=["int8", "int4"]
)
def test_rounded_weights_compute_what_their_values_compute(packed_format: PackedFormat, levels: int) -> None:
    model, rounded = make_model(), make_model()
    with torch.no_grad():
        for part, parameter in rounded.named_parameters():
            if parameter.dim() >= 2 and not stays_plain(part):
                parameter.copy_(rounded_to(parameter, levels))
    found = logits(pack_model(model, packed_format))
    assert distance(found, modules(rounded)) < 0.06  # activations are rounded to 8 bits as well
    assert levels == 127 or distance(found, modules(model)) > 0.12


def test_bfloat16_weights_and_latents_compute_what_they_do_in_float32() -> None:
    model, twin = (make_model().to(torch.bfloat16) for _ in range(2))
    expected = modules(twin.float())
    native = pack_model(model, release=True)
    assert native.dtype == "bfloat16" and distance(logits(native), expected) < 0.03
    left = {key for key, one in model.named_parameters() if one.dim() > 1 and one.numel()}
    assert {key for key in left if not key.endswith("mlp.gate.weight")} == {"model.embed_tokens.weight"}


def test_codes_of_a_file_stay_codes_but_for_those_that_become_keys_and_values(tmp_path: Path) -> None:
    path = coded_gguf(tmp_path / "a.gguf", make_model(), {"attn": "Q8_0", "ffn": "Q4_0"})
    weights = StoredWeights(path, dtype="float32", coded=CodedWeights())
    attention = {name.rpartition("self_attn.")[2] for name in weights.codes if "layers.2.self_attn" in name}
    assert attention == {f"{one}.weight" for one in ("q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "o_proj")}
    native, plain = pack_weights(weights), load_model(path, dtype=torch.float32)
    assert distance(logits(native), modules(plain)) < 0.06
    assert native.nbytes < 0.5 * pack_model(plain).nbytes


@pytest.mark.parametrize(
    ("gguf_type", "bound"), [("float32", 1e-5), ("q8_0", 0.06)]
)  # both round what comes in
def test_a_file_s_logits_are_those_of_llama_cpp(gguf_type: str, bound: float, tmp_path: Path) -> None:
    made = gguf_model(make_model(), gguf_type)
    path = tmp_path / "a.gguf"
    with path.open("wb") as stream:
        write_gguf(stream, {**made.metadata, "tokenizer.ggml.model": "none"}, made.tensors)
    native = pack_weights(StoredWeights(path, dtype="float32", coded=CodedWeights()))
    tokens = torch.randint(0, 40, (24,), generator=torch.Generator().manual_seed(5)).tolist()
    assert distance(logits(native), torch.tensor(llama_cpp_logits(path, tokens))) < bound


@pytest.mark.parametrize("changes", [{}, {"q_lora_rank": None}], ids=["through a rank", "straight"])
@pytest.mark.parametrize("sizes", [{"pass_tokens": 7}, {"pass_tokens": 512}, {"positions": 160}])
def test_a_ragged_batch_with_guesses_and_common_beginnings_has_the_scores_of_the_modules(
    changes: dict[str, Any], sizes: dict[str, int]
) -> None:
    model = make_model(**changes)
    config = EngineConfig(**{"positions": 1000, "block_tokens": 4, "max_texts": 5, **sizes})
    draw = torch.Generator().manual_seed(1)
    common = torch.randint(40, (30,), generator=draw).tolist()
    greedy = SamplingConfig(max_tokens=12, temperature=0.0, ignore_eos=True, logprobs=1)
    asked = [
        Request((*common[: 4 * number], *torch.randint(40, (3 + number,), generator=draw).tolist()), greedy)
        for number in range(8)
    ]
    expected = write(Engine(model, config), asked)
    engine = Engine(pack_model(model), config, proposer=PromptLookup(shortest=1))
    found = write(engine, asked)
    assert engine.counts.accepted_drafts and engine.counts.cached_tokens
    for ours, theirs in zip(found, expected, strict=True):
        assert [one.id for one in ours] == [one.id for one in theirs]
        for one, other in zip(ours, theirs, strict=True):
            assert one.score is not None and other.score is not None
            assert one.score.logprob == pytest.approx(other.score.logprob, abs=2e-4)


@pytest.mark.parametrize("native", [True, False], ids=["native", "torch"])
@pytest.mark.parametrize("changes", [{}, {"q_lora_rank": None}], ids=["through a rank", "straight"])
def test_texts_of_adapters_of_every_product_have_the_scores_of_the_merged_models(
    changes: dict[str, Any], native: bool
) -> None:
    model = make_model(**changes)
    adapters = {"lora": adapter(model, 1, rank=5), "dora": adapter(model, 2, dora=True)}
    engine = Engine(pack_model(model) if native else model, EngineConfig(positions=400, block_tokens=4))
    merged_models = {None: model}
    for name, one in adapters.items():
        assert "model.layers.1.self_attn.kv_b_proj" in one.modules
        engine.adapters.add(prepare_adapter(model, name, one))
        merged_models[name] = merged(model, one)
    greedy = SamplingConfig(max_tokens=8, temperature=0.0, ignore_eos=True, logprobs=1)
    asked = [Request(prompt(0, 21), greedy, adapter=name) for name in ("lora", None, "dora", "lora")]
    asked.append(Request(prompt(0, 34), greedy, adapter="lora"))  # goes on where another has been
    found = write(engine, asked)
    for one, text in zip(asked, found, strict=True):
        (expected,) = write(Engine(merged_models[one.adapter]), [replace(one, adapter=None)])
        assert [drawn.id for drawn in text] == [drawn.id for drawn in expected]
        for drawn, other in zip(text, expected, strict=True):
            assert drawn.score is not None and other.score is not None
            assert drawn.score.logprob == pytest.approx(other.score.logprob, abs=2e-4)
    assert len({tuple(drawn.id for drawn in text) for text in found[:3]}) == 3


def test_a_query_reads_latents_as_it_reads_the_keys_that_are_made_of_them() -> None:
    latent = LatentConfig(kv_lora_rank=5, qk_nope_head_dim=3, qk_rope_head_dim=2, v_head_dim=4)
    packer = Packer(latent)
    parts, biases = latent_attention(packer, latent, "attn")
    found = parts["latent"]
    assert packer.packed == {"attn.q_proj.weight": None, "attn.kv_a_proj_with_mqa.weight": 7}
    assert packer.given_up == ["attn.kv_b_proj.weight"] and biases == (None,) * 5
    q, c = (np.random.default_rng(1).normal(size=(1, size)).astype(np.float32) for size in (3, 5))
    for head, made in enumerate(packer.rows.reshape(2, 7, 5)):
        score = q @ matmul(found.keys[head], c).T
        assert score == pytest.approx(q @ made[:3] @ c.T, rel=1e-5)
        assert matmul(found.into[head], q) @ c.T == pytest.approx(score, rel=1e-5)
        assert matmul(found.values[head], c) == pytest.approx(c @ made[3:].T, rel=1e-5)


class Packer:
    """Notes what it is asked for: of two heads, whose numbers that turn stand at the end."""

    def __init__(self, latent: LatentConfig) -> None:
        self.packed: dict[str, int | None] = {}
        self.given_up: list[str] = []
        self.rows = np.random.default_rng(0).normal(size=(2 * 7, 5)).astype(np.float32)
        config: Any = SimpleNamespace(latent=latent, rope_interleaved=False, head_dim=5, rotary_dim=2)
        self.vectors = Vectors(
            config, {"attn.kv_a_layernorm.weight": (5,)}, lambda name: np.ones(5, np.float32)
        )

    def pack(self, name: str, *, turned: bool = False, head_dim: int | None = None) -> PackedWeight:
        if turned:
            self.packed[name] = head_dim
        return pack(np.ones((2, 2), np.float32), PackedFormat.FLOAT32)

    def plain(self, name: str) -> Any:
        assert name == "attn.kv_b_proj.weight"
        return self.rows

    def give_up(self, name: str) -> None:
        self.given_up.append(name)
