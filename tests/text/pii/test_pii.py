"""Personal data planted in real text: how much is found, what else is, and what the modes do."""

import random
from collections import Counter
from pathlib import Path

import pytest
import zstandard

from llmkit.text.pii.pii import PII_KINDS, PiiSpan, apply_pii, find_pii, mask_pii

TEXT = "Ask jane@example.org or +44 1474 556909 (IBAN DE89370400440532013000), from 195.234.74.142."
MASKED = "Ask <EMAIL> or <PHONE> (IBAN <IBAN>), from <IP>."


def made_up(rng: random.Random, kind: str) -> str:
    """Personal data of a kind, in a form that people write."""
    digits = lambda count: "".join(rng.choices("0123456789", k=count))  # noqa: E731
    if kind == "email":
        name = rng.choice(["jane.doe", "j_doe42", "info", "a.very.long-name+tag", "Müller"])
        return f"{name}@{rng.choice(['example.org', 'mail.some-firm.co.uk', 'uni-x.edu', 'x.io'])}"
    if kind == "phone":
        return rng.choice(
            [
                f"+44 20 7946 0{digits(3)}",
                f"(612) 555-0{digits(3)}",
                f"+4930{digits(8)}",
                f"212-555-0{digits(3)}",
            ]
        )
    if kind == "ip":
        first = rng.choice([52, 93, 195, 212])
        return f"{first}.{rng.randrange(1, 99)}.{rng.randrange(200)}.{rng.randrange(1, 250)}"
    if kind == "card":
        body = "4" + digits(14)
        check = next(last for last in "0123456789" if _luhn_sum(body + last) % 10 == 0)
        number = body + check
        return rng.choice([number, " ".join(number[at : at + 4] for at in range(0, 16, 4))])
    if kind == "iban":
        body = "DE00" + digits(18)
        check = 98 - int(body[4:] + "131400") % 97
        return f"DE{check:02}{body[4:]}"
    return rng.choice(
        [
            "ghp_" + digits(36),
            "AKIA" + "".join(rng.choices("ABCDEFGH234567", k=16)),
            "hf_" + "aBcD" * 8 + "xy",
        ]
    )


def _luhn_sum(number: str) -> int:
    doubled = [int(digit) * 2 for digit in number[-2::-2]]
    return sum(int(digit) for digit in number[-1::-2]) + sum(one // 10 + one % 10 for one in doubled)


@pytest.mark.parametrize("kind", PII_KINDS)
def test_what_is_planted_in_real_prose_is_found(kind: str, shared_data: Path) -> None:
    with zstandard.open(shared_data / "text" / "gutenberg" / "en-alice.txt.zst", "rb") as stream:
        words = stream.read().decode().split()[500:20_500]
    rng = random.Random(11)
    planted = {place: made_up(rng, kind) for place in range(50, 20_000, 50)}
    parts: list[str] = []
    truth, at = set(), 0
    for place, word in enumerate(words):
        part = planted.get(place, word)
        if place in planted:
            truth.add((at, at + len(part)))
        parts.append(part)
        at += len(part) + 1
    text = " ".join(parts)
    found = {(span.start, span.end) for span in find_pii(text) if span.kind == kind}
    recall = len(found & truth) / len(truth)
    others = Counter(span.kind for span in find_pii(text)) - Counter({kind: len(found)})
    assert recall >= 0.99
    assert len(found - truth) <= 2 and sum(others.values()) <= 2


@pytest.mark.parametrize(
    "name", ["gutenberg/en-treasure-island.txt.zst", "wikipedia-sample.txt.zst", "wikitext2-valid.txt.zst"]
)
def test_books_and_encyclopedias_hold_none(name: str, shared_data: Path) -> None:
    with zstandard.open(shared_data / "text" / name, "rb") as stream:
        text = stream.read().decode()
    found = find_pii(text)
    assert all("gutenberg" in name or "pglaf" in text[span.start : span.end] for span in found)
    assert len(found) <= 4  # the addresses of Project Gutenberg itself


def test_code_is_left_as_it_is() -> None:
    root = Path(__file__).resolve().parents[3] / "llmkit"
    hits = [
        text[one.start : one.end]
        for path in root.rglob("*.py")
        for text in [path.read_text()]
        for one in find_pii(text)
    ]
    assert [hit for hit in hits if not hit.endswith("@host.org")] == []


def test_masks_are_typed_and_stay_when_masked_again() -> None:
    masked = mask_pii(TEXT, find_pii(TEXT))
    assert masked == MASKED
    assert find_pii(masked) == []


def test_each_mode_does_what_it_says() -> None:
    spans = find_pii(TEXT)
    assert apply_pii(TEXT, spans, "mask") == (MASKED, None)
    assert apply_pii(TEXT, spans, "tag") == (TEXT, None)
    text, verdict = apply_pii(TEXT, spans, "drop")
    assert text == TEXT and verdict is not None
    assert (verdict.rule, verdict.value, verdict.threshold) == ("pii", "email:1,iban:1,ip:1,phone:1", 0)
    assert apply_pii("none here", [], "drop") == ("none here", None)


def test_none_overlap() -> None:
    assert find_pii("https://hooks.slack.com/services/T0/B0/abcdefghijklmnopqrstuvwx") == [
        PiiSpan(8, 63, "secret")
    ]
