import torch

from llmkit.quant.int_grids import IntGrid
from llmkit.quant.plain_numbers import as_stored, plain_dtypes
from llmkit.quant.plan import Wishes
from llmkit.quant.plan_folder import folder_plan
from llmkit.quant.plan_gguf import gguf_plan
from tests.quant.small_models import on_meta


def test_each_tensor_without_a_grid_has_the_dtype_of_the_file() -> None:
    gguf = Wishes(embeddings="BF16", head="F16").apply(gguf_plan(on_meta(), "Q4_K_M"))
    dtypes = plain_dtypes(gguf)
    assert dtypes.pop("model.embed_tokens.weight") == torch.bfloat16
    assert dtypes.pop("lm_head.weight") == torch.float16
    assert set(dtypes.values()) == {torch.float32} and all("norm" in name for name in dtypes)
    folder = folder_plan(on_meta(), "compressed-tensors", IntGrid(4, 32, True), dtype=torch.bfloat16)
    assert set(plain_dtypes(folder).values()) == {torch.bfloat16}


def test_numbers_are_read_again_as_the_dtype_leaves_them() -> None:
    values = torch.tensor([1.0, 1.001, 1e-9])
    assert as_stored(values, None) is values and as_stored(values, torch.float32) is values
    assert as_stored(values, torch.bfloat16).tolist() == [1.0, 1.0, torch.tensor(1e-9).bfloat16().item()]
    assert as_stored(values, torch.float16).tolist() == [1.0, 1.0009765625, 0.0]
