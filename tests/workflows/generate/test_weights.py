"""What weights are said to take, beside what the packed model takes."""

from dataclasses import replace
from math import prod
from pathlib import Path

import pytest
from coded_models import coded_gguf
from gguf_models import case_config, random_model

from llmkit.engine.config import GenerateConfig
from llmkit.engine.draft_model import DraftModel
from llmkit.engine.layer_groups import one_group
from llmkit.engine.native.weights import pack_weights
from llmkit.kernels.library import available, why_not
from llmkit.model.load import load_model
from llmkit.model.quantised.coded_weights import CodedWeights
from llmkit.model.save import save_model
from llmkit.model.stored_numbers import ARRAY_DTYPES
from llmkit.model.stored_weights import StoredWeights
from llmkit.workflows.generate.extent import Extent
from llmkit.workflows.generate.files import GenerateFiles
from llmkit.workflows.generate.job import open_job
from llmkit.workflows.generate.model import place, start_engine
from llmkit.workflows.generate.weights import _block, held_weight_bytes, job_bytes
from tests.model.recurrent.conftest import MAMBA, hybrid

pytestmark = pytest.mark.skipif(not available(), reason=f"the native library {why_not()}")
SHAPE = {"hidden_size": 256, "intermediate_size": 512, "head_dim": 64, "vocab_size": 40}


@pytest.mark.parametrize("codes", ["Q4_K", "Q8_0"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_codes_are_counted_as_they_lie_in_memory(tmp_path: Path, codes: str, dtype: str) -> None:
    config = case_config("llama", SHAPE)
    types = {"attn": codes, "ffn": codes, "token_embd": codes, "output": codes}
    path = coded_gguf(tmp_path / "a.gguf", random_model(config), types)
    weights, each = StoredWeights(path, dtype=dtype, coded=CodedWeights()), ARRAY_DTYPES[dtype].itemsize
    norms = sum(prod(shape) * each for name, shape in weights.shapes.items() if "norm" in name)
    packed = pack_weights(weights).nbytes
    found = held_weight_bytes(path, config, dtype, "cpu", stays_coded=True)
    assert found == pytest.approx(packed + norms, rel=0.05)
    plain = held_weight_bytes(path, config, dtype, "cpu", stays_coded=False)
    assert plain == sum(map(prod, weights.shapes.values())) * each
    assert found < 0.6 * plain


def test_plain_numbers_are_counted_in_their_dtype(tmp_path: Path) -> None:
    path = coded_gguf(tmp_path / "a.gguf", random_model(case_config("llama", SHAPE)), {})
    model = load_model(path)
    for dtype, width in (("float32", 4), ("bfloat16", 2)):
        found = held_weight_bytes(path, model.config, dtype, "cpu", stays_coded=True)
        assert found == sum(one.numel() for one in model.parameters()) * width


def test_a_model_whose_layers_all_keep_a_state_has_blocks_of_no_bytes() -> None:
    config = hybrid("granitemoehybrid", mamba=replace(MAMBA, layers=(0, 1, 2))).config
    assert _block(config, "float32", one_group(config)) == 0


@pytest.mark.parametrize("kernels", ["auto", "torch"])
@pytest.mark.parametrize("draft", ["off", "lookup", "small"])
def test_states_are_counted_as_both_models_reserve_them(tmp_path: Path, kernels: str, draft: str) -> None:
    for name, model in {
        "big": hybrid("granitemoehybrid", num_hidden_layers=4, no_rope_layers=(0, 1, 2, 3)),
        "small": hybrid("lfm2"),
    }.items():
        (tmp_path / name).mkdir()
        save_model(model, tmp_path / name)
    asked = GenerateConfig(kernels=kernels, draft=str(tmp_path / draft) if draft == "small" else draft)
    job = open_job(GenerateFiles(model=tmp_path / "big", jsonl=Path("-")), asked)
    placement = place(job, Extent(rows=3, prompt_tokens=4, positions=31, texts=3))
    engine = start_engine(job, placement)
    assert placement.kv_bytes == engine.store.nbytes
    held = job_bytes(job, placement.dtype, placement.kv_dtype, "cpu")
    speculation = engine._speculation
    proposer = None if speculation is None else speculation._proposer
    assert isinstance(proposer, DraftModel) == (held.draft is not None) == (draft == "small")
    if isinstance(proposer, DraftModel) and held.draft is not None:
        assert held.draft.cache(3 * 2, 3) == proposer._store.nbytes
