"""Event files: their frames taken apart by hand, and read by TensorBoard where it is installed."""

import struct
import time
from pathlib import Path
from typing import Any

import pytest

from llmkit.formats.tensorboard import EventsWriter, crc32c, scalars

STEP = {
    **{"time_seconds": 1.5, "step": 3, "tokens": 96, "loss": 2.5, "lr": 1e-3, "grad_norm": 0.5},
    **{"tokens_per_second": 640.0, "skipped": "spike", "expert_loads": [[1, 2]]},
}
NORMS = {
    "event": "norms",
    "step": 3,
    "layers": [{"name": "layers.0", "gradient": 0.25, "update_ratio": None}],
}


def write(folder: Path, *records: dict[str, Any], step: int = 0) -> Path:
    with EventsWriter(folder, step) as writer:
        for record in records:
            writer.write(record)
    return max(folder.iterdir())


def frames(path: Path) -> list[bytes]:
    """The messages of a TFRecord file, its checksums held against those of `crc32c`."""
    content, found = path.read_bytes(), []
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        for part, at in ((content[:8], 8), (content[12 : 12 + length], 12 + length)):
            crc = crc32c(part)
            (masked,) = struct.unpack("<I", content[at : at + 4])
            assert masked == ((crc >> 15 | crc << 17) + 0xA282EAD8) % (1 << 32)
        found.append(content[12 : 12 + length])
        content = content[16 + length :]
    return found


@pytest.mark.parametrize(
    ("content", "crc"),
    [
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (b"123456789", 0xE3069283),
    ],
)
def test_the_checksum_is_that_of_rfc_3720(content: bytes, crc: int) -> None:
    assert crc32c(content) == crc


def test_a_file_begins_with_its_version_and_has_a_frame_a_record(tmp_path: Path) -> None:
    first, record = frames(write(tmp_path / "new" / "folder", STEP, {"event": "start", "step": 0}))
    assert first.endswith(b"\x1a\x0dbrain.Event:2")
    assert record[9:11] == b"\x10\x03"  # field 2, a number: step 3
    assert b"\x0a\x0atrain/loss\x15" + struct.pack("<f", 2.5) in record


def test_a_resumed_run_says_from_which_step_it_goes_on(tmp_path: Path) -> None:
    _, start = frames(write(tmp_path, step=300))
    assert start[9:] == b"\x10\xad\x02" + b"\x3a\x02\x08\x01"  # step 301; session_log { status: START }


def test_a_file_comes_behind_the_earlier_ones_by_name_where_the_clock_went_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "events.out.tfevents.of-no-moment").touch()
    write(tmp_path, STEP)
    (first,) = (path for path in tmp_path.iterdir() if path.name[-1].isdigit())
    now = time.time_ns()
    monkeypatch.setattr("time.time_ns", lambda: now - 3600 * 10**9)
    write(tmp_path, STEP, step=3)
    numbered = sorted(path for path in tmp_path.iterdir() if path.name[-1].isdigit())
    assert len(numbered) == 2 and numbered[0] == first


def test_a_run_that_went_back_says_from_which_step_it_goes_on(tmp_path: Path) -> None:
    *_, start = frames(write(tmp_path, STEP, {"event": "rewind", "step": 300, "spike_step": 304}))
    assert start[9:] == b"\x10\xad\x02" + b"\x3a\x02\x08\x01"


@pytest.mark.parametrize(
    ("record", "tags"),
    [
        (
            STEP,
            {"train/loss": 2.5, "train/lr": 1e-3, "train/grad_norm": 0.5, "train/tokens_per_second": 640.0},
        ),
        (
            {"event": "eval", "step": 1, "valid_loss": 2.0, "bits_per_byte": 1.5, "units": "pairs"},
            {"valid/loss": 2.0, "valid/bits_per_byte": 1.5},
        ),
        (NORMS, {"gradient/layers.0": 0.25}),
        ({"event": "stop", "step": 1, "reason": "done"}, {}),
        ({"step": 1, "loss": None}, {}),
    ],
)
def test_the_numbers_of_a_record_become_tags(record: dict[str, Any], tags: dict[str, float]) -> None:
    assert scalars(record) == tags


def test_tensorboard_reads_what_was_written_and_drops_what_a_resume_does_again(tmp_path: Path) -> None:
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="tensorboard is not installed"
    )
    write(tmp_path, *({"step": step, "loss": 1.0 * step} for step in range(1, 400)), NORMS)
    write(tmp_path, {"step": 301, "loss": 0.5}, {"event": "eval", "step": 301, "valid_loss": 2.0}, step=300)
    read = accumulator.EventAccumulator(str(tmp_path), size_guidance={accumulator.SCALARS: 0})
    read.Reload()
    assert set(read.Tags()["scalars"]) == {"train/loss", "valid/loss", "gradient/layers.0"}
    losses = [(one.step, one.value) for one in read.Scalars("train/loss")]
    assert losses == [(step, 1.0 * step) for step in range(1, 301)] + [(301, 0.5)]
