"""Numbers alone: every parameter in one dtype, and nothing else."""

import pytest

from llmkit.estimate.read_architecture import read_architecture
from llmkit.estimate.stored import NumbersAlone

MIXTRAL = read_architecture(
    {
        **{"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4},
        **{"num_key_value_heads": 4, "vocab_size": 1000, "tie_word_embeddings": False},
        **{"model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 2, "dtype": "bfloat16"},
    }
)


@pytest.mark.parametrize(("dtype", "each"), [("float32", 4), ("bfloat16", 2), ("int8", 1), ("int4", 0.5)])
def test_numbers_alone_are_the_parameters(dtype: str, each: float) -> None:
    stored = list(NumbersAlone(dtype).stored(MIXTRAL))
    assert sum(one.nbytes for one in stored) == MIXTRAL.parameters * each
    assert {one.format for one in stored} == {dtype}
    assert {one.part for one in stored} == set(MIXTRAL.by_part)
