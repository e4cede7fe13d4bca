"""Chunks whose words no rule finds, and the code points of each of their words.

`don't` is do n't, `cannot` can not, `10am` 10 am; those of english/whole.py are one word each. A contraction
is known in small letters and with a capital at its beginning.

Source: spaCy 3.8's English and common special cases (MIT).
"""

from collections.abc import Iterator
from functools import cache
from itertools import product

from llmkit.text.english.whole import WHOLE

_AUXILIARIES = (
    "ai are ca could dare did do does had has have is may might must need ought sha should was wo would"
)
_ASKING = "how it that there these they this those what when where who why you"
_MARKED = (  # ' stands for itself and for ’
    (f"{_AUXILIARIES} were", "n't", "- 've"),
    (f"{_ASKING} he i she we", "'d 'll", "- 've"),
    (f"{_ASKING} he let she", "'s"),
    ("could how i might must should that they we what where who would you", "'ve"),
    ("how they there these those we what when where who why you", "'re"),
    ("i", "'m", "- a"),
    ("y", "'all"),
    ("c'm", "on"),
)
_GLUED = (
    (_AUXILIARIES, "nt", "- ve"),
    ("can not", "not ve"),
    ("gon", "na"),
    ("got", "ta"),
    ("y", "all"),
    (f"{_ASKING} i", "d", "- ve"),
    ("he she we", "d", "ve"),
    ("he", "d"),
    (f"{_ASKING} he she we i", "ll", "ve"),
    ("how it that there these they this those what when where why you who", "ll"),
    ("he how she that there this what when where who why", "s"),
    ("how there these they those what when where why you", "re"),
    ("could how i might must should they we what where who would you", "ve"),
    ("i", "m", "- a"),
)
_TIMES = (
    [*map(str, range(10)), *(f"{hour:02}" for hour in range(100))],
    ["am", "a.m", "am.", "a.m.", "pm", "p.m", "pm.", "p.m."],
)


@cache
def special_chunks() -> dict[str, tuple[int, ...]]:
    """Every special chunk, and how many code points each of its words has: (2, 3) for `don't`."""
    found: dict[str, tuple[int, ...]] = {word: (len(word),) for word in sorted(WHOLE)}
    for words in _contractions():
        lengths = tuple(map(len, words))
        chunk = "".join(words)
        found.setdefault(chunk, lengths)
        found.setdefault(chunk[0].upper() + chunk[1:], lengths)
    return found


def _contractions() -> Iterator[list[str]]:
    for forms in (*_MARKED, *_GLUED):
        for words in product(*(form.split() for form in forms)):
            marked = [_apostrophes(word) for word in words if word != "-"]
            yield from map(list, product(*marked))
    yield from map(list, product(*_TIMES))


def _apostrophes(word: str) -> tuple[str, ...]:
    return (word, word.replace("'", "’")) if "'" in word else (word,)
