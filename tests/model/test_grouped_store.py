"""Groups of tensors by the model's names, whichever form of file they are of."""

from typing import Any

from gguf_models import case_config

from llmkit.model.gguf.names import gguf_groups
from llmkit.model.grouped_store import GroupedStore
from llmkit.model.names import groups
from llmkit.model.shapes import tensor_shapes

PHI: dict[str, Any] = {"hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}


def test_joined_tensors_are_expected_once_with_the_rows_of_all_of_them() -> None:
    config = case_config("phi3", PHI)
    shapes = tensor_shapes(config)
    for kept, joined in ((groups(config, shapes), "qkv_proj"), (gguf_groups(config, shapes), "attn_qkv")):
        store: GroupedStore[Any] = GroupedStore(config, shapes, kept)
        (first, *_) = (shape for name, shape in store._expected().items() if joined in name)
        assert first == ((4 + 2 + 2) * 8, 32)
        assert len(store._all_groups()) == len(kept) < len(shapes)
        assert sum(len(store._rows(group)) for group in kept) == len(shapes)
