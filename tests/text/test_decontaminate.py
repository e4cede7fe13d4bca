"""Test sets planted in text, beside a slow search with Python sets."""

import random
import re
from pathlib import Path

import msgspec
import pytest
import zstandard

from llmkit.text.decontaminate import Overlap, build_index, evaluation_texts

WORDS = [f"word{number}" for number in range(3000)]
SHORT = "What happens if you eat watermelon seeds today?"


def made_up(rng: random.Random, count: int) -> str:
    return " ".join(rng.choices(WORDS, k=count))


def slow_runs(text: str, ngram: int) -> list[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return [tuple(words[at : at + ngram]) for at in range(len(words) - ngram + 1)]


def read(path: Path) -> list[dict[str, object]]:
    with zstandard.open(path, "rb") as stream:
        return [msgspec.json.decode(line) for line in stream.read().splitlines()]


def test_every_shared_run_is_counted_and_no_other() -> None:
    rng = random.Random(1)
    items = [(f"set:{number}", made_up(rng, rng.randrange(13, 60))) for number in range(200)]
    index = build_index(items)
    known = {run for _, text in items for run in slow_runs(text, 13)}
    assert index.num_runs == len(known)
    for number in range(100):
        pieces = [made_up(rng, rng.randrange(200))]
        if number % 2:
            words = items[rng.randrange(200)][1].split()
            start = rng.randrange(len(words) - 12)
            pieces += [" ".join(words[start : start + rng.randrange(10, 30)]), made_up(rng, 50)]
        text = " ".join(pieces)
        runs = slow_runs(text, 13)
        found = index.overlap(text)
        assert found.count == sum(run in known for run in runs)
        assert found.ratio == (found.count / len(runs) if found.count else 0)


def test_the_value_is_the_shared_run_as_it_stands_in_the_document() -> None:
    question = "Janet's ducks lay 16 eggs per day, and she eats three for breakfast every single morning."
    index = build_index([("gsm8k:1", question), ("other:1", made_up(random.Random(2), 40))])
    text = "Before it.\nSo JANET’S ducks lay 16 eggs\nper day; and she eats three for breakfást every one."
    found = index.overlap(text)
    assert (found.count, found.source) == (3, "gsm8k:1")  # 15 words are shared
    assert found.match == "JANET’S ducks lay 16 eggs per day; and she eats three for"
    verdict = index.judge(text)
    assert verdict is not None
    assert (verdict.rule, verdict.value, verdict.threshold) == ("contaminated", found.match, 0)
    assert index.judge(text, most=3) is None and index.judge("nothing of it") is None


def test_a_run_of_numbers_and_letters_is_nobodys() -> None:
    index = build_index(
        [("a", "1 2 3 4 5 6 7 8 9 10 11 12 13 14"), ("b", "A 1 B 2 C 3 D 4 E 5 F 6 G 7 hours work")]
    )
    assert index.num_runs == 0
    assert index.overlap("Pages: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 next").count == 0


def test_a_short_item_is_looked_for_whole_and_a_shorter_one_not() -> None:
    index = build_index([("a", SHORT), ("b", "Yes, it is."), ("b", "Paris")])
    assert index.num_runs == 1
    assert index.overlap(f"He asked: {SHORT} Yes, it is.").count == 1
    assert index.overlap(SHORT.replace("watermelon", "melon")).count == 0


def test_scripts_without_spaces_are_matched_by_characters() -> None:
    question = "吾輩は猫である。名前はまだ無い。どこで生れたか"
    index = build_index([("ja:1", question)])
    found = index.overlap(f"昔々、{question[2:]}とんと見当がつかぬ。")
    assert found.count == len(re.findall(r"\w", question[2:])) - 12
    assert found.match.startswith("は猫である")


def test_nothing_to_look_for_finds_nothing() -> None:
    assert build_index([]).overlap("any text") == Overlap(0, 0.0, "", "")
    assert build_index([("a", SHORT)]).overlap("").count == 0


def test_a_record_is_read_for_its_texts_and_not_for_its_labels() -> None:
    record = {
        "id": "an id", "subject": "history", "question": "Who?", "choices": ["a", "b"],
        "en": {"best_answer": "Nobody", "url": "http://x.org"}, "n": 3, "answer": None,
    }  # fmt: skip
    assert evaluation_texts(record) == ["Who?", "a", "b", "Nobody"]


@pytest.mark.parametrize("name", ["gsm8k-test", "mmlu-dev", "humaneval", "truthfulqa-en-es"])
def test_real_test_sets_are_found_in_themselves_and_not_in_books(name: str, shared_data: Path) -> None:
    records = read(shared_data / "eval" / f"{name}.jsonl.zst")
    items = [
        (f"{name}:{at}", text) for at, record in enumerate(records, 1) for text in evaluation_texts(record)
    ]
    index = build_index(items)
    rng = random.Random(5)
    filler = "Some text of a page that was crawled, about something else, with many words of its own in it."
    long = [(item, text) for item, text in items if len(slow_runs(text, 13)) > 2]
    chosen = rng.sample(long, min(20, len(long)))
    missed = [item for item, text in chosen if not index.overlap(f"{filler}\n\n{text}\n\n{filler}").count]
    assert len(missed) <= 1  # an answer may be all numbers
    with zstandard.open(shared_data / "text" / "gutenberg" / "en-alice.txt.zst", "rb") as stream:
        assert index.overlap(stream.read().decode()).count == 0
