"""Superblocks against slow twins that follow ggml-quants.c value by value."""

import struct

import numpy as np
import pytest

from llmkit.formats.gguf import k_quants as ggml_k


def blocks(layout: np.dtype, count: int = 20) -> np.ndarray:
    """Random codes, with scales that are numbers."""
    generator = np.random.default_rng(7)
    content = generator.integers(0, 256, count * layout.itemsize, dtype=np.uint8)
    stored = content.view(layout)
    for name in {"d", "dmin"} & set(layout.names or ()):
        stored[name] = generator.standard_normal(count)
    return stored


def scale_and_minimum(j: int, q: bytes) -> tuple[int, int]:
    """get_scale_min_k4 of ggml-quants.c."""
    if j < 4:
        return q[j] & 63, q[j + 4] & 63
    return (q[j + 4] & 15) | (q[j - 4] >> 6) << 4, (q[j + 4] >> 4) | (q[j] >> 6) << 4


def f32(value: object) -> np.float32:
    return np.float32(value)


def slow_q2_k(b: np.void) -> list[np.float32]:
    d, dmin, scales, out = f32(b["d"]), f32(b["dmin"]), b["scales"].tolist(), []
    for half in range(2):
        qs = b["qs"][32 * half : 32 * half + 32].tolist()
        for shift in range(4):
            for place in range(32):
                scale = scales[8 * half + 2 * shift + place // 16]
                code = qs[place] >> 2 * shift & 3
                out.append(d * f32(scale & 15) * f32(code) - dmin * f32(scale >> 4))
    return out


def slow_q3_k(b: np.void) -> list[np.float32]:
    words = list(struct.unpack("<3I", b["scales"].tobytes()))
    low, high, top = words
    every = [
        (low & 0x0F0F0F0F) | (top >> 0 & 0x03030303) << 4,
        (high & 0x0F0F0F0F) | (top >> 2 & 0x03030303) << 4,
        (low >> 4 & 0x0F0F0F0F) | (top >> 4 & 0x03030303) << 4,
        (high >> 4 & 0x0F0F0F0F) | (top >> 6 & 0x03030303) << 4,
    ]
    scales, out = struct.pack("<4I", *every), []
    for half in range(2):
        for shift in range(4):
            for place in range(32):
                bit = b["hmask"][place] >> (4 * half + shift) & 1
                code = int(b["qs"][32 * half + place] >> 2 * shift & 3) - (0 if bit else 4)
                scale = scales[8 * half + 2 * shift + place // 16] - 32
                out.append(f32(b["d"]) * f32(scale) * f32(code))
    return out


def slow_q45_k(b: np.void) -> list[np.float32]:
    """Q4_K, and Q5_K where there are high bits."""
    d, dmin, out = f32(b["d"]), f32(b["dmin"]), []
    high = b["qh"].tolist() if "qh" in (b.dtype.names or ()) else [0] * 32
    for group in range(8):
        scale, minimum = scale_and_minimum(group, b["scales"].tobytes())
        for place in range(32):
            code = int(b["qs"][32 * (group // 2) + place]) >> 4 * (group % 2) & 15
            code += (high[place] >> group & 1) << 4
            out.append(d * f32(scale) * f32(code) - dmin * f32(minimum))
    return out


def slow_q6_k(b: np.void) -> list[np.float32]:
    out = []
    for half in range(2):
        for quarter in range(4):
            for place in range(32):
                low = int(b["ql"][64 * half + 32 * (quarter % 2) + place]) >> 4 * (quarter // 2) & 15
                high = int(b["qh"][32 * half + place]) >> 2 * quarter & 3
                scale = b["scales"][8 * half + 2 * quarter + place // 16]
                out.append(f32(b["d"]) * f32(scale) * f32((low | high << 4) - 32))
    return out


def slow_iq4_xs(b: np.void) -> list[np.float32]:
    table = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113]
    upper, out = int.from_bytes(b["scales_h"].tobytes(), "little"), []
    for group in range(8):
        low = int(b["scales_l"][group // 2]) >> 4 * (group % 2) & 15
        scale = (low | (upper >> 2 * group & 3) << 4) - 32
        codes = b["qs"][16 * group : 16 * group + 16].tolist()
        for code in [*(c & 15 for c in codes), *(c >> 4 for c in codes)]:
            out.append(f32(b["d"]) * f32(scale) * f32(table[code]))
    return out


@pytest.mark.parametrize(
    ("name", "slow"),
    [
        *(("Q2_K", slow_q2_k), ("Q3_K", slow_q3_k), ("Q4_K", slow_q45_k), ("Q5_K", slow_q45_k)),
        *(("Q6_K", slow_q6_k), ("IQ4_XS", slow_iq4_xs)),
    ],
)
def test_a_superblock_is_read_as_the_reference_reads_it(name: str, slow: object) -> None:
    assert callable(slow)
    stored = blocks(getattr(ggml_k, name))
    ours = getattr(ggml_k, f"read_{name.lower()}")(stored)
    assert ours.dtype == np.float32
    assert np.array_equal(ours, np.array([slow(block) for block in stored]))
