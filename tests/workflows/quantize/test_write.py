"""Rounded models as files, read back by the gguf package."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from gguf_models import GROUPS, LATENT, case_config, random_model

from llmkit.errors import DataError
from llmkit.formats.provenance import Invocation
from llmkit.model.save import save_model
from llmkit.model.transformer import Transformer
from llmkit.quant.ggml_grids import GGML_GRIDS
from llmkit.quant.kept_matrix import KeptMatrix
from llmkit.quant.rounding import round_matrix
from llmkit.workflows.quantize.job import open_quantize
from llmkit.workflows.quantize.options import QuantizeConfig
from llmkit.workflows.quantize.quantize import quantize
from llmkit.workflows.quantize.write import coded_matrix
from tests.quant.small_models import model

INVOCATION = Invocation("quantize", {}, ())
NARROW = {"q_lora_rank": 32, "qk_nope_head_dim": 32, "qk_rope_head_dim": 32, "v_head_dim": 32}
"""What Q8_0's blocks divide."""
KINDS: dict[str, Callable[[], Transformer]] = {
    "llama": lambda: model(num_hidden_layers=1),
    "tied": lambda: model(num_hidden_layers=1, tie_word_embeddings=True),
    "latent": lambda: random_model(case_config("deepseek_v3", {**LATENT, **GROUPS, **NARROW})),
    "sinusoids": lambda: random_model(case_config("gpt2", {"position_embedding_type": "sinusoidal"})),
}
SETTINGS: dict[str, dict[str, Any]] = {
    **{name: {"type": name} for name in ("F32", "F16", "BF16", "q8_0", "Q4_K")},
    "mixed": {"type": "Q4_0", "embeddings": "f16", "overrides": (("ffn_down", "BF16"), ("attn_q", "F32"))},
    "nearly plain": {"type": "BF16", "embeddings": "Q8_0"},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_tensor_of_a_gguf_file_is_stored_as_the_plan_says(
    tmp_path: Path, kind: str, settings: dict[str, Any]
) -> None:
    gguf = pytest.importorskip("gguf")
    (tmp_path / "in").mkdir()
    save_model(KINDS[kind](), tmp_path / "in")
    out, config = tmp_path / "out.gguf", QuantizeConfig(**settings)
    job = open_quantize(tmp_path / "in", out, config, force=False, invocation=INVOCATION)
    assert quantize(job).size_bytes == out.stat().st_size
    file = gguf.GGUFReader(out)
    types = {tensor.name: tensor.tensor_type.name for tensor in file.tensors}
    planned = {name: unit.stored_as for unit in job.plan.units for name in unit.files}
    assert {name: types[name] for name in planned} == planned
    assert {kind for name, kind in types.items() if name not in planned} <= {"F32"}
    number = gguf.LlamaFileType(int(file.fields["general.file_type"].contents()))
    assert number.name.endswith({"Q4_K": "Q4_K_M"}.get(settings["type"], settings["type"].upper()))


@pytest.mark.parametrize(
    ("kind", "dtype", "held"), [("F32", torch.float32, 1e5), ("BF16", torch.bfloat16, 99840.0)]
)
def test_a_wide_type_holds_what_is_beyond_float16(
    tmp_path: Path, kind: str, dtype: torch.dtype, held: float
) -> None:
    gguf = pytest.importorskip("gguf")
    made, out = model(num_hidden_layers=1), tmp_path / "out.gguf"
    with torch.no_grad():
        made.lm_head.weight[3, 4] = 1e5
    (tmp_path / "in").mkdir()
    save_model(made, tmp_path / "in")

    def run(**settings: Any) -> None:
        job = open_quantize(
            tmp_path / "in", out, QuantizeConfig(**settings), force=True, invocation=INVOCATION
        )
        quantize(job)

    for settings in ({"type": kind}, {"type": "Q4_K_M", "head": kind}):
        run(**settings)
        head = next(one for one in gguf.GGUFReader(out).tensors if one.name == "output.weight")
        found = torch.from_numpy(gguf.quants.dequantize(head.data, head.tensor_type).copy())
        assert torch.equal(found, made.lm_head.weight.to(dtype).float()) and found[3, 4] == held
    before = out.read_bytes()
    with pytest.raises(DataError, match=r"lm_head\.weight has 100000, beyond float16's 65504") as refused:
        run(type="Q4_K_M", head="F16")
    assert "--head" in str(refused.value.hint) and out.read_bytes() == before


def test_a_stack_is_coded_as_its_matrices_one_below_the_other() -> None:
    grid, weights = GGML_GRIDS["Q4_K"], torch.randn(3, 8, 256)
    matrices = [KeptMatrix.of(round_matrix(weight, grid, None)) for weight in weights]
    stack = coded_matrix(matrices)
    alone = [coded_matrix([matrix]) for matrix in matrices]
    wanted = b"".join(one.encode(one.parts()).tobytes() for one in alone)
    assert stack.encode(stack.parts()).tobytes() == wanted and stack.type == "Q4_K"
