"""Slow twins of the rules, written from datatrove 0.10's definitions: plain strings, loops and Counters."""

import re
from collections import Counter
from collections.abc import Sequence

from llmkit.text.english.words import split_chunk
from llmkit.text.punctuation import SYMBOLS, TERMINAL

STOP_WORDS = {"the", "be", "to", "of", "and", "that", "have", "with"}


def words_of(text: str) -> list[str]:
    return [word for chunk in text.split() for word in split_chunk(chunk)]


def duplicates(parts: Sequence[str]) -> tuple[int, int]:
    seen: set[str] = set()
    number = characters = 0
    for part in parts:
        if part in seen:
            number, characters = number + 1, characters + len(part)
        seen.add(part)
    return number, characters


def grams(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def top_gram(words: Sequence[str], n: int) -> int:
    counted = Counter(" ".join(gram) for gram in grams(words, n))
    if not counted:
        return 0
    gram, count = counted.most_common(1)[0]
    return len(gram) * count


def leaping(words: Sequence[str], n: int) -> int:
    seen: set[tuple[str, ...]] = set()
    found = i = 0
    while i < len(words) - n + 1:
        gram = tuple(words[i : i + n])
        if gram in seen:
            found += len("".join(gram))
            i += n
        else:
            seen.add(gram)
            i += 1
    return found


def repetition(text: str) -> dict[str, float]:
    """Every score of gopher-repetition, in its order; for text that is not empty."""
    scores = {"empty": float(not text)}
    size = len(text) or 1
    for name, parts in (
        ("paragraph", re.split(r"\n{2,}", text.strip())),
        ("line", re.split(r"\n+", text)),
    ):
        number, characters = duplicates(parts)
        scores[f"duplicate-{name}s"] = number / len(parts)
        scores[f"duplicate-{name}-characters"] = characters / size
    words = words_of(text)
    scores |= {f"top-{n}-gram": top_gram(words, n) / size for n in (2, 3, 4)}
    return scores | {f"duplicate-{n}-grams": leaping(words, n) / size for n in range(5, 11)}


def quality(text: str) -> dict[str, float]:
    """Every score of gopher-quality, in its order."""
    words = words_of(text)
    real = [word for word in words if any(letter not in SYMBOLS for letter in word)]
    lines = text.splitlines()
    num_words, num_lines = len(words) or 1, len(lines) or 1
    return {
        "words": len(real),
        "mean-word-length": sum(map(len, real)) / (len(real) or 1),
        "hashes": text.count("#") / num_words,
        "ellipses": (text.count("...") + text.count("…")) / num_words,
        "bullet-lines": sum(line.lstrip().startswith(("•", "-")) for line in lines) / num_lines,
        "ellipsis-lines": sum(line.rstrip().endswith(("...", "…")) for line in lines) / num_lines,
        "alphabetic-words": sum(any(map(str.isalpha, word)) for word in words) / num_words,
        "stop-words": len(STOP_WORDS & set(words)),
    }


def fineweb(text: str) -> dict[str, float]:
    """Every score of fineweb-quality, in its order."""
    lines, num_words = [line for line in text.split("\n") if line.strip() != ""], len(words_of(text))
    num_lines = len(lines) or 1
    return {
        "lines": len(lines),
        "stopped-lines": sum(line.endswith(tuple(TERMINAL)) for line in lines) / num_lines,
        "short-lines": sum(len(line) <= 30 for line in lines) / num_lines,
        "duplicate-line-characters": duplicates(lines)[1] / (len(text.replace("\n", "")) or 1),
        "newlines": text.count("\n") / num_words if num_words else 0,  # "lines" drops a text without words
    }


def num_sentences(line: str) -> int:
    """spaCy's sentencizer over the words of a line."""
    found, ended = 1, False
    for word in words_of(line):
        is_end = word in TERMINAL
        if ended and not is_end and not _is_punctuation(word):
            found, ended = found + 1, False
        elif is_end:
            ended = True
    return found


def _is_punctuation(word: str) -> bool:
    import unicodedata

    return all(unicodedata.category(letter).startswith("P") for letter in word)


def c4(text: str, *, end_marks: bool = True, tfds: bool = False) -> tuple[str | None, str]:
    """Why C4 drops a page, or None and the text that is left."""
    least_words, least_sentences = (5, 3) if tfds else (3, 5)
    marks = (".", "?", "!", '"') if tfds else (".", "?", "!", '"', "'")
    kept, sentences = [], 0
    for line in text.splitlines():
        line = line.strip()
        words = line.split()
        if any(len(word) > 1000 for word in words):
            continue
        line = re.sub(r"\[\d*]|\[edit]|\[citation needed]", "", line)
        if end_marks and (not line.endswith(marks) or line.endswith("...")):
            continue
        if len(line.split() if tfds else words) < least_words:
            continue
        lower = line.lower()
        if "lorem ipsum" in lower:
            return "lorem-ipsum", text
        if "javascript" in lower:
            continue
        if "{" in line:
            return "curly-bracket", text
        policy = (
            "terms of use",
            "privacy policy",
            "cookie policy",
            "uses cookies",
            "use of cookies",
            "use cookies",
        )
        if any(phrase in lower for phrase in policy):
            continue
        sentences += num_sentences(line)
        kept.append(line)
    if sentences < least_sentences:
        return "sentences", text
    return None, "\n".join(kept).strip()
