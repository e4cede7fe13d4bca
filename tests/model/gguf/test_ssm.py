"""Keys of layers with a state's matrices, written out by hand."""

import pytest

from llmkit.errors import ConfigError
from llmkit.formats.gguf.values import Typed
from llmkit.model.gguf.keys import GgufKeys
from llmkit.model.gguf.ssm import StateKeys, read_ssm, ssm_metadata

TOLD = StateKeys(kernel=4, key_dim=16, groups=2, heads=6, head_dim=5)
FILE = {
    **{"a.ssm.conv_kernel": 4, "a.ssm.state_size": 16, "a.ssm.group_count": 2, "a.ssm.time_step_rank": 6},
    "a.ssm.inner_size": 30,
}


def test_what_is_written_is_read() -> None:
    assert ssm_metadata("a", TOLD) == {name: Typed("u32", number) for name, number in FILE.items()}
    assert read_ssm(GgufKeys(FILE, "a", "a.gguf")) == TOLD


@pytest.mark.parametrize(("heads", "inner"), [(0, 30), (4, 30)])
def test_a_width_that_its_heads_do_not_share_is_refused(heads: int, inner: int) -> None:
    keys = GgufKeys(FILE | {"a.ssm.time_step_rank": heads, "a.ssm.inner_size": inner}, "a", "a.gguf")
    with pytest.raises(ConfigError, match=f"a multiple of ssm.time_step_rank, {heads}"):
        read_ssm(keys)
