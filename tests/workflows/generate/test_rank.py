"""A process beside the first: what it reads, and what it has of the model."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import msgspec
import pytest
import torch

from llmkit.engine.module_weights import pack_model
from llmkit.engine.parallel.ranks import PartHead
from llmkit.kernels.library import available
from llmkit.model.load import load_model
from llmkit.model.part import Part
from llmkit.model.transformer import Transformer
from llmkit.workflows.generate.rank import MEET, RankSettings, load_part, messages
from tests.engine.parallel.threads import Meeting, ThreadRanks

SETTINGS = RankSettings(
    model="run",
    part=Part(1, 2),
    store="store",
    device="cpu",
    dtype="float32",
    rope_scaling={"rope_type": "linear", "factor": 2.0},
    threads=1,
    positions=64,
    block_tokens=16,
    kv_dtype="float32",
    max_texts=2,
    native=False,
    weights="stored",
)


def test_settings_are_the_same_after_a_line() -> None:
    assert msgspec.json.decode(msgspec.json.encode(SETTINGS), type=RankSettings) == SETTINGS


def test_messages_are_read_until_the_first_process_is_gone_in_the_middle_of_one() -> None:
    sent = [MEET, b"a pass", b"\n" * 300]
    stream = b"".join(len(one).to_bytes(4, "little") + one for one in sent)
    assert list(messages(BytesIO(stream + b"\x05\x00"))) == sent


@pytest.mark.parametrize(
    "native", [False, pytest.param(True, marks=pytest.mark.skipif(not available(), reason="no kernels"))]
)
def test_a_process_has_half_of_the_matrices_and_the_kernels_pack_no_more(
    shared_data: Path, native: bool
) -> None:
    folder = shared_data / "models" / "stories260K"
    settings = replace(SETTINGS, model=str(folder), rope_scaling=None, native=native)
    threads = torch.get_num_threads()
    found = load_part(settings, ThreadRanks(settings.part, Meeting(2)))
    torch.set_num_threads(threads)
    whole = load_model(folder)
    assert found.config.num_attention_heads == 4
    matrices = sum(one.numel() for one in whole.model.layers.parameters() if one.dim() == 2)
    if isinstance(found, Transformer):
        assert isinstance(found.lm_head, PartHead)
        assert sum(one.numel() for one in found.model.layers.parameters() if one.dim() == 2) == matrices // 2
    else:
        assert found.ranks is not None  # its rows are padded
        assert found.nbytes == pytest.approx(pack_model(whole).nbytes / 2, rel=0.02)
