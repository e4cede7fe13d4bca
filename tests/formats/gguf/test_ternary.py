"""Ternary blocks, packed here the way that ggml packs them."""

import numpy as np

from llmkit.formats.gguf.ternary import TQ1_0, TQ2_0, read_tq1_0, read_tq2_0


def digits(count: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 3, (count, 256))


def packed_base_3(parts: np.ndarray) -> np.ndarray:
    """(N, digits, bytes), the first digit the highest, to bytes: n / 243 in 256ths, rounded up."""
    number = np.zeros_like(parts[:, 0])
    for k in range(5):
        number = number * 3 + (parts[:, k] if k < parts.shape[1] else 0)
    return ((number * 256 + 242) // 243).astype(np.uint8)


def test_five_digits_of_base_three_come_out_of_a_byte() -> None:
    codes = digits(50)
    stored = np.zeros(50, TQ1_0)
    stored["d"] = 0.5
    stored["qs"][:, :32] = packed_base_3(codes[:, :160].reshape(-1, 5, 32))
    stored["qs"][:, 32:] = packed_base_3(codes[:, 160:240].reshape(-1, 5, 16))
    stored["qh"] = packed_base_3(codes[:, 240:].reshape(-1, 4, 4))
    assert np.array_equal(read_tq1_0(stored), (codes - 1) / 2)


def test_four_codes_come_out_of_a_byte() -> None:
    codes = digits(50)
    stored = np.zeros(50, TQ2_0)
    stored["d"] = -2
    runs = codes.reshape(-1, 2, 4, 32)
    stored["qs"] = sum(runs[:, :, k] << 2 * k for k in range(4)).reshape(-1, 64)
    assert np.array_equal(read_tq2_0(stored), -2.0 * (codes - 1))
