"""The memory that the kernels write: as large as it may become, and taken as it is written."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gguf_models import case_config

from llmkit.engine.native.store import NativeStore
from llmkit.kernels.library import available, why_not
from tests.model.recurrent.conftest import MAMBA, hybrid

pytestmark = pytest.mark.skipif(not available(), reason=f"the native library {why_not()}")


def test_arrays_lie_where_a_pass_is_told_and_bfloat16_is_uint16() -> None:
    config = case_config("llama", {"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2})
    store = NativeStore(config, 3, 4, "bfloat16")
    assert {one.dtype for one in store.arrays} == {np.dtype(np.uint16)}
    assert {one.shape for one in store.arrays} == {(12, 2, 16)}
    assert store.memory.num_layers == config.num_hidden_layers and store.memory.block_size == 4
    assert store.memory.addresses[2:] == (None, None)
    assert None not in NativeStore(config, 3, 4, "int8").memory.addresses


def test_layers_of_state_have_no_blocks_and_their_states_count() -> None:
    config = hybrid("lfm2").config  # state, attention, state
    store = NativeStore(config, 3, 4, "bfloat16", slots=5)
    assert store.states is not None and len(store.states.array) == 5
    assert store.nbytes == store.states.nbytes + sum(one.nbytes for one in store.arrays)
    assert len(store.arrays) == 2 and store.memory.states is store.states.kept


def test_where_all_layers_keep_a_state_blocks_have_no_bytes() -> None:
    config = hybrid("granitemoehybrid", mamba=replace(MAMBA, layers=(0, 1, 2))).config
    store = NativeStore(config, 3, 4, "bfloat16", slots=5)
    assert store.arrays == store.kinds == []
    assert store.states is not None and store.nbytes == store.states.nbytes
    assert store.memory.num_groups == 1  # tables of texts are one for each group, and there is always one


def test_what_is_not_written_is_not_taken() -> None:
    config = case_config("llama", {"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2})

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    before = resident()
    store = NativeStore(config, 100_000, 16, "float32")
    assert store.nbytes > 500_000_000
    for array in store.arrays:
        array[0] = 1
    assert resident() - before < 10_000_000
