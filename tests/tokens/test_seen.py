"""Digests are remembered, beyond what the small set holds."""

import hashlib

import pytest

from llmkit.tokens import seen
from llmkit.tokens.seen import SeenDigests


def test_it_is_a_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen, "_RECENT", 8)
    digests, ours = set(), SeenDigests()
    for number in range(2000):
        digest = hashlib.sha256(str(number % 1500).encode()).digest()
        assert ours.add(digest) == (digest in digests)
        digests.add(digest)
    assert len(ours) == len(digests) == 1500


def test_the_largest_number_is_found_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen, "_RECENT", 1)
    ours = SeenDigests()
    assert [ours.add(one * 8) for one in (b"\xff", b"\x00", b"\xff", b"\x00")] == [False, False, True, True]
