"""Texts for the rules: they repeat, stop, quote and break lines more than chance does."""

from hypothesis import strategies as st

_WORDS = st.sampled_from(
    [
        "the",
        "of",
        "and",
        "be",
        "to",
        "with",
        "have",
        "that",
        "a",
        "dog",
        "Dog",
        "ran.",
        "ran?",
        "yes!",
        "don't",
        "it's",
        "U.S.",
        "3.5",
        "-",
        "•",
        "#",
        "…",
        "...",
        "(",
        ")",
        "[1]",
        "[edit]",
        "{",
        "lorem",
        "ipsum",
        "javascript",
        "uses",
        "cookies",
        "well-known",
        "'tis",
        '"',
        "'",
        "—",
        "x,",
        "naïve",
        "日本語。",
        "http://a.bc/d",
        "e.g.",
        "Mr.",
        "12%",
        "☃",
    ]
)
_GAPS = st.sampled_from(
    [" ", " ", " ", " ", "  ", "\n", "\n", "\n\n", "\n\n\n", "\t", "\u2003", "\x0b", "\u2028"]
)
_PHRASES = st.lists(st.tuples(_WORDS, _GAPS), min_size=1, max_size=9).map(
    lambda parts: "".join(word + gap for word, gap in parts)
)
TEXTS = st.one_of(
    st.text(max_size=60),
    st.lists(st.tuples(_PHRASES, st.integers(1, 3)), max_size=9).map(
        lambda parts: "".join(phrase * times for phrase, times in parts)
    ),
)
